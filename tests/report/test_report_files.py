"""What an evaluation leaves on the disk: names of sheets, all or nothing, and after a kill between two renames."""
import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.evaluation import figures
from grdnet_tf.report import comparison, report, shots

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = ["pictures", "predictions.csv", "regions.csv", "report.html", "report.json"]


class Evaluation(NamedTuple):
    """What `write` needs of one; the class itself imports TensorFlow, which the killed processes here do not need."""
    report: dict
    rows: list


class Shown(NamedTuple):
    """What `write` needs of a record."""
    image: str
    defect: str


def evaluation(paths, **more):
    """Of good pictures; `more` into the report."""
    rows = [figures.Row(path, os.path.basename(os.path.dirname(path)), 0, 0, 0.1, 0.1) for path in paths]
    return Evaluation(dict(figures.summarise(rows, {}, {}, False, resamples=5), warnings=[], **more), rows)


def write(folder, paths=("d/test/good/1.png",), **more):
    """A report in which the sheet of picture i has the grey level 40 + 20 i."""
    drawn = []
    for i, path in enumerate(paths):
        sheet = np.full((8, 16, 3), 40 + 20 * i, np.uint8)
        drawn.append((Shown(path, os.path.basename(os.path.dirname(path))), sheet, shots.embed(sheet)))
    report.write(str(folder), evaluation(paths, **more), drawn)


def sheets(folder):
    """{name of the picture: its sheet's path} as predictions.csv says."""
    with open(os.path.join(folder, "predictions.csv"), encoding="utf-8", newline="") as stream:
        return {os.path.basename(row["path"]): row["picture"] for row in csv.DictReader(stream)}


def levels(folder, names):
    import cv2

    return [int(cv2.imread(os.path.join(folder, *name.split("/"))).mean().round()) for name in names]


# Names ----------------------------------------------------------------------------------------------------------------


def test_pictures_of_one_stem_have_sheets_of_their_own(tmp_path):
    paths = [f"d/test/spot/{name}" for name in ("000.png", "000.bmp", "001.png", "Part.png", "part.PNG")]
    write(tmp_path / "out", paths)
    found = sheets(tmp_path / "out")
    assert found["001.png"] == "pictures/spot/001.jpg"
    assert len({name.casefold() for name in found.values()}) == 5  # on Windows too
    assert levels(tmp_path / "out", [found[os.path.basename(path)] for path in paths]) == [40, 60, 80, 100, 120]
    assert re.fullmatch(r"pictures/spot/000-[0-9a-f]{12}\.jpg", found["000.png"])
    assert sorted(os.listdir(tmp_path / "out" / "pictures" / "spot")) == sorted(
        os.path.basename(name) for name in found.values())


def test_a_sheets_name_is_the_same_wherever_the_data_lie_and_in_any_order():
    names = ("000.png", "000.bmp", "x" * 250 + ".png", "ä" * 125 + "b.png")
    here = report.sheet_names(evaluation([f"/here/d/test/spot/{name}" for name in names]).rows, "/here/d")
    there = report.sheet_names(evaluation([f"/else/test/spot/{name}" for name in reversed(names)]).rows, "/else")
    assert [here[f"/here/d/test/spot/{name}"] for name in names] == [there[f"/else/test/spot/{name}"] for name in names]
    digest = hashlib.sha256(b"test/spot/000.png").hexdigest()
    assert here["/here/d/test/spot/000.png"] == f"pictures/spot/000-{digest[:12]}.jpg"


@pytest.mark.parametrize("stem, ending", [("x" * 251, ".png"), ("ä" * 125 + "x", ".bmp"), ("y" * 252, ".tf")])
def test_names_as_long_as_the_file_system_takes(tmp_path, stem, ending):
    twin = stem[:-1] + "z"
    paths = [f"d/test/good/{name}{ending}" for name in (stem, twin)]
    write(tmp_path / ("o" * 255), paths)
    found = sheets(tmp_path / ("o" * 255))
    assert levels(tmp_path / ("o" * 255), [found[name + ending] for name in (stem, twin)]) == [40, 60]
    assert all(len(os.fsencode(os.path.basename(name))) <= 255 for name in found.values())
    assert os.listdir(tmp_path) == ["o" * 255]


