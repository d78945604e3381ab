"""export.py as a user runs it: what it writes, that it is what evaluate.py measured, and failing without a trace."""
import csv
import json
import os
import resource
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
from test_evaluate_cli import make_run
from test_export_signatures import randomise

import evaluate
import export
from grdnet_tf.errors import ExportStopped, InputError
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.serving import publish, selftest
from grdnet_tf.storage import read_arrays, write_arrays
from grdnet_tf.training import runs

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SIGNATURES = ["score", "serve_bytes", "serve_bytes_map", "serve_bytes_roi", "serve_roi", "serve_uint8",
              "serving_default", "static_b2"]


def make_trained(folder, data):
    """A run on pictures of another size than its own, with the weights of `randomise`."""
    run = make_run(folder, data, "data.image_size=[32, 48]")
    model = randomise(runs.build_model(runs.read_config(run)))
    write_arrays(os.path.join(run, runs.BEST), network_arrays(model), {})
    return run


@pytest.fixture(scope="module")
def trained(small_demo, tmp_path_factory):
    return make_trained(tmp_path_factory.mktemp("run") / "tiny", small_demo)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """DIR of two exports of one run."""
    out = str(tmp_path_factory.mktemp("exports"))
    assert export.main(["--run", trained, "--out", out, "--batch-sizes", "2"]) == 0
    first = snapshot(os.path.join(out, "vials", "1"))
    with selftest.Session(os.path.join(out, "vials", "1")) as served:
        before = ask(served)
        assert export.main(["--run", trained, "--out", out, "--batch-sizes", "2"]) == 0
        assert ask(served) == before  # a version in use is not disturbed
    assert snapshot(os.path.join(out, "vials", "1")) == first
    return out


def ask(served):
    return served.run("score", images=np.full((1, 32, 48, 3), 0.5, np.float32))["score"].tolist()


def snapshot(folder):
    """{path: (bytes, time of change)} of a folder."""
    return {path: (open(os.path.join(folder, path), "rb").read(), os.stat(os.path.join(folder, path)).st_mtime_ns)
            for path in [*publish.files(folder), publish.MANIFEST]}


def fails(capsys, status, *arguments):
    """The one line that it ends with."""
    capsys.readouterr()
    assert export.main(list(arguments)) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error: ", "stopped: "))]
    assert len(lines) == 1
    return lines[0]


# What it writes -------------------------------------------------------------------------------------------------------


def test_two_versions_and_the_servers_files(exported):
    assert sorted(os.listdir(exported)) == ["serving", "vials"]
    assert sorted(os.listdir(os.path.join(exported, "vials"))) == ["1", "2"]
    assert {"models.config", "README.md", "client.py"} <= set(os.listdir(os.path.join(exported, "serving")))
    assert os.path.isfile(os.path.join(exported, "vials", "2", "assets.extra", "tf_serving_warmup_requests"))


def test_the_manifest_explains_the_version_and_finds_changes(exported, trained, tmp_path):
    folder = str(tmp_path / "copy")
    shutil.copytree(os.path.join(exported, "vials", "2"), folder)
    manifest = publish.verify(folder)
    assert manifest["model"] == "vials" and manifest["version"] == 2 and manifest["run"] == "tiny"
    assert sorted(manifest["signatures"]) == SIGNATURES
    assert manifest["config"]["data"]["image_size"] == [32, 48] == manifest["image_size"]
    with open(os.path.join(trained, "calibration.json"), encoding="utf-8") as stream:
        kept = json.load(stream)
    assert manifest["thresholds"] == kept["thresholds"] and manifest["weights_sha256"] == kept["weights_sha256"]
    assert set(kept["thresholds"]) == {"image", "pixel", "image_roi", "pixel_roi"}
    assert manifest["environment"]["packages"]["tensorflow"] == tf.__version__
    assert 0 < manifest["self_test"]["largest_difference"]["score"] < 1e-5
    index = os.path.join(folder, "variables", "variables.index")
    os.rename(index, index + ".old")
    with pytest.raises(ExportStopped, match="variables.index: missing"):
        publish.verify(folder)
    os.rename(index + ".old", index)
    with open(index, "r+b") as stream:
        stream.write(b"?")
    with pytest.raises(ExportStopped, match="variables.index: not the file"):
        publish.verify(folder)


