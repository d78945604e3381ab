"""export.py as a user runs it: what it writes, and that it is what evaluate.py measured."""
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile

import cv2
import numpy as np
import pytest
import tensorflow as tf

import evaluate
from grdnet_tf.cli import export
from grdnet_tf.errors import ExportStopped
from grdnet_tf.serving import publish, selftest
from grdnet_tf.training import building, run_folder

SIGNATURES = ["score", "serve_bytes", "serve_bytes_map", "serve_bytes_roi", "serve_reconstruction", "serve_regions",
              "serve_roi", "serve_uint8", "serving_default", "static_b2"]


def test_two_versions_and_the_servers_files(exported):
    assert sorted(os.listdir(exported)) == ["serving", "vials"]
    assert sorted(os.listdir(os.path.join(exported, "vials"))) == ["1", "2"]
    assert {"models.config", "README.md", "client.py"} <= set(os.listdir(os.path.join(exported, "serving")))
    assert os.path.isfile(os.path.join(exported, "vials", "2", "assets.extra", "tf_serving_warmup_requests"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can ask as another user")
def test_another_user_can_read_all_of_an_export_whatever_the_umask(exported):
    """As KServe does, whose server is user 1000. A copy, with its modes, where the way to it is open."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(exported, os.path.join(folder, "exports"))
        command = ["find", os.path.join(folder, "exports"), "-type", "f", "-exec", "cat", "{}", "+"]
        read = subprocess.run(command, user=1000, group=1000, extra_groups=[], cwd="/", capture_output=True)
        assert read.returncode == 0 and not read.stderr, read.stderr
        files = [os.path.join(parent, name) for parent, _, names in os.walk(exported) for name in names]
        assert len(files) > 10 and len(read.stdout) == sum(os.path.getsize(path) for path in files)


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
    assert set(kept["thresholds"]) == {name + end for name in ("image", "pixel", "look") for end in ("", "_roi")}
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
    config, model = run_folder.read_config(run), building.load_run(run).model
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


@pytest.mark.slow
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
    model = building.load_run(trained).model
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
