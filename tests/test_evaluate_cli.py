"""evaluate.py end to end in this process: a real, untrained tiny run on the demo set; and every wrong input."""
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

import evaluate
from grdnet_tf import config as configuration
from grdnet_tf import runs
from grdnet_tf.pictures import BLUE, ORANGE, RED, draw_sheet
from grdnet_tf.storage import write_arrays
from grdnet_tf.weights import network_arrays

TINY = ("data.image_size=[64, 64]", "data.channels='3'", "data.held_out=0.25", "network.widths=[4, 8]", "network.latent=4",
        "network.stem=0", "network.blocks=1", "network.discriminator_widths=[4, 8]", "network.segmenter_widths=[4, 8]",
        "network.score_pool=5", "loss.adversarial=0", "loss.encoder=0")


def make_run(folder, data):
    """A run folder as train.py leaves it, with the initial weights of one seed."""
    config = configuration.load_config(None, [*TINY, f"data.root={json.dumps(str(data))}"])
    runs.create_run(str(folder), config)
    tf.keras.utils.set_random_seed(3)
    write_arrays(os.path.join(folder, runs.BEST), network_arrays(runs.build_model(config)), {})
    return str(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_demo):
    return make_run(tmp_path_factory.mktemp("run") / "tiny", small_demo)


@pytest.fixture(scope="module")
def evaluated(trained):
    assert evaluate.main(["--run", trained, "--batch", "5"]) == 0
    return os.path.join(trained, "evaluation")


def test_report_has_every_key_of_every_reading(evaluated):
    report = json.load(open(os.path.join(evaluated, "report.json"), encoding="utf-8"))
    assert (report["n_images"], report["n_defective"], report["n_defective_roi"]) == (16, 12, 8)  # 4 good, 4 distractors
    for key in ("image_auroc", "pixel_auroc", "aupro", "image_ap", "pixel_ap", "accuracy", "threshold"):
        for suffix in ("", "_roi"):
            assert 0 <= report[key + suffix] <= 1, key + suffix
    assert 0 <= report["outside_roi_alarm_rate"] <= 1
    assert set(report["per_type"]) == {"good", "bubble", "dent", "scratch", "speck", "distractor"}
    assert report["thresholds"]["image"]["n"] == 3  # a quarter of 12 training pictures
    assert report["absent"] == {}


def test_predictions_match_the_report(evaluated):
    report = json.load(open(os.path.join(evaluated, "report.json"), encoding="utf-8"))
    rows = list(csv.DictReader(open(os.path.join(evaluated, "predictions.csv"), encoding="utf-8", newline="")))
    assert len(rows) == 16 and all(os.path.isfile(row["path"]) for row in rows)
    right = [(row["decision"] == "rejected") == (row["label"] == "1") for row in rows]
    assert np.mean(right) == pytest.approx(report["accuracy"])
    right = [(row["decision_roi"] == "rejected") == (row["label_roi"] == "1") for row in rows]
    assert np.mean(right) == pytest.approx(report["accuracy_roi"])
    assert all(row["label_roi"] == "0" for row in rows if row["defect"] in ("distractor", "good"))
    assert all(cv2.imread(os.path.join(evaluated, row["picture"])) is not None for row in rows)


def test_again_gives_the_same_and_replaces_the_whole(trained, evaluated):
    before = open(os.path.join(evaluated, "report.json"), "rb").read()
    open(os.path.join(evaluated, "stale.txt"), "w").close()
    assert evaluate.main(["--run", trained, "--batch", "5", "--pictures", "3"]) == 0
    assert open(os.path.join(evaluated, "report.json"), "rb").read() == before
    assert not os.path.exists(os.path.join(evaluated, "stale.txt"))
    assert sum(len(files) for _, _, files in os.walk(os.path.join(evaluated, "pictures"))) == 3
    assert [name for name in os.listdir(trained) if name.startswith(".")] == []