def test_a_server_decides_as_evaluate_on_the_same_files(exported, trained, small_demo, tmp_path):
    """Pictures of 64 x 64 resized to 32 x 48, with and without their ROIs."""
    assert evaluate.main(["--run", trained, "--out", str(tmp_path / "out"), "--pictures", "0"]) == 0
    rows = list(csv.DictReader(open(tmp_path / "out" / "predictions.csv", encoding="utf-8", newline="")))
    contents, regions = [], []
    for row in rows:
        contents.append(open(row["path"], "rb").read())
        regions.append(open(os.path.join(small_demo, "roi", os.path.relpath(row["path"], small_demo)), "rb").read())
    assert len(rows) == 16 and len({row["decision"] for row in rows}) == 2
    with selftest.Session(os.path.join(exported, "vials", "2")) as served:
        plain = served.run("serve_bytes", image_bytes=np.array(contents, object))
        inside = served.run("serve_bytes_roi", image_bytes=np.array(contents, object),
                            roi_bytes=np.array(regions, object))
    manifest = publish.verify(os.path.join(exported, "vials", "2"))
    for found, suffix in ((plain, ""), (inside, "_roi")):
        measured = np.array([float(row["score" + suffix]) for row in rows])
        np.testing.assert_allclose(found["score"], measured, atol=1e-5)
        sure = np.abs(measured - manifest["thresholds"]["image" + suffix]["value"]) > 1e-5
        rejected = np.array([row["decision" + suffix] == "rejected" for row in rows])
        assert np.array_equal(found["is_anomalous"][sure], rejected[sure]) and sure.sum() >= 15


def test_metrics_are_those_of_the_exported_weights(trained, tmp_path):
    run = str(tmp_path / "run")
    shutil.copytree(trained, run)
    config, model = runs.read_config(run), runs.load_run(run).model
    shutil.rmtree(os.path.join(run, "evaluation"), ignore_errors=True)
    assert export.about(run, config, model)["metrics"] is None  # not evaluated yet
    assert evaluate.main(["--run", run, "--pictures", "0"]) == 0
    with open(os.path.join(run, "evaluation", "report.json"), encoding="utf-8") as stream:
        report = json.load(stream)
    metrics = export.about(run, config, model)["metrics"]
    assert metrics["image_auroc"] == report["image_auroc"] and metrics["n_images"] == 16
    assert (metrics["data"], metrics["split"], metrics["roi"], metrics["tiles"]) == (
        os.path.abspath(config.data.root), "test", "auto", None)
    model.segmenter.trainable_variables[0].assign_add(tf.ones_like(model.segmenter.trainable_variables[0]))
    told = export.about(run, config, model)  # trained on since
    assert told["metrics"] is None and told["weights_sha256"] != report["weights_sha256"]
    assert "onnxruntime" in told["environment"]["packages"]


ALONE = """
import glob, sys
import numpy as np
import tensorflow as tf
try:
    import grdnet_tf
except ImportError:
    pass
else:
    sys.exit("grdnet_tf can be imported here: the test proves nothing")
images, roi = np.load("images.npy"), np.load("roi.npy")
read = lambda names: [open(name, "rb").read() for name in sorted(glob.glob(names))]
given = {"images": images, "roi": roi, "image_bytes": read("image_*.png"), "roi_bytes": read("roi_*.png")}
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    definitions = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1]).signature_def
    for name, definition in definitions.items():
        if name.startswith("__"):
            continue
        feeds = {tensor.name: given[key] for key, tensor in definition.inputs.items()}
        if name == "serve_uint8":
            feeds = {definition.inputs["images"].name: np.round(images * 255).astype(np.uint8)}
        found = session.run({key: tensor.name for key, tensor in definition.outputs.items()}, feeds)
        np.savez(name + ".npz", **{key: value for key, value in found.items() if key != "overlay_bytes"})
        if "overlay_bytes" in found:
            open("overlay.png", "wb").write(found["overlay_bytes"][0])
"""