def test_a_name_that_is_not_utf8(tmp_path):
    write(tmp_path / "out", [os.fsdecode(b"d/test/good/Stra\xdfe.png")])
    assert sorted(os.listdir(tmp_path / "out")) == FILES
    assert os.listdir(os.fsencode(tmp_path / "out" / "pictures" / "good")) == [b"Stra\xdfe.jpg"]
    assert "Stra\\udcdfe.png" in (tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8")


# All or nothing -------------------------------------------------------------------------------------------------------


def test_an_error_while_sheets_are_drawn_leaves_the_earlier_report(tmp_path):
    write(tmp_path / "out", marker="first")

    def broken():
        sheet = np.zeros((8, 16, 3), np.uint8)
        yield Shown("d/test/good/1.png", "good"), sheet, shots.embed(sheet)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report.write(str(tmp_path / "out"), evaluation(["d/test/good/1.png"], marker="second"), broken())
    assert marker(tmp_path / "out") == "first" and os.listdir(tmp_path) == ["out"]
    write(tmp_path / "out", marker="third")
    assert marker(tmp_path / "out") == "third" and sorted(os.listdir(tmp_path / "out")) == FILES
    assert os.listdir(tmp_path) == ["out"]


def marker(folder):
    with open(os.path.join(folder, "report.json"), encoding="utf-8") as stream:
        return json.load(stream)["marker"]


def test_a_target_that_is_no_report(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("")
    for name in ("notes", "notes/mine.txt"):
        with pytest.raises(InputError, match="is no earlier report"):
            report.check_target(str(tmp_path / name))
    report.check_target(str(tmp_path / "absent"))
    write(tmp_path / "out")
    report.check_target(str(tmp_path / "out"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*file/out"):
        write(tmp_path / "file" / "out")


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from test_report_files import write
rename, at, count = os.rename, int(sys.argv[3]), 0
def killing(old, new):
    global count
    count += 1
    if count > at:
        os.kill(os.getpid(), 9)
    rename(old, new)
os.rename = killing
write(sys.argv[1], marker="second")
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_between_two_renames_leaves_a_report(tmp_path, renames):
    out = str(tmp_path / "run" / "evaluation")
    write(out, marker="first")
    done = subprocess.run([sys.executable, "-c", KILLED, out, os.path.dirname(os.path.abspath(__file__)), str(renames)],
                          cwd=ROOT, env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert os.path.isdir(out) == (renames != 1)  # else the fault that this is about has not happened
    expected = "second" if renames == 2 else "first"
    assert comparison.read(str(tmp_path / "run"), {}).report["marker"] == expected  # a command that only reads
    report.check_target(out)
    assert marker(out) == expected
    write(out, marker="third")
    assert marker(out) == "third" and os.listdir(tmp_path / "run") == ["evaluation"]


def test_a_folder_that_the_user_made_meanwhile_is_not_touched(tmp_path):
    out = str(tmp_path / "evaluation")
    write(out, marker="first")
    subprocess.run([sys.executable, "-c", KILLED, out, os.path.dirname(os.path.abspath(__file__)), "1"], cwd=ROOT,
                   env=dict(os.environ, PYTHONPATH=ROOT), capture_output=True)
    os.mkdir(out)
    (tmp_path / "evaluation" / "mine.txt").write_text("")
    with pytest.raises(InputError, match="is no earlier report"):
        report.check_target(out)
    assert os.listdir(out) == ["mine.txt"]
    os.rename(out, str(tmp_path / "moved"))
    report.check_target(out)
    assert marker(out) == "first"


def test_two_at_once_leave_one_whole_report(tmp_path):
    out, errors = str(tmp_path / "out"), []

    def many(name):
        for _ in range(10):
            try:
                write(out, marker=name)
            except InputError as error:
                errors.append(error)

    threads = [threading.Thread(target=many, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and marker(out) in ("a", "b") and sorted(os.listdir(out)) == FILES
    assert os.listdir(tmp_path) == ["out"]


def test_the_worst_are_drawn_first_and_a_few_best_finds_and_highest_good_ones_too():
    """Of 30 good and 30 defective pictures of scores up to 0.29 and from 0.505 on; rejected is from 0.4 on."""
    rows = [SimpleNamespace(score=i / 100, label_roi=0) for i in range(30)]
    rows += [SimpleNamespace(score=0.505 + i / 100, label_roi=1) for i in range(30)]
    told = report.most_telling(rows, list(range(60)), 32, {"image": {"value": 0.4}})
    # Nearest to the wrong side: defects from 0.505 on and good ones from 0.29 down, in turns; the six surest defects and
    # the six highest good ones (which are among those anyway) besides.
    assert len(told) == 32 and told[:2] == [30, 29]
    assert set(range(54, 60)) <= set(told) and set(range(24, 30)) <= set(told)
    assert set(told) - set(range(54, 60)) == {*range(30, 43), *range(17, 30)}
    assert report.most_telling(rows, list(range(60)), 2, {"image": {"value": 0.4}}) == [30, 29]
    assert sorted(report.most_telling(rows, list(range(60)), 60, {"image": {"value": 0.4}})) == list(range(60))
