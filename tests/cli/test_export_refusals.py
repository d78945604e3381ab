"""export.py with flags and runs that do not go together, and failing without a trace."""
import base64
import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import export
import predict
from grdnet_tf.errors import InputError
from grdnet_tf.serving import bundle, publish, selftest
from grdnet_tf.serving import export as exporting
from grdnet_tf.storage import read_arrays, write_arrays
from grdnet_tf.training import building, run_folder
from small_runs import make_run


def fails(capsys, status, *arguments):
    """The one line that it ends with."""
    capsys.readouterr()
    assert export.main(list(arguments)) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error: ", "stopped: "))]
    assert len(lines) == 1
    return lines[0]


# Flags ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_another_size_gets_thresholds_of_its_own_and_another_default(trained, exported, small_demo, tmp_path, capsys):
    before = open(os.path.join(trained, "calibration.json"), "rb").read()
    assert export.main(["--run", trained, "--out", str(tmp_path), "--image-size", "64,64", "--batch-sizes", "1",
                        "--name", "large", "--version", "7", "--default-signature", "serve_bytes",
                        "--bundle", str(tmp_path / "large.tar"), "--layout", "sagemaker, vertex"]) == 0
    manifest = publish.verify(str(tmp_path / "large" / "7"))
    assert manifest["signatures"]["static_b1"] == {"images": ["float32", [1, 64, 64, 3]]}
    assert manifest["thresholds"]["image"]["n"] == 3
    assert manifest["thresholds"]["image"]["value"] != json.loads(before)["thresholds"]["image"]["value"]
    assert open(os.path.join(trained, "calibration.json"), "rb").read() == before  # the run's own size keeps its own
    offered = manifest["signatures"]
    assert offered["serving_default"] == offered["serve_bytes"] == {"image_bytes": ["string", [None]]}
    assert offered["serve_float"] == {"images": ["float32", [None, 64, 64, 3]]}
    assert f"large/7/{publish.MANIFEST}" in bundle.verify(str(tmp_path / "large.tar"))
    picture = os.path.join(small_demo, "test", "good", "000.png")
    capsys.readouterr()
    assert predict.main(["--model", str(tmp_path / "large"), "--json", picture]) in (0, 3)  # by whatever name it needs
    told = json.loads(capsys.readouterr().out)
    with selftest.Session(str(tmp_path / "large" / "7")) as served, open(picture, "rb") as stream:
        found = served.run("serving_default", image_bytes=np.array([stream.read()], object))
        with open(tmp_path / "layouts" / "vertex" / "large" / "request.json", encoding="utf-8") as request:
            sent = [base64.b64decode(one["image_bytes"]["b64"]) for one in json.load(request)["instances"]]
        assert served.run("serving_default", image_bytes=np.array(sent, object))["valid"].tolist() == [1]
    assert os.listdir(tmp_path / "layouts" / "sagemaker") == ["large.tar.gz"]
    assert told["score"] == pytest.approx(float(found["score"][0]), abs=1e-5)


