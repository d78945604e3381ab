"""The feature methods through the commands that GRD-Net has: train, evaluate, export; what is refused, and how."""
import json
import os
import shutil

import numpy as np
import pytest

from grdnet_tf import config as configuration
from grdnet_tf.cli import evaluate, export, train
from grdnet_tf.serving.selftest import Session
from grdnet_tf.storage import read_arrays, write_arrays
from grdnet_tf.training import run_folder
from grdnet_tf.training.building import load_run

SMALL = ["--set", "data.image_size=[64,64]", "--set", "data.held_out=0.25"]
FEW = {"padim": [], "patchcore": ["--set", "features.candidates=300"]}


@pytest.fixture(scope="module", params=["padim", "patchcore"])
def run(request, small_demo, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("fitted") / request.param)
    assert train.main(["--config", request.param, "--data", small_demo, "--run", folder, *SMALL,
                       *FEW[request.param]]) == 0
    return request.param, folder


def test_a_run_says_what_it_holds(run):
    method, folder = run
    arrays, state = read_arrays(os.path.join(folder, "best", "weights.npz"))
    assert state["method"] == method and len(state["backbone_sha256"]) == 64
    assert not any("conv" in name for name in arrays) and arrays["scale"] > 0
    with open(os.path.join(folder, "summary.json"), encoding="utf-8") as stream:
        summary = json.load(stream)
    assert (summary["train_images"], summary["held_out_images"]) == (9, 3)
    assert 0 < summary["seconds_in_features"] <= summary["seconds_to_fit"] <= 60 * summary["minutes"] + 0.1  # rounded
    assert summary["processor_seconds"] > 0
    assert configuration.load_config(os.path.join(folder, "config.yaml")).method == method


def test_a_run_says_how_many_defects_it_finds_that_were_drawn_on_held_out_pictures(run):
    method, folder = run
    with open(os.path.join(folder, "drawn.json"), encoding="utf-8") as stream:
        found = json.load(stream)
    assert found["pictures"] == 3 and found["drawings"] >= 16 * 3 and found["repaired"] is None
    assert len(found["kinds"]) >= 4 and 0.5 < found["image_auroc"] <= 1
    assert found["varied"]["pictures"] == 3 and 0 <= found["varied"]["rejected"] <= 3