def test_every_signature_in_a_process_without_this_library(exported, trained, tmp_path):
    shown, roi = selftest.test_pictures(32, 48, 3, rows=2)
    np.save(tmp_path / "images.npy", shown / np.float32(255))
    np.save(tmp_path / "roi.npy", roi)
    for i in range(2):
        (tmp_path / f"image_{i}.png").write_bytes(selftest.encode(shown[i]))
        (tmp_path / f"roi_{i}.png").write_bytes(selftest.encode((roi[i] * 255).astype(np.uint8)))
    done = subprocess.run([sys.executable, "-I", "-c", ALONE, os.path.join(exported, "vials", "2")], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model = runs.load_run(trained).model
    plain, inside = model(shown / np.float32(255)), model(shown / np.float32(255), roi=roi)
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == SIGNATURES
    for name in SIGNATURES:
        found, expected = np.load(tmp_path / f"{name}.npz"), inside if "roi" in name else plain
        np.testing.assert_allclose(found["score"], expected.score, atol=1e-5, err_msg=name)
        if "anomaly_map" in found:
            np.testing.assert_allclose(found["anomaly_map"], expected.anomaly_map, atol=1e-5, err_msg=name)
    assert cv2.imread(str(tmp_path / "overlay.png")).shape == (32, 48, 3)


def test_nothing_in_an_export_runs_code(exported):
    """No pickle, no Keras configuration, no op that calls into Python: TensorFlow's own ops and numbers only."""
    folder = os.path.join(exported, "vials", "2")
    for path in publish.files(folder):
        content = open(os.path.join(folder, path), "rb").read()
        assert not path.endswith((".pkl", ".h5", ".keras", ".py"))
        assert content[:2] not in (b"\x80\x04", b"\x80\x05", b"PK")
        for word in (b"Lambda", b"PyFunc", b"EagerPyFunc", b"class_name", b"cloudpickle"):
            assert word not in content, (path, word)


# Flags ----------------------------------------------------------------------------------------------------------------


def test_another_size_gets_thresholds_of_its_own(trained, tmp_path):
    before = open(os.path.join(trained, "calibration.json"), "rb").read()
    assert export.main(["--run", trained, "--out", str(tmp_path), "--image-size", "64,64", "--batch-sizes", "1",
                        "--name", "large", "--version", "7"]) == 0
    manifest = publish.verify(str(tmp_path / "large" / "7"))
    assert manifest["signatures"]["static_b1"] == {"images": ["float32", [1, 64, 64, 3]]}
    assert manifest["thresholds"]["image"]["n"] == 3
    assert manifest["thresholds"]["image"]["value"] != json.loads(before)["thresholds"]["image"]["value"]
    assert open(os.path.join(trained, "calibration.json"), "rb").read() == before  # the run's own size keeps its own


def test_wrong_flags_and_runs_end_in_one_line(trained, exported, tmp_path, capsys):
    out = str(tmp_path / "out")

    def line(*more, run=trained):
        return fails(capsys, 2, "--run", run, "--out", out, *more)

    assert "no run here" in line(run=str(tmp_path / "nothing"))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.yaml").write_text("model: {backbone: resnet18}\n")
    assert "model.backbone" in line(run=str(tmp_path / "foreign"))
    shutil.copytree(trained, tmp_path / "unfinished")
    os.remove(tmp_path / "unfinished" / runs.BEST)
    assert "no trained weights yet" in line(run=str(tmp_path / "unfinished"))
    (tmp_path / "unfinished" / runs.BEST).write_bytes(b"PK\3\4 not all of it")
    assert "weights.npz: damaged" in line(run=str(tmp_path / "unfinished"))
    for flag, value in (("--image-size", "30,48"), ("--image-size", "32"), ("--batch-sizes", "0"),
                        ("--batch-sizes", "a"), ("--version", "0"), ("--version", str(2**63)), ("--max-pixels", "0")):
        assert f"{flag} {value}" in line(f"{flag}={value}")
    for name in ("serving", "a b", "../up", ".hidden"):
        assert f"model name '{name}'" in line("--name", name)
    assert not os.path.exists(out)
    assert "never overwritten" in fails(capsys, 2, "--run", trained, "--out", exported, "--version", "1")
    (tmp_path / "file").write_text("mine")
    assert "file" in fails(capsys, 2, "--run", trained, "--out", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_onnx_in_half_precision_is_judged_and_listed(trained, small_demo, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tf2onnx", reason="ONNX: pip install '.[onnx]'")
    from grdnet_tf.serving.convert import judge, onnx

    flags = ["--run", trained, "--batch-sizes", "1", "--format", "onnx", "--precision", "fp16", "--calibration-data",
             small_demo]
    # The scores of random weights lie close together: one of 16 beside the threshold may change sides.
    monkeypatch.setitem(judge.LIMITS, "fp16", judge.Limit(0.01, 0.2))
    assert export.main([*flags, "--out", str(tmp_path / "out")]) == 0
    assert "trtexec --onnx=" in capsys.readouterr().out
    manifest = publish.verify(str(tmp_path / "out" / "vials" / "1"))
    assert "onnx/model.onnx" in manifest["files"] and manifest["onnx"]["precision"] == "fp16"
    assert manifest["onnx"]["gate"]["pictures"] == 16 and manifest["onnx"]["gate"]["largest_score_difference"] > 0
    images = selftest.test_pictures(32, 48, 3)[0] / np.float32(255)
    found = onnx.Runtime(str(tmp_path / "out" / "vials" / "1" / "onnx" / "model.onnx")).run(images)
    np.testing.assert_allclose(found["score"], runs.load_run(trained).model(images).score, atol=0.01)

    monkeypatch.setitem(judge.LIMITS, "fp16", judge.Limit(1e-9, 0.0))
    assert "at most 1e-09" in fails(capsys, 1, *flags, "--out", str(tmp_path / "stopped"))
    assert list((tmp_path / "stopped").rglob("*")) == []


def test_formats_and_precisions_that_do_not_go_together(trained, small_demo, tmp_path, capsys):
    def line(*more):
        return fails(capsys, 2, "--run", trained, "--out", str(tmp_path / "out"), *more)

    assert "--format torch" in line("--format", "torch")
    assert "--precision fp16 is for" in line("--precision", "fp16", "--calibration-data", small_demo)
    assert "needs --calibration-data" in line("--format", "onnx", "--precision", "int8")
    assert "--calibration-data is for" in line("--format", "onnx", "--calibration-data", small_demo)
    if not tf.config.list_physical_devices("GPU"):
        assert "--format onnx" in line("--format", "tftrt")  # what to do instead
    assert not os.path.exists(tmp_path / "out")


def test_no_threshold_and_no_data_to_fit_one_on(trained, small_demo, tmp_path, capsys):
    data, run = str(tmp_path / "vials"), str(tmp_path / "run")
    shutil.copytree(small_demo, data)
    make_run(run, data)
    shutil.rmtree(data)
    line = fails(capsys, 2, "--run", run, "--out", str(tmp_path / "out"))
    assert "no threshold" in line and data in line and "evaluate.py" in line
    assert not os.path.exists(tmp_path / "out")


# Failures leave nothing -----------------------------------------------------------------------------------------------


def test_weights_that_are_not_finite(trained, tmp_path, capsys):
    run = str(tmp_path / "run")
    shutil.copytree(trained, run)
    path = os.path.join(run, runs.BEST)
    arrays, state = read_arrays(path)
    arrays["segmenter/003"].flat[0] = np.nan
    write_arrays(path, arrays, state)
    assert "cannot be used" in fails(capsys, 2, "--run", run, "--out", str(tmp_path / "out"))  # in fitting
    from grdnet_tf.serving import export as exporting

    with pytest.raises(InputError, match="weights of the segmenter are not finite"):
        exporting.check_finite(runs.load_run(run).model)
    assert not os.path.exists(tmp_path / "out")


def test_a_failing_self_test_publishes_nothing(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(selftest, "TOLERANCE", -1.0)  # no difference is small enough
    line = fails(capsys, 1, "--run", trained, "--out", str(tmp_path / "out"), "--batch-sizes", "1")
    assert "of serving_default is not what the Keras model gives" in line and "nothing was published" in line
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_full_disk_publishes_nothing(trained, exported, capsys):
    before = sorted(os.listdir(os.path.join(exported, "vials")))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))  # a file larger than this cannot be written
    try:
        capsys.readouterr()
        assert export.main(["--run", trained, "--out", exported, "--batch-sizes", "1"]) in (1, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write" in capsys.readouterr().err
    assert sorted(os.listdir(os.path.join(exported, "vials"))) == before


def damage_models(serving):
    serving.mkdir(parents=True)
    (serving / "models.config").write_text("model_config_list {\n  config {")


def damage_folder(serving):
    serving.parent.mkdir()
    serving.write_text("a file")


def damage_readme(serving):
    (serving / "README.md").mkdir(parents=True)


@pytest.mark.parametrize("damage, said", [(damage_models, "models.config: expected model_config_list"),
                                          (damage_folder, "serving: File exists"), (damage_readme, "README.md")])
def test_no_version_is_seen_where_the_servers_files_cannot_be_written(trained, tmp_path, capsys, damage, said):
    damage(tmp_path / "out" / "serving")
    assert said in fails(capsys, 2, "--run", trained, "--out", str(tmp_path / "out"), "--batch-sizes", "1")
    assert os.listdir(tmp_path / "out") == ["serving"]
    assert not os.path.isfile(tmp_path / "out" / "serving" / "models.config") or damage is damage_models


def test_a_failing_rename_takes_the_earlier_ones_back(tmp_path):
    home = str(tmp_path / "model")
    again = os.path.join(home, ".")  # one home twice: the second finds the first, once that is renamed
    with pytest.raises(InputError, match=r"cannot write .*/model/\./3: Directory not empty"):
        publish.publish(3, {home: lambda folder: {}, again: lambda folder: {}})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index",
                                  "variables/variables.data-00000-of-00001"])
@pytest.mark.parametrize("damage", [os.remove, lambda path: os.truncate(path, os.path.getsize(path) // 2)],
                         ids=["missing", "half"])
def test_a_saved_model_that_cannot_be_loaded_is_one_line(exported, tmp_path, file, damage):
    folder = str(tmp_path / "copy")
    shutil.copytree(os.path.join(exported, "vials", "2"), folder)
    damage(os.path.join(folder, file))
    with pytest.raises(ExportStopped, match="self-test: the SavedModel cannot be loaded: .") as error:
        selftest.Session(folder)
    assert "\n" not in str(error.value)


def test_publishing_is_all_or_nothing(tmp_path):
    home = str(tmp_path / "model")

    def write(folder):
        os.makedirs(os.path.join(folder, "variables"))
        open(os.path.join(folder, "variables", "data"), "wb").close()
        assert not os.path.isdir(os.path.join(os.path.dirname(folder), "3"))  # no server takes it yet
        return {"model": "m"}

    def fail(folder):
        write(folder)
        raise RuntimeError("in the middle")

    other = str(tmp_path / "other")
    with pytest.raises(RuntimeError, match="in the middle"):
        publish.publish(3, {home: write, other: fail})
    assert not os.path.exists(home) and not os.path.exists(other)
    final, = publish.publish(3, {home: write})
    assert final == os.path.join(home, "3") and os.listdir(home) == ["3"] and os.stat(final).st_mode & 0o111
    assert publish.verify(final)["files"] == {  # the well-known SHA-256 of nothing
        "variables/data": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    assert publish.free_version(home) == 4 and publish.free_version(home, 1) == 1
    os.mkdir(os.path.join(home, "5"))  # empty: a plain rename would replace it
    with pytest.raises(InputError, match="never overwritten"):
        publish.publish(5, {other: lambda folder: {}, home: lambda folder: {}})
    assert sorted(os.listdir(home)) == ["3", "5"] and os.listdir(os.path.join(home, "5")) == []
    assert not os.path.exists(other)


def test_help_is_fast_and_wrong_input_imports_no_tensorflow():
    code = ("import sys, export\ntry: export.main(['--help'])\nexcept SystemExit: pass\n"
            "assert export.main(['--run', 'nowhere']) == 2\nassert 'tensorflow' not in sys.modules, 'tensorflow'")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--batch-sizes" in done.stdout and "no run here" in done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3  # CPU time: the machine may be busy
