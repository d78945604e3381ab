"""`grdnet check`: the table it prints, every kind of damage named, its exit status."""
import os
import shutil

import cv2
import numpy as np

import evaluate
from grdnet_tf.cli import check


def test_a_sound_folder(small_demo, capsys):
    assert evaluate.main(["--check-data", small_demo]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "0 errors, 0 warnings"
    table = {line.split()[0]: line.split() for line in lines}
    assert table["train/good"][1:7] == ["12", "64", "x", "64", "3", "8"]
    assert table["test/dent"][1] == "2" and table["test/dent"][8] == "2"  # pictures, masks
    assert len(table) == 1 + 1 + 6 + 1  # heading, train, 4 types with good and distractor, the sum


def test_every_damage_is_named_and_none_hides_another(small_demo, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(small_demo, data)
    (data / "train" / "good" / "000.png").write_bytes(b"")
    (data / "train" / "good" / "001.png").write_bytes((data / "train" / "good" / "001.png").read_bytes()[:200])
    cv2.imwrite(str(data / "roi" / "train" / "good" / "002.png"), np.zeros((64, 64), np.uint8))
    os.remove(data / "ground_truth" / "dent" / "000_mask.png")
    assert check.main([str(data)]) == 1
    out = capsys.readouterr().out
    assert check.main([str(data), "--quiet"]) == 1
    assert capsys.readouterr().out.splitlines() == [line for line in out.splitlines() if line.startswith(("er", "wa"))]
    errors = [line for line in out.splitlines() if line.startswith("error: ")]
    assert len(errors) == 4
    for words in ("000.png: is empty (0 bytes)", "001.png: cannot be decoded", "ROI is empty", "dent/000.png: no mask"):
        assert any(words in line for line in errors), words
    assert "train/good" in out  # what can be read is described all the same


def test_wrong_folder_and_size(tmp_path, capsys):
    assert check.main([str(tmp_path / "nothing")]) == 2
    assert check.main([str(tmp_path), "--size", "0", "64"]) == 2
    assert check.main([str(tmp_path)]) == 1  # a folder without train/good
    assert capsys.readouterr().err.count("error: ") == 2
