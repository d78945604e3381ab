"""GANomaly and DRAEM through the commands that GRD-Net has: train, resume, evaluate, export."""
import csv
import json
import os
import shutil

import numpy as np
import pytest

from grdnet_tf.cli import evaluate, export, train
from grdnet_tf.serving.selftest import Session
from grdnet_tf.storage import read_arrays
from grdnet_tf.training import run_folder
from grdnet_tf.training.building import load_run

SMALL = {"data.image_size": "[16,16]", "data.held_out": "0.25", "train.batch_size": "4", "train.epochs": "1",
         "train.steps_per_epoch": "2", "train.checkpoint_steps": "1", "train.image_every": "0", "validation.views": "4",
         "train.keep_epochs": "[1]", "network.widths": "[4,8]", "train.ema": "0.9"}
OWN = {"ganomaly": {"network.latent": "4"}, "draem": {"network.segmenter_widths": "[4,8]", "train.rate_epochs": "[1]"}}


@pytest.fixture(scope="module", params=list(OWN))
def run(request, small_demo, tmp_path_factory):
    """(method, run folder) after one epoch of two steps."""
    folder = str(tmp_path_factory.mktemp("stepped") / request.param)
    sets = [word for key, value in {**SMALL, **OWN[request.param]}.items() for word in ("--set", f"{key}={value}")]
    assert train.main(["--config", request.param, "--data", small_demo, "--run", folder, *sets]) == 0
    return request.param, folder


def rows(folder):
    with open(os.path.join(folder, "metrics.csv"), newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_a_run_goes_on_from_a_step_within_an_epoch(run, tmp_path):
    """Its second step again, from the checkpoint after the first, and an epoch more, at DRAEM's lower rate."""
    method, folder = run
    copy = str(tmp_path / "copy")
    shutil.copytree(folder, copy)
    os.remove(os.path.join(copy, "checkpoints", "step-000000002.npz"))
    assert train.main(["--run", copy, "--resume", "--epochs", "2"]) == 0
    first, second = rows(copy)
    for name, value in rows(folder)[0].items():
        if name != "minutes":
            assert float(first[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-7), name
    fall = float(second["learning_rate_generator"]) / float(first["learning_rate_generator"])
    assert fall == pytest.approx({"ganomaly": 1.0, "draem": 0.1}[method], rel=1e-5)


def test_evaluate_reports_with_thresholds_and_roi(run, capsys):
    method, folder = run
    assert evaluate.main(["--run", folder, "--pictures", "1"]) == 0
    assert "inside the ROI" in capsys.readouterr().out
    with open(os.path.join(folder, "evaluation", "report.json"), encoding="utf-8") as stream:
        report = json.load(stream)
    assert 0 < report["thresholds"]["image_roi"]["value"] < 1
    assert report["map"] == {"ganomaly": "|X - X^|, the mean over channels", "draem": None}[method]
    assert evaluate.main(["--run", folder, "--epoch", "1", "--pictures", "0"]) == 0  # its best: there is but one
    with open(os.path.join(folder, "evaluation-epoch-1", "report.json"), encoding="utf-8") as stream:
        kept = json.load(stream)
    assert (kept["epoch"], kept["weights_sha256"]) == (1, report["weights_sha256"])
    assert kept["image_auroc"] == report["image_auroc"]
    assert evaluate.main(["--run", folder, "--epoch", "2"]) == 2
    assert "no weights of epoch 2; train.keep_epochs kept 1" in capsys.readouterr().err
    if method == "ganomaly":
        assert evaluate.main(["--run", folder, "--tiles", "32,16", "--out", folder + "-tiled"]) == 2
        assert "ganomaly takes pictures of 16 x 16 only" in capsys.readouterr().err


@pytest.mark.slow
def test_another_run_begins_with_its_weights(run, tmp_path, capsys):
    method, folder = run
    child = str(tmp_path / "child")
    assert train.main(["--from", folder, "--run", child, "--set", "train.learning_rate=0", "--epochs", "1"]) == 0
    ours, theirs = (read_arrays(os.path.join(one, run_folder.BEST))[0] for one in (child, folder))
    kernels = [name for name, array in theirs.items() if array.ndim > 1]
    for name in kernels:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-7)
    assert kernels and run_folder.read_config(child).method == method
    assert train.main(["--from", folder, "--run", child + "2", "--set", "network.widths=[4,16]"]) == 2
    assert "network.widths" in capsys.readouterr().err


@pytest.mark.slow
def test_an_export_answers_as_the_run(run, tmp_path):
    method, folder = run
    out = str(tmp_path / "out")
    assert export.main(["--run", folder, "--out", out, "--name", "part", "--batch-sizes", "1",
                        "--format", "saved_model,onnx"]) == 0
    rng = np.random.default_rng(0)
    images, roi = rng.random((3, 16, 16, 3), np.float32), np.ones((3, 16, 16, 1), np.float32)
    roi[:, :5] = 0
    expected = load_run(folder).model(images, roi=roi)
    with Session(os.path.join(out, "part", "1")) as session:
        found = session.run("serve_roi", images=images, roi=roi)
    np.testing.assert_allclose(found["anomaly_map"], expected.anomaly_map, atol=1e-4)
    np.testing.assert_allclose(found["score"], expected.score, atol=1e-4)
    with open(os.path.join(out, "part", "1", "manifest.json"), encoding="utf-8") as stream:
        manifest = json.load(stream)
    assert manifest["onnx"]["largest_difference"]["score"] < 1e-4
    assert export.main(["--run", folder, "--out", out, "--name", "wide", "--image-size", "16,24"]) == (
        2 if method == "ganomaly" else 0)