def test_table_on_the_console(trained, tmp_path, capsys):
    assert evaluate.main(["--run", trained, "--out", str(tmp_path / "out"), "--pictures", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["images", "image", "AUROC"]
    assert any(line.startswith("all, inside the ROI") for line in lines)
    assert max(map(len, lines)) < 160
    assert not (tmp_path / "out" / "pictures").exists()


def test_roi_none_file_and_folder(trained, small_demo, tmp_path):
    def report(*options):
        assert evaluate.main(["--run", trained, "--out", str(tmp_path / "out"), "--pictures", "0", *options]) == 0
        return json.load(open(tmp_path / "out" / "report.json", encoding="utf-8"))

    ones = str(tmp_path / "ones.png")
    cv2.imwrite(ones, np.full((64, 64), 255, np.uint8))
    auto, none, file = report(), report("--roi", "none"), report("--roi", ones)
    folder = report("--roi", os.path.join(small_demo, "roi"))
    assert none["image_auroc_roi"] is None and none["absent"]["image_auroc_roi"]
    assert file["image_auroc_roi"] == file["image_auroc"] == none["image_auroc"] == auto["image_auroc"]
    assert {k: v for k, v in folder.items() if k != "arguments"} == {k: v for k, v in auto.items() if k != "arguments"}


def test_good_only_split_and_no_held_out_part(trained, tmp_path):
    out = str(tmp_path / "out")
    assert evaluate.main(["--run", trained, "--out", out, "--split", "train", "--pictures", "0"]) == 0
    report = json.load(open(os.path.join(out, "report.json"), encoding="utf-8"))
    assert report["image_auroc"] is None and report["absent"]["image_auroc"] == "no defective images"
    assert report["threshold"] is None  # never fitted on what is reported


# Wrong input: one line, status 2, an earlier report stays --------------------------------------------------------------


def fails(capsys, *arguments):
    """The one error line."""
    assert evaluate.main(list(arguments)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_missing_run_data_and_weights(trained, small_demo, tmp_path, capsys):
    assert "no run here" in fails(capsys, "--run", str(tmp_path / "nothing"))
    assert "folder not found" in fails(capsys, "--run", trained, "--data", str(tmp_path / "nothing"))
    assert "nothing.png" in fails(capsys, "--run", trained, "--roi", str(tmp_path / "nothing.png"))
    assert "--batch 0" in fails(capsys, "--run", trained, "--batch", "0")
    empty = tmp_path / "untrained"
    shutil.copytree(trained, empty)
    os.remove(empty / runs.BEST)
    assert "no trained weights" in fails(capsys, "--run", str(empty))


def test_an_output_folder_with_other_things_is_left_alone(trained, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert "no earlier report" in fails(capsys, "--run", trained, "--out", str(tmp_path))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", ["image", "size", "empty ROI"])
def test_bad_pictures_are_named_and_the_earlier_report_stays(trained, small_demo, tmp_path, capsys, damage):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(small_demo, data)
    assert evaluate.main(["--run", trained, "--data", str(data), "--out", str(out), "--pictures", "0"]) == 0
    before = open(out / "report.json", "rb").read()
    capsys.readouterr()
    victim = {"image": "test/dent/000.png", "size": "ground_truth/dent/000_mask.png",
              "empty ROI": "roi/test/dent/000.png"}[damage]
    path = data / victim
    if damage == "image":
        path.write_bytes(path.read_bytes()[:100])
    else:
        cv2.imwrite(str(path), np.zeros((64, 64) if damage == "empty ROI" else (10, 64), np.uint8))
    assert victim in fails(capsys, "--run", trained, "--data", str(data), "--out", str(out))
    assert open(out / "report.json", "rb").read() == before


def test_help_is_fast_and_imports_no_tensorflow():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = ("import sys, evaluate\ntry: evaluate.main(['--help'])\nexcept SystemExit: pass\n"
            "assert 'tensorflow' not in sys.modules, 'tensorflow'")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--roi" in done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # CPU time: the machine may be busy


# The sheet -------------------------------------------------------------------------------------------------------------


def test_sheet_shows_roi_truth_and_finds_in_their_colours():
    from grdnet_tf.evaluation import Seen

    amap = np.full((32, 32), 0.1, np.float32)
    amap[4:8, 4:8] = 0.9
    roi, mask = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    roi[:20], mask[12:16, 12:16] = True, True
    grey = np.full((32, 32, 1), 0.5, np.float32)
    seen = Seen(None, grey, grey, amap, roi, mask, 0.5, 0.5)
    sheet = draw_sheet(seen, threshold=0.5, pool=5, side=64)
    overlay = sheet[22:86, 3 * 68 + 2:4 * 68 - 2]  # the last panel of the first row, below its title
    for colour, (row, column) in ((BLUE, (39, 60)), (ORANGE, (24, 28)), (RED, (8, 10))):
        assert tuple(overlay[row, column]) == colour  # twice the size: edges of roi, mask and find
    unknown = draw_sheet(seen._replace(mask=None, roi=None), threshold=None, pool=5, side=64)
    assert unknown.shape == sheet.shape
    assert not (unknown == np.array(RED, np.uint8)).all(axis=-1).any()
