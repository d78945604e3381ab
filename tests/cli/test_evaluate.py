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
from small_runs import make_run

import evaluate
from grdnet_tf.demo.dataset import write_demo
from grdnet_tf.storage import file_sha256
from grdnet_tf.training import recorded, run_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_demo):
    return make_run(tmp_path_factory.mktemp("run") / "tiny", small_demo)


@pytest.fixture(scope="module")
def evaluated(trained):
    assert evaluate.main(["--run", trained, "--batch", "5"]) == 0
    return os.path.join(trained, "evaluation")


def test_report_has_every_key_of_every_reading(evaluated):
    report = json.load(open(os.path.join(evaluated, "report.json"), encoding="utf-8"))
    assert (report["n_images"], report["n_defective"], report["n_defective_roi"]) == (16, 12, 8)  # 4 distractors
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


def test_pictures_that_served_in_training_are_said(trained, small_demo, tmp_path, capsys):
    """A good picture that was trained on, and a defect that its noise was cut from, in test/."""
    data, run = shutil.copytree(small_demo, str(tmp_path / "data")), shutil.copytree(trained, str(tmp_path / "run"))
    known = recorded.read(run)
    name = known.names(recorded.TRAINED)[0]
    shutil.copy(os.path.join(data, name), os.path.join(data, "test", "good", "000.png"))
    defect = os.path.join(data, "test", "dent", "001.png")
    entries = [*known.entries, recorded.Entry("elsewhere.png", file_sha256(defect), recorded.NOISE)]
    recorded.write(run, known._replace(entries=entries))
    assert evaluate.main(["--run", run, "--data", data, "--pictures", "0", "--out", str(tmp_path / "out")]) == 0
    report = json.load(open(tmp_path / "out" / "report.json", encoding="utf-8"))
    assert [(os.path.basename(one["path"]), one["as"]) for one in report["seen_in_training"]] == [
        ("001.png", "noise"), ("000.png", "trained")]
    assert report["seen_in_training"][0]["sha256"] == file_sha256(defect)
    words = "2 of the 16 pictures served in training, 1 as good ones and 1 as a source of its defects"
    assert words in capsys.readouterr().err and words in report["warnings"][-1]


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
    auto, none, file = report(), report("--roi", "none"), report("--roi", ones, "--disturb")
    plain, *changed = file["disturbed"]
    assert (plain["what"], plain["change"]) == ("as they are", None) and len(changed) == 13
    assert plain["image_auroc"] == pytest.approx(file["image_auroc_roi"])
    assert plain["false_rejects"] == file["false_reject_rate_roi"] and plain["misses"] == file["miss_rate_roi"]
    assert "Under disturbance" in open(tmp_path / "out" / "report.html", encoding="utf-8").read()
    assert any(one["image_auroc"] != plain["image_auroc"] for one in changed)
    folder = report("--roi", os.path.join(small_demo, "roi"))
    assert folder["disturbed"] is None
    assert none["image_auroc_roi"] is None and none["absent"]["image_auroc_roi"]
    assert file["image_auroc_roi"] == file["image_auroc"] == none["image_auroc"] == auto["image_auroc"]
    assert {**folder, "roi": "auto", "station": auto["station"]} == auto and folder["station"] is None


def test_thresholds_are_kept_with_the_run(trained, small_demo, tmp_path, capsys):
    def thresholds(*options):
        assert evaluate.main(["--run", run, "--out", str(tmp_path / "out"), "--pictures", "0", *options]) == 0
        return json.load(open(tmp_path / "out" / "report.json", encoding="utf-8"))["thresholds"]

    run = make_run(tmp_path / "run", small_demo)
    first = thresholds()
    kept = os.path.join(run, "calibration.json")
    with open(kept, encoding="utf-8") as stream:
        found = json.load(stream)["thresholds"]
    scores = {name: entry.pop("good_scores", None) for name, entry in found.items()}
    assert found == first and [name for name in scores if scores[name]] == ["image", "image_roi"]
    assert first["image"]["method"] == "max_normal"
    assert first["image"]["fitted_on"] == "3 good images that the run held out"
    asked = thresholds("--thresholds", "target_fpr:0.4,quantile:0.5")
    assert asked["image"]["method"] == "target_fpr:0.4" and asked["pixel"]["method"] == "quantile:0.5"
    assert asked["image"]["value"] < first["image"]["value"] and asked["image"]["above"] == 1
    assert thresholds() == asked  # what was asked for last is the run's

    other = str(tmp_path / "other")
    write_demo(other, seed=9, train=2, test_good=3, per_defect=1, distractors=1, size=(64, 64))
    labelled = thresholds("--thresholds", f"best_f1:{other}")
    assert labelled["image"]["fitted_on"] == f"8 test images, 5 of them defective, of {other}"
    assert labelled["image_roi"]["n"] == 4  # the distractor is good there
    assert thresholds() == asked  # a threshold that saw defects is not kept
    line = fails(capsys, "--run", run, "--thresholds", f"best_f1:{small_demo}")
    assert "would be fitted on and reported on" in line

    content = json.load(open(kept, encoding="utf-8"))
    json.dump(dict(content, weights_sha256="other weights"), open(kept, "w", encoding="utf-8"))
    assert thresholds() == first  # they belonged to other weights
    open(kept, "w").close()
    assert "damaged" in fails(capsys, "--run", run)


