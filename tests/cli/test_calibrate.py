"""grdnet calibrate in this process, and that evaluate and predict go by what it keeps."""
import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from small_runs import make_run

import evaluate
import grdnet_tf
from grdnet_tf.cli import calibrate
from grdnet_tf.demo.dataset import write_demo
from grdnet_tf.training import recorded


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A folder of good pictures that no run has seen."""
    root = write_demo(str(tmp_path_factory.mktemp("fresh") / "vials"), seed=7, train=5, test_good=1, per_defect=1,
                      distractors=1, size=(64, 64))
    return os.path.join(root, "train", "good")


@pytest.fixture(scope="module")
def run(small_demo, tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("run") / "tiny", small_demo)
    assert evaluate.main(["--run", folder, "--pictures", "0"]) == 0
    return folder


def kept(run):
    return json.load(open(os.path.join(run, "calibration.json"), encoding="utf-8"))


def report(run):
    return json.load(open(os.path.join(run, "evaluation", "report.json"), encoding="utf-8"))


def test_a_threshold_is_refitted_and_what_changes_is_said(run, fresh, capsys):
    before = kept(run)
    assert calibrate.main(["--run", run, "--good", fresh, "--target-fpr", "0.3"]) == 0
    after, lines = kept(run), capsys.readouterr().out.splitlines()
    image = after["thresholds"]["image"]
    assert image["method"] == "target_fpr:0.3" and image["n"] == 8 and image["above"] <= 2
    assert image["fitted_on"] == "3 good images that the run held out, 5 new ones"
    assert after["history"][-1]["thresholds"] == before["thresholds"] and "made" in after
    was = before["thresholds"]["image"]["value"]
    assert lines[0].startswith(f"score: {was:.6g} -> {image['value']:.6g} by target_fpr")
    with open(os.path.join(run, "evaluation", "predictions.csv"), encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    limit = after["thresholds"]["image_roi"]["value"]
    good = [float(row["score_roi"]) for row in rows if row["label_roi"] == "0"]
    was = sum(row["decision_roi"] == "rejected" for row in rows if row["label_roi"] == "0")
    now = sum(score > limit for score in good)
    assert f"last evaluation: good rejected {was} -> {now} of {len(good)}" in lines
    changed = [line for line in lines if " -> " in line and line.startswith("  ")]
    assert len(changed) == min(10, sum((float(row["score_roi"]) > limit) != (row["decision_roi"] == "rejected")
                                       for row in rows))
    assert evaluate.main(["--run", run, "--pictures", "0"]) == 0
    told = {name: {key: value for key, value in entry.items() if key != "good_scores"}
            for name, entry in after["thresholds"].items()}
    assert report(run)["thresholds"] == told


def test_a_threshold_is_set_and_predict_goes_by_it(run, fresh, small_demo):
    assert calibrate.main(["--run", run, "--set", "0.25", "--good", fresh, "--only", "--pixel", "value:0.2"]) == 0
    entry = kept(run)["thresholds"]["image"]
    assert (entry["value"], entry["method"], entry["n"]) == (0.25, "value:0.25", 5)
    results = grdnet_tf.load(run).predict(os.path.join(small_demo, "test"))
    for result in results:
        assert result.threshold == 0.25 and (result.verdict == "rejected") == (result.score > 0.25)


def test_small_regions_count_nowhere_and_what_was_asked_for_holds(run, small_demo, tmp_path):
    own = shutil.copytree(run, str(tmp_path / "own"))
    folder = os.path.join(small_demo, "test")
    assert calibrate.main(["--run", own, "--set", "0.3", "--pixel", "quantile:0.9"]) == 0
    before = grdnet_tf.load(own).predict(folder)
    open(os.path.join(own, "station.yaml"), "w").write("min_area: 60\num_per_pixel: 10\n")
    after = grdnet_tf.load(own).predict(folder)
    assert kept(own)["thresholds"]["image"]["method"] == "value:0.3" and kept(own)["under"]["min_area"] == 60
    assert all(one.score <= other.score + 1e-6 for one, other in zip(after, before))
    assert any(one.score < other.score - 1e-3 for one, other in zip(after, before))
    assert all(region.area >= 60 for one in after for region in one.regions)
    assert evaluate.main(["--run", own, "--pictures", "0"]) == 0
    with open(os.path.join(own, "evaluation", "predictions.csv"), encoding="utf-8", newline="") as stream:
        rows = {row["path"]: row for row in csv.DictReader(stream)}
    assert report(own)["min_area"] == 60 and report(own)["um_per_pixel"] == 10
    for result in after:
        assert result.score == pytest.approx(float(rows[result.path]["score"]), abs=1e-6)
    assert all(int(row["regions"]) == 0 for row in rows.values() if row["decision_roi"] == "accepted")


def test_what_is_not_asked_for_is_made_as_it_was_before(run, tmp_path):
    own = shutil.copytree(run, str(tmp_path / "own"))

    def made():
        thresholds = kept(own)["thresholds"]
        return [thresholds[name]["method"] if name in thresholds else None for name in ("image", "pixel", "look")]

    assert calibrate.main(["--run", own, "--target-fpr", "0.3", "--pixel", "quantile:0.9", "--look", "none"]) == 0
    open(os.path.join(own, "station.yaml"), "w").write("min_area: 30\n")
    assert evaluate.main(["--run", own, "--pictures", "0"]) == 0
    assert made() == ["target_fpr:0.3", "quantile:0.9", None] and kept(own)["under"]["min_area"] == 30
    assert calibrate.main(["--run", own, "--look", "quantile:0.5"]) == 0
    assert made() == ["target_fpr:0.3", "quantile:0.9", "quantile:0.5"]
    assert evaluate.main(["--run", own, "--pictures", "0", "--thresholds", "max_normal"]) == 0
    assert made() == ["max_normal", "quantile:0.9", "quantile:0.5"]


def test_other_data_with_regions_leaves_what_was_set(small_demo, tmp_path):
    plain = shutil.copytree(small_demo, str(tmp_path / "plain"), ignore=shutil.ignore_patterns("roi", "roi.*"))
    own = make_run(tmp_path / "own", plain)
    assert calibrate.main(["--run", own, "--set", "0.31", "--look", "none"]) == 0
    before = kept(own)
    assert evaluate.main(["--run", own, "--data", small_demo, "--pictures", "0"]) == 0
    assert kept(own) == before and report(own)["thresholds"]["image"]["value"] == 0.31


def test_pictures_that_were_trained_on_are_refused(run, small_demo, capsys):
    before = kept(run)
    assert calibrate.main(["--run", run, "--good", os.path.join(small_demo, "train", "good")]) == 2
    error = capsys.readouterr().err
    assert "was trained on" in error and error.count("\n") == 1 and kept(run) == before
    trained = recorded.read(run).names(recorded.TRAINED)
    assert any(name in error for name in trained)


@pytest.mark.parametrize("words, expected", [
    (["--set", "2"], "value:2.0"), (["--target-fpr", "0"], "target_fpr:0.0"), (["--only"], "--only goes with --good"),
    (["--method", "best_f1:x"], "made of good pictures alone"), (["--good", "missing"], "folder not found"),
    (["--batch", "0"], "--batch 0")])
def test_wrong_input_ends_with_one_line(words, expected, run, capsys):
    assert calibrate.main(["--run", run, *words]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1


def test_an_evaluation_of_other_settings_is_not_compared(run, tmp_path, capsys):
    own = shutil.copytree(run, str(tmp_path / "own"))
    cv2.imwrite(os.path.join(own, "roi.png"), np.full((64, 64), 255, np.uint8))
    for other in ("min_area: 3\n", "roi: roi.png\n"):
        open(os.path.join(own, "station.yaml"), "w").write(other)
        assert calibrate.main(["--run", own]) == 0
        assert "of other weights or settings" in capsys.readouterr().out
    shutil.rmtree(os.path.join(own, "evaluation"))
    assert calibrate.main(["--run", own]) == 0
    assert "not evaluated yet" in capsys.readouterr().out
