"""A run that turned its loose parts, measured on pictures as they came: evaluate, calibrate, predict, compare."""
import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from loose_parts import fit, report

import evaluate
import predict
from grdnet_tf.cli import align, calibrate, train
from grdnet_tf.data import aligning
from grdnet_tf.data.records import list_mvtec
from grdnet_tf.errors import InputError
from grdnet_tf.training import run_folder, upright


def test_it_is_measured_on_pictures_as_they_came_by_default_and_named(nails_run, nails, tmp_path):
    found = report(nails_run, "--thresholds", "value:0.5,value:0.5")
    assert found["data"] == nails and found["n_images"] == 6 and found["warnings"] == []
    by_default = open(os.path.join(nails_run, "evaluation", "predictions.csv")).read()
    assert report(nails_run, "--data", nails, "--thresholds", "value:0.5,value:0.5") == found
    assert open(os.path.join(nails_run, "evaluation", "predictions.csv")).read() == by_default
    like, out = os.path.join(nails_run, "align.json"), str(tmp_path / "by-hand")
    assert align.main([nails, "--out", out, "--like", like, "--quiet"]) == 0
    by_hand = report(nails_run, "--data", out, "--thresholds", "value:0.5,value:0.5")
    assert (by_hand["data"], by_hand["turned"]) == (out, None)
    assert os.path.dirname(found["turned"]) == nails_run and os.path.basename(found["turned"]).startswith("upright-test-")
    assert found["image_auroc_roi"] > 0.5
    for key in ("image_auroc_roi", "pixel_auroc_roi", "aupro", "miss_rate", "image_size"):
        assert by_hand[key] == found[key]


def test_predict_turns_what_it_is_given_to_the_same_scores(nails_run, nails, capsys):
    report(nails_run, "--data", nails, "--thresholds", "value:0.5,value:0.5")
    with open(os.path.join(nails_run, "evaluation", "predictions.csv"), newline="") as stream:
        measured = {tuple(row["path"].rsplit(os.sep, 2)[1:]): float(row["score_roi"]) for row in csv.DictReader(stream)}
    capsys.readouterr()
    predict.main(["--run", nails_run, "--json", "--quiet", os.path.join(nails, "test")])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = {tuple(row["path"].rsplit(os.sep, 2)[1:]): row["score"] for row in rows}
    assert told.keys() == measured.keys() and len(told) == 6
    np.testing.assert_allclose([told[name] for name in told], [measured[name] for name in told], atol=1e-5)


def test_pictures_without_a_part_are_counted_and_a_region_as_they_lay_is_refused(nails_run, nails, tmp_path, capsys):
    data = shutil.copytree(nails, str(tmp_path / "data"))
    cv2.imwrite(os.path.join(data, "test", "good", "empty.png"), np.full((160, 180, 3), 220, np.uint8))
    found = report(nails_run, "--data", data, "--thresholds", "value:0.5,value:0.5")
    assert any(line.startswith("1 pictures are not measured: no part on plain ground is found") and
               line.endswith(os.path.join(data, "test", "good", "empty.png")) for line in found["warnings"])
    cv2.imwrite(str(tmp_path / "region.png"), np.full((160, 180), 255, np.uint8))
    assert evaluate.main(["--run", nails_run, "--data", nails, "--roi", str(tmp_path / "region.png")]) == 2
    assert "is turned upright, and its regions with it" in capsys.readouterr().err
    for part in ("good", "spot"):
        for i in range(3):
            cv2.imwrite(os.path.join(data, "test", part, f"{i}.png"), np.full((160, 180, 3), 220, np.uint8))
    assert evaluate.main(["--run", nails_run, "--data", data]) == 2
    assert f"{data}: in 7 of 7 pictures no part on plain ground is found" in capsys.readouterr().err


