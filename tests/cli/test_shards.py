"""grdnet shards, and the commands that take what it wrote in the place of a data folder."""
import csv
import json
import os
import random
import shutil
import subprocess
import sys

import pytest
from sets import contents

import evaluate
import predict
from benchmarks import shards as matrix
from grdnet_tf.cli import calibrate, check, roi, shards

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture(scope="module")
def stored(small_demo, tmp_path_factory):
    """The demo set in several shards."""
    out = str(tmp_path_factory.mktemp("sets") / "vials")
    assert shards.main([small_demo, "--out", out, "--size-mb", "0.05"]) == 0
    assert len([name for name in os.listdir(out) if name.endswith(".tfrecord")]) > 4
    return out


def test_evaluate_gives_the_same_figures(trained, small_demo, stored, tmp_path):
    reports, rows = [], []
    for name, data in (("folder", small_demo), ("shards", stored)):
        out = str(tmp_path / name)
        assert evaluate.main(["--run", trained, "--data", data, "--out", out, "--thresholds", "max_normal",
                              "--pictures", "2"]) == 0
        report = json.load(open(os.path.join(out, "report.json"), encoding="utf-8"))
        reports.append({key: value for key, value in report.items() if key != "data"})
        with open(os.path.join(out, "predictions.csv"), encoding="utf-8", newline="") as stream:
            rows.append([dict(row, path=os.path.relpath(row["path"], data)) for row in csv.DictReader(stream)])
    assert reports[0] == reports[1] and rows[0] == rows[1] and len(rows[0]) == 16


def test_predict_gives_the_same_scores(trained, small_demo, stored, capsys):
    def scores(*inputs):
        capsys.readouterr()
        assert predict.main(["--run", trained, "--json", *inputs]) in (0, 3)
        found = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        return {tuple(one["path"].split(os.sep)[-3:]): one["score"] for one in found}

    ours = scores(stored)
    theirs = scores(*(os.path.join(small_demo, split) for split in ("train", "test")))
    assert len(ours) == 12 + 16 and ours.keys() == theirs.keys()
    assert all(ours[name] == pytest.approx(theirs[name], abs=1e-6) for name in ours)


def test_calibrate_takes_good_pictures_of_a_set(trained, stored, tmp_path, capsys):
    run = shutil.copytree(trained, str(tmp_path / "run"))
    assert calibrate.main(["--run", run, "--good", stored]) == 2  # those it was trained on, known by their digests
    assert "is one of the pictures that the run was trained on" in capsys.readouterr().err


def test_check_and_roi(small_demo, stored, capsys):
    assert check.main([small_demo, "--size", "64", "64"]) == 0
    theirs = capsys.readouterr().out
    assert check.main([stored, "--size", "64", "64"]) == 0
    assert capsys.readouterr().out == theirs and "ROI covers" in theirs
    assert roi.main([stored]) == 2
    assert "draw in the data folder" in capsys.readouterr().err


@pytest.mark.parametrize("flags, words", [
    (["--size-mb", "0"], ["--size-mb 0", "more than 0"]), (["--resize", "12"], ["--resize 12", "H,W"]),
    (["--resize", "0,4"], ["--resize 0,4"]), (["--threads", "-1"], ["--threads -1"])])
def test_wrong_flags(small_demo, tmp_path, capsys, flags, words):
    assert shards.main([small_demo, "--out", str(tmp_path / "out"), *flags]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words) and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_folder_and_nowhere_to_write(small_demo, tmp_path, capsys):
    assert shards.main([str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]) == 2
    assert "nothing: folder not found" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert shards.main([small_demo, "--out", str(tmp_path / "file")]) == 2
    assert "file: a file, expected a new folder" in capsys.readouterr().err
    assert shards.main([small_demo, "--out", str(tmp_path / "file" / "below")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_killed_and_resumed_the_set_is_the_same_bytes(small_demo, stored, tmp_path, capsys):
    """The matrix of kills in small: benchmarks/shards.py --parts kill."""
    out, rng = str(tmp_path / "killed"), random.Random(1)
    flags = [small_demo, "--out", out, "--size-mb", "0.05"]
    struck = 0
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-m", "grdnet_tf", "shards", *flags, "--threads", "1"], cwd=ROOT,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        struck += matrix.strike(process, out, rng, 6.0, 0.05)
    assert struck
    if not os.path.exists(os.path.join(out, "index.json")):
        assert check.main([out]) == 2
        assert "has not finished this set" in capsys.readouterr().err
    assert shards.main(flags) == 0
    assert contents(out) == contents(stored)