def test_a_run_from_before_there_was_the_option_saw_with_repeated_strides(run, tmp_path):
    method, folder = run
    with open(os.path.join(folder, "config.yaml"), encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    told = [line for line in lines if line.startswith("  enlarged: ")]
    assert told == ["  enlarged: " + ("bilinear" if method == "padim" else "repeated")]
    (tmp_path / "config.yaml").write_text("\n".join(line for line in lines if line not in told), encoding="utf-8")
    assert run_folder.read_config(str(tmp_path)).features.enlarged == "repeated"


def test_evaluate_reports_with_thresholds_and_roi(run, capsys):
    method, folder = run
    assert evaluate.main(["--run", folder, "--pictures", "2"]) == 0
    with open(os.path.join(folder, "evaluation", "report.json"), encoding="utf-8") as stream:
        report = json.load(stream)
    assert report["thresholds"]["image_roi"]["value"] > 0 and "image_auroc_roi" in json.dumps(report)
    with open(os.path.join(folder, "calibration.json"), encoding="utf-8") as stream:
        thresholds = json.load(stream)["thresholds"]
    if method == "padim":  # the farthest held-out part inside its ROI is where the map is 1/2
        assert thresholds["image_roi"]["value"] == pytest.approx(0.5, abs=1e-3)
    assert "inside the ROI" in capsys.readouterr().out


def test_tiles(run, capsys):
    method, folder = run
    status = evaluate.main(["--run", folder, "--tiles", "48,16", "--pictures", "0", "--out", folder + "-tiled"])
    if method == "padim":
        assert status == 2 and "padim takes pictures of 64 x 64 only" in capsys.readouterr().err
    else:
        assert status == 0


@pytest.mark.slow
def test_an_export_answers_as_the_run_and_needs_no_backbone_beside_it(run, tmp_path):
    method, folder = run
    out = str(tmp_path / "out")
    assert export.main(["--run", folder, "--out", out, "--name", "part", "--format", "saved_model,onnx"]) == 0
    rng = np.random.default_rng(0)
    images, roi = rng.random((3, 64, 64, 3), np.float32), np.ones((3, 64, 64, 1), np.float32)
    roi[:, :20] = 0
    model = load_run(folder).model
    with Session(os.path.join(out, "part", "1")) as session:
        found = session.run("serve_roi", images=images, roi=roi)
        expected = model(images, roi=roi)
        np.testing.assert_allclose(found["anomaly_map"], expected.anomaly_map, atol=1e-4)
        np.testing.assert_allclose(found["score"], expected.score, atol=1e-4)
    with open(os.path.join(out, "part", "1", "manifest.json"), encoding="utf-8") as stream:
        manifest = json.load(stream)
    assert manifest["onnx"]["largest_difference"]["score"] < 1e-4
    arrays, _ = read_arrays(os.path.join(folder, "best", "weights.npz"))
    fitted = sum(array.size for array in arrays.values())
    # EfficientNet-Lite0 up to stride 16, batch normalisation folded: 692,688 numbers.
    assert manifest["parameters"] == fitted + 692_688
    other = export.main(["--run", folder, "--out", out, "--name", "wide", "--image-size", "64,96"])
    assert other == (2 if method == "padim" else 0)


def test_what_belongs_to_another_run_or_is_damaged_is_one_line(run, tmp_path, capsys):
    method, folder = run
    copy = str(tmp_path / "copy")
    shutil.copytree(folder, copy)
    path = os.path.join(copy, "best", "weights.npz")
    arrays, state = read_arrays(path)
    for change, words in (({"backbone_sha256": "0" * 64}, "another backbone"), ({"method": "other"}, "fitted by other")):
        write_arrays(path, arrays, {**state, **change})
        assert evaluate.main(["--run", copy]) == 2
        assert words in one_line(capsys)
    write_arrays(path, {"scale": arrays["scale"]}, state)
    assert evaluate.main(["--run", copy]) == 2
    assert "weights.npz: damaged" in one_line(capsys)


def test_what_was_fitted_is_not_changed_by_a_resume(run, capsys):
    folder = run[1]
    assert train.main(["--run", folder, "--resume", "--set", "features.smoothing=9"]) == 2
    assert "--resume: features.smoothing = 9.0, but" in capsys.readouterr().err


def test_resume_of_a_finished_run_changes_nothing(run, capsys):
    method, folder = run
    path = os.path.join(folder, "best", "weights.npz")
    before = os.stat(path).st_mtime_ns
    assert train.main(["--run", folder, "--resume"]) == 0
    assert os.stat(path).st_mtime_ns == before
    assert train.main(["--config", method, "--run", folder, "--data", str(os.path.dirname(folder))]) == 2


@pytest.mark.parametrize("words, said", [
    (["--set", "data.crop=[32,32]"], "data.crop = [32, 32] does not go with method: padim, which"),
    (["--set", "features.coreset=0.5"], "features.coreset = 0.5 does not go with method: padim"),
    (["--strategy", "mirrored"], "train.strategy = mirrored does not go with method: padim"),
    (["--set", "data.image_size=[72,64]"], "72 is not divisible by 16, the largest of features.strides"),
    (["--set", "features.backbone=resnet50"], "resnet50 needs the path of a weights file"),
    (["--set", "features.weights=nowhere.pth"], "nowhere.pth: No such file"),
    (["--set", "method=paddim"], "method = 'paddim'; expected one of grdnet, ganomaly, draem, padim, patchcore")])
def test_settings_that_do_not_go_together_are_one_line_and_make_no_run(small_demo, tmp_path, capsys, words, said):
    folder = str(tmp_path / "run")
    assert train.main(["--config", "padim", "--data", small_demo, "--run", folder, *words]) == 2
    assert said in one_line(capsys) and not os.path.exists(folder)


def test_the_method_stands_beside_the_sections_of_a_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: padim_scattering\nmethod: patchcore\nfeatures: {coreset: 0.5}\n", encoding="utf-8")
    config = configuration.load_config(str(file))
    assert (config.method, config.features.coreset, config.features.strides) == ("patchcore", 0.5, (8, 16))
    assert configuration.load_config().method == "grdnet"
    other = configuration.replace(config, method="grdnet", features__coreset=0.1)
    assert configuration.differences(config, other) == {"method": ("patchcore", "grdnet"),
                                                        "features.coreset": (0.5, 0.1)}
    file.write_text(configuration.to_yaml(config), encoding="utf-8")
    assert configuration.load_config(str(file)) == config


def one_line(capsys):
    text = capsys.readouterr().err
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in text, text
    return errors[0]