def test_its_pictures_are_compared_with_those_of_a_run_that_left_them_as_they_lie(nails_run, nails, tmp_path, capsys):
    other = str(tmp_path / "as-they-lie")
    assert fit(nails, other, "data.upright=false") == 0
    for folder, threshold in ((nails_run, 0), (other, 1)):
        report(folder, "--data", nails, "--thresholds", f"value:{threshold},value:0.5")
    capsys.readouterr()
    assert evaluate.main(["--compare", nails_run, other, "--out", str(tmp_path / "comparison")]) == 0
    assert "good rejected 3 -> 0 of 3, 3 no more, 0 newly" in capsys.readouterr().out


def test_reports_name_the_files_that_came(nails_run, nails):
    report(nails_run, "--data", nails, "--thresholds", "value:0,value:0")
    for name in ("predictions.csv", "regions.csv"):
        with open(os.path.join(nails_run, "evaluation", name), newline="") as stream:
            paths = {row["path"] for row in csv.DictReader(stream)}
        assert paths and paths <= {os.path.join(nails, "test", part, f"{i}.png") for part in ("good", "spot") for i in range(3)}


def test_pictures_as_large_as_the_canvas_are_turned_all_the_same(nails_run, nails, tmp_path):
    """By how their parts lie, where no align.json says it."""
    align_json, out = os.path.join(nails_run, "align.json"), str(tmp_path / "plain")
    alignment = aligning.read(align_json)
    plain = shutil.copytree(os.path.join(nails_run, "upright", "train", "good"), os.path.join(out, "train", "good"))
    assert upright.measured(nails_run, align_json, out, "train").root == out  # those that were copied out lie right
    for angle, name in enumerate(sorted(os.listdir(plain))):
        height, width = alignment.size
        picture = np.full((height, width, 3), 220, np.uint8)
        box = cv2.boxPoints(((width / 2, height / 2), (20, 6), 30.0 * angle))
        cv2.imwrite(os.path.join(plain, name), cv2.fillPoly(picture, [np.int32(np.round(box))], (60, 70, 80)))
    records = list_mvtec(out, "train")
    assert 2 * len(aligning.lying_otherwise(records, alignment)) > len(records)
    with pytest.raises(InputError, match="in 12 of 12 good pictures no part"):  # too small at this scale
        upright.measured(nails_run, align_json, out, "train")


def test_a_region_or_a_defect_beside_the_part_is_said(nails, nails_run, tmp_path, caplog):
    data = shutil.copytree(nails, str(tmp_path / "data"))
    beside = np.zeros((160, 180), np.uint8)
    beside[:6, :6] = 255
    cv2.imwrite(os.path.join(data, "ground_truth", "spot", "1_mask.png"), beside)
    found = report(nails_run, "--data", data, "--thresholds", "value:0.5,value:0.5")
    assert [line for line in found["warnings"] if "the defect lies beside the part" in line and "spot/1.png" in line]
    assert found["n_images"] == 5
    cv2.imwrite(os.path.join(data, "roi.png"), beside)
    folder = str(tmp_path / "run")
    assert fit(data, folder) == 0
    assert "the region of interest lies beside the part" in caplog.text
    assert run_folder.read_config(folder).data.upright is False


def test_good_pictures_without_a_part_are_said_not_to_count(nails_run, nails, tmp_path, caplog):
    lot = shutil.copytree(os.path.join(nails, "test", "good"), str(tmp_path / "lot"))
    cv2.imwrite(os.path.join(lot, "empty.png"), np.full((160, 180, 3), 220, np.uint8))
    assert calibrate.main(["--run", nails_run, "--good", lot, "--only", "--quiet"]) == 0
    assert "1 pictures count for no threshold" in caplog.text and "empty.png" in caplog.text


def test_two_evaluations_at_once_share_what_was_turned(nails_run, nails):
    like = os.path.join(nails_run, "align.json")
    first = upright.measured(nails_run, like, nails, "test")
    assert upright.measured(nails_run, like, nails, "test") == first and len(first.files) == 6
    os.utime(os.path.join(nails, "test", "good", "0.png"))
    second = upright.measured(nails_run, like, nails, "test")
    assert second.root != first.root and not os.path.exists(first.root)  # made anew, as the folder has changed