def test_wrong_flags_and_runs_end_in_one_line(trained, exported, tmp_path, capsys):
    out = str(tmp_path / "out")

    def line(*more, run=trained):
        return fails(capsys, 2, "--run", run, "--out", out, *more)

    assert "no run here" in line(run=str(tmp_path / "nothing"))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.yaml").write_text("model: {backbone: resnet18}\n")
    assert "config.yaml: damaged: there is no section data" in line(run=str(tmp_path / "foreign"))
    shutil.copytree(trained, tmp_path / "unfinished")
    os.remove(tmp_path / "unfinished" / run_folder.BEST)
    assert "no trained weights yet" in line(run=str(tmp_path / "unfinished"))
    (tmp_path / "unfinished" / run_folder.BEST).write_bytes(b"PK\3\4 not all of it")
    assert "weights.npz: damaged" in line(run=str(tmp_path / "unfinished"))
    for flag, value in (("--image-size", "30,48"), ("--image-size", "32"), ("--batch-sizes", "0"),
                        ("--batch-sizes", "a"), ("--version", "0"), ("--version", str(2**63)), ("--max-pixels", "0")):
        assert f"{flag} {value}" in line(f"{flag}={value}")
    for path, why in ((tmp_path, "is a folder"), (tmp_path / "nowhere" / "a.tar", "no such folder")):
        assert f"--bundle {path}: {why}" in line("--bundle", str(path))
    assert "--layout triton needs --format onnx" in line("--layout", "triton")
    for name in ("serving", "a b", "../up", ".hidden"):
        assert f"model name '{name}'" in line("--name", name)
    assert not os.path.exists(out)
    assert "never overwritten" in fails(capsys, 2, "--run", trained, "--out", exported, "--version", "1")
    (tmp_path / "file").write_text("mine")
    assert "file" in fails(capsys, 2, "--run", trained, "--out", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
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
    told = onnx.Runtime(str(tmp_path / "out" / "vials" / "1" / "onnx" / "model.onnx")).metadata()[onnx.METADATA]
    assert {key: manifest[key] for key in json.loads(told)} == json.loads(told) and "white" in told
    assert "onnx/model.onnx" in manifest["files"] and manifest["onnx"]["precision"] == "fp16"
    assert manifest["onnx"]["gate"]["pictures"] == 16 and manifest["onnx"]["gate"]["largest_score_difference"] > 0
    images = selftest.test_pictures(32, 48, 3)[0] / np.float32(255)
    found = onnx.Runtime(str(tmp_path / "out" / "vials" / "1" / "onnx" / "model.onnx")).run(images)
    np.testing.assert_allclose(found["score"], building.load_run(trained).model(images).score, atol=0.01)

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
    assert "no threshold" in line and data in line and "grdnet calibrate" in line
    assert not os.path.exists(tmp_path / "out")


# Failures leave nothing -----------------------------------------------------------------------------------------------


def test_weights_that_are_not_finite(trained, tmp_path, capsys):
    run = str(tmp_path / "run")
    shutil.copytree(trained, run)
    path = os.path.join(run, run_folder.BEST)
    arrays, state = read_arrays(path)
    arrays["segmenter/003"].flat[0] = np.nan
    write_arrays(path, arrays, state)
    line = fails(capsys, 2, "--run", run, "--out", str(tmp_path / "out"))
    assert "weights.npz: the segmenter's weights are not finite" in line
    model = building.load_run(trained).model
    kernel = model.segmenter.trainable_weights[0]
    kernel.assign(np.full(kernel.shape, np.nan, np.float32))
    with pytest.raises(InputError, match="weights of the segmenter are not finite"):
        exporting.check_finite(model)
    assert not os.path.exists(tmp_path / "out")


@pytest.mark.slow
def test_a_failing_self_test_publishes_nothing(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(selftest, "TOLERANCE", -1.0)  # no difference is small enough
    line = fails(capsys, 1, "--run", trained, "--out", str(tmp_path / "out"), "--batch-sizes", "1")
    assert "of serving_default is not what the Keras model gives" in line and "nothing was published" in line
    assert list((tmp_path / "out").rglob("*")) == []


@pytest.mark.slow
def test_a_full_disk_publishes_nothing(trained, exported, capsys):
    before = sorted(os.listdir(os.path.join(exported, "vials")))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))  # a file larger than this cannot be written
    try:
        capsys.readouterr()
        assert export.main(["--run", trained, "--out", exported, "--batch-sizes", "1"]) == 2
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


def test_help_is_fast_and_wrong_input_imports_no_tensorflow(pytestconfig):
    code = ("import sys, export\ntry: export.main(['--help'])\nexcept SystemExit: pass\n"
            "assert export.main(['--run', 'nowhere']) == 2\nassert 'tensorflow' not in sys.modules, 'tensorflow'")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=pytestconfig.rootpath, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "--batch-sizes" in done.stdout and "no run here" in done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3  # CPU time: the machine may be busy
