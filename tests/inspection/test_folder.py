"""What a folder of predictions holds: a file a picture, and nothing lost where it is refused."""
import json
import os

import cv2
import numpy as np
import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.evaluation.thresholds import Limits
from grdnet_tf.inspection.folder import Folder
from grdnet_tf.inspection.result import Result


def result(number):
    """A rejected picture of one grey, as all of them called 000.png."""
    pixels = np.full((24, 24, 3), 6 * number, np.uint8)
    small = np.full((8, 8), number / 100, np.float32)
    return Result(f"cam{number}/000.png", name="000.png", score=0.9, regions=[], small_map=small, pixels=pixels,
                  size=(24, 24), limits=Limits(0.5, 0.5), level=0.95)


def entries(out):
    return [json.loads(line) for line in open(out / "predictions.jsonl", encoding="utf-8")]


def test_pictures_of_one_name_have_an_overlay_and_a_map_each(tmp_path):
    out = tmp_path / "out"
    with Folder(out) as folder:
        for number in range(40):
            folder.add(result(number))
        folder.add(result(39))  # once more
    found = entries(out)
    assert len({entry["overlay"] for entry in found}) == len(found) == 41
    for number, entry in enumerate(found[:40]):
        small = cv2.imread(str(out / entry["map"]), cv2.IMREAD_UNCHANGED)
        assert entry["path"] == f"cam{number}/000.png" and np.abs(small / 65535 - number / 100).max() < 1e-3


def test_a_damaged_line_is_refused_before_the_table_is_touched(tmp_path):
    out = tmp_path / "out"
    with Folder(out, pictures="none") as folder:
        for number in range(3):
            folder.add(result(number))
    lines, table = (out / "predictions.jsonl"), (out / "predictions.csv").read_text()
    whole = lines.read_text()
    lines.write_text(whole.replace('"rejected"', '"lost"', 2).replace('"lost"', '"rejected"', 1))
    with pytest.raises(InputError, match="predictions.jsonl: line 2 is damaged"):
        Folder(out, go_on=True)
    assert (out / "predictions.csv").read_text() == table and os.path.exists(out)
