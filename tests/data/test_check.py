"""The look at a data folder: what it counts, what it warns of, and how it names many damages of a kind."""
import os
import shutil

import cv2
import numpy as np
import pytest
from drawn import photographs

from grdnet_tf.data import check


@pytest.fixture
def data(small_demo, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(small_demo, root)
    return root


def test_warnings(data, capsys):
    shutil.copy(data / "train" / "good" / "003.png", data / "test" / "good" / "000.png")
    shutil.rmtree(data / "roi" / "train")
    shutil.rmtree(data / "ground_truth" / "speck")
    mask = np.zeros((64, 64), np.uint8)
    mask[8, 8] = 255  # of every 4 x 4 pixels the third of the third row is taken: (8, 8) is none of them
    cv2.imwrite(str(data / "ground_truth" / "dent" / "001_mask.png"), mask)
    found = check.check(str(data), (16, 16))
    assert found.errors == []
    for words in ("are the same picture", "only test has ROIs", "test/speck has no masks",
                  "001_mask.png: its smallest defect is less than a pixel at 16 x 16"):
        assert any(words in line for line in found.warnings), words
    dent = next(line for line in found.facts if line[0] == "test/dent")
    assert dent[7] == "1 px"


@pytest.mark.parametrize("parts, times, said", [(12, 4, "12 parts in 48 pictures"), (40, 1, None)])
def test_parts_that_come_several_times_are_counted(tmp_path, parts, times, said):
    photographs(tmp_path, parts, times)
    lines = [line for line in check.check(str(tmp_path)).warnings if "by their likeness" in line]
    assert [said in line for line in lines] == ([True] if said else [])


def test_training_alone_and_one_class(data):
    shutil.rmtree(data / "ground_truth")
    for name in os.listdir(data / "test"):
        if name != "good":
            shutil.rmtree(data / "test" / name)
            shutil.rmtree(data / "roi" / "test" / name)
    assert any("good pictures only" in line for line in check.check(str(data)).warnings)
    shutil.rmtree(data / "test")
    shutil.rmtree(data / "roi" / "test")
    found = check.check(str(data))
    assert found.errors == [] and any("no test folder" in line for line in found.warnings)


def test_many_lines_of_a_kind_are_counted(data):
    for i in range(12):  # all of them
        (data / "train" / "good" / f"{i:03d}.png").write_bytes(b"")
    errors = check.check(str(data)).errors
    assert len(errors) == check.SHOWN + 1 and "000.png: is empty" in errors[0]
    assert errors[-1] == "... and 2 more of this kind"


def test_grey_among_colour_is_one_error(data):
    path = data / "train" / "good" / "005.png"
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    found = check.check(str(data))
    assert len(found.errors) == 1 and "005.png: grey" in found.errors[0]
    assert found.facts[1][3] == "1/3"


def test_colour_to_test_a_grey_run_with_is_an_error(data):
    for path in (data / "train" / "good").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    errors = check.check(str(data)).errors
    assert len(errors) == 1 and "a colour picture, but those to train on are grey: no evaluation takes it" in errors[0]


def test_real_pills(real_data):
    found = check.check(real_data("pill"))
    assert found.errors == [] and found.warnings == []
    assert found.facts[1][:6] == ["train/good", "267", "256 x 256", "3", "8", "246"]
    assert sum(int(line[1]) for line in found.facts[2:]) == 167 and all(line[8] != "-" for line in found.facts[1:])