def test_regions_and_micrometres(trained, tmp_path):
    out = tmp_path / "out"
    assert evaluate.main(["--run", trained, "--out", str(out), "--pictures", "0", "--min-area", "3",
                          "--um-per-pixel", "50", "--thresholds", "max_normal,quantile:0.9"]) == 0
    rows = list(csv.DictReader(open(out / "regions.csv", encoding="utf-8", newline="")))
    predictions = csv.DictReader(open(out / "predictions.csv", encoding="utf-8"))
    counts = {row["path"]: int(row["regions"]) for row in predictions}
    assert rows and all(int(row["area"]) >= 3 for row in rows)
    assert all(float(row["area_um2"]) == pytest.approx(int(row["area"]) * 2500) for row in rows)  # files of 64 x 64
    for path, count in counts.items():
        assert sum(row["path"] == path for row in rows) == min(count, 50)
    report = json.load(open(out / "report.json", encoding="utf-8"))
    assert report["sizes"]["unit"] == "um" and sum(c["n"] for c in report["sizes"]["classes"]) >= 8
    assert report["um_per_pixel"] == 50.0
    os.remove(os.path.join(trained, "calibration.json"))


def test_tiles_no_smaller_than_the_pictures_change_nothing(trained, tmp_path):
    def report(*options):
        assert evaluate.main(["--run", trained, "--out", str(tmp_path / "out"), "--pictures", "0", *options]) == 0
        found = json.load(open(tmp_path / "out" / "report.json", encoding="utf-8"))
        return {key: value for key, value in found.items() if isinstance(value, float)}

    plain, tiled, small = report(), report("--tiles", "64,8"), report("--tiles", "32,8")
    assert tiled == pytest.approx(plain, abs=1e-6)
    assert small["pixel_auroc"] != plain["pixel_auroc"]


def test_pictures_of_other_sizes_at_their_own_size(trained, small_demo, tmp_path):
    data = str(tmp_path / "data")
    shutil.copytree(small_demo, data)
    for part in ("test/dent/000.png", "ground_truth/dent/000_mask.png", "roi/test/dent/000.png"):
        pixels = cv2.imread(os.path.join(data, part), cv2.IMREAD_UNCHANGED)
        larger = np.kron(pixels, np.ones((2, 3) + (1,) * (pixels.ndim - 2), np.uint8))
        cv2.imwrite(os.path.join(data, part), larger[:-5])
    out = tmp_path / "out"
    assert evaluate.main(["--run", trained, "--data", data, "--out", str(out), "--tiles", "64,16"]) == 0
    rows = list(csv.DictReader(open(out / "predictions.csv", encoding="utf-8", newline="")))
    assert len(rows) == 16 and cv2.imread(str(out / "pictures" / "dent" / "000.jpg")) is not None


def test_good_only_split_and_no_held_out_part(trained, tmp_path):
    out = str(tmp_path / "out")
    assert evaluate.main(["--run", trained, "--out", out, "--split", "train", "--pictures", "0"]) == 0
    report = json.load(open(os.path.join(out, "report.json"), encoding="utf-8"))
    assert report["image_auroc"] is None and report["absent"]["image_auroc"] == "no defective images"
    assert report["threshold"] is None  # never fitted on what is reported


# Wrong input: one line, status 2, an earlier report stays -------------------------------------------------------------


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
    for flag, value in (("--batch", "0"), ("--pictures", "-1"), ("--min-area", "0"), ("--um-per-pixel", "0"),
                        ("--um-per-pixel", "nan"), ("--tiles", "64"), ("--tiles", "16,16")):
        assert f"{flag} {value}" in fails(capsys, "--run", trained, f"{flag}={value}")
    assert "tiles [18, 4]" in fails(capsys, "--run", trained, "--tiles", "18,4")
    assert "expected max_normal" in fails(capsys, "--run", trained, "--thresholds", "best")
    for flag, value in (("--thresholds", "max_normal"), ("--thresholds", "best_f1:x,best_f1:x"), ("--good", small_demo)):
        assert f"{flag} {value} does not go with --split train" in fails(
            capsys, "--run", trained, flag, value, "--split", "train")
    empty = tmp_path / "untrained"
    shutil.copytree(trained, empty)
    os.remove(empty / run_folder.BEST)
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


def test_help_is_fast_and_imports_no_tensorflow(pytestconfig):
    code = ("import sys, evaluate\ntry: evaluate.main(['--help'])\nexcept SystemExit: pass\n"
            "assert 'tensorflow' not in sys.modules, 'tensorflow'")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=pytestconfig.rootpath, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "--roi" in done.stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3  # CPU time: the machine may be busy
