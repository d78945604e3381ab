"""A region that goes with its part: shift and turn are found on drawn parts, and what is no such part is said."""
import json

import cv2
import numpy as np
import pytest

from grdnet_tf.data import following, selection
from grdnet_tf.data.following import Choice, Following, Motion, find, moved
from grdnet_tf.errors import InputError
from grdnet_tf.options import Data

SIZE = (96, 120)


def part(shift=(0.0, 0.0), turn=0.0, gain=1.0, seed=0):
    """(H, W, 1) uint8 of a plate with a hole and a slot on a ground of its own grain; (H, W) bool, the plate.

    Drawn 4 times as large and turned by OpenCV's own matrix about the plate's middle: `turn` degrees clockwise.
    """
    shape, truth = np.full((SIZE[0] * 4, SIZE[1] * 4), 60, np.uint8), np.zeros((SIZE[0] * 4, SIZE[1] * 4), np.uint8)
    for pixels, colours in ((shape, (170, 90, 230)), (truth, (1, 1, 1))):
        cv2.rectangle(pixels, (140, 120), (330, 250), colours[0], -1)
        cv2.circle(pixels, (180, 160), 22, colours[1], -1)
        cv2.rectangle(pixels, (250, 200), (310, 215), colours[2], -1)
    matrix = cv2.getRotationMatrix2D((235, 185), -turn, 1.0)
    matrix[:, 2] += np.multiply(shift, 4)
    shape = cv2.warpAffine(shape, matrix, shape.shape[::-1], borderValue=60)
    truth = cv2.warpAffine(truth, matrix, truth.shape[::-1], flags=cv2.INTER_NEAREST)
    small = cv2.resize(shape.astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_AREA)
    grain = np.random.default_rng(seed).normal(0, 4, SIZE)
    return np.clip(small * gain + grain, 0, 255).astype(np.uint8)[..., None], truth[2::4, 2::4] > 0


def overlap(a, b):
    return (np.asarray(a, bool) & b).sum() / (np.asarray(a, bool) | b).sum()


@pytest.mark.parametrize("shift, turn, gain", [
    ((0, 0), 0, 1), ((6.5, -4), 0, 1), ((-12, 8), 12, 1), ((10, 5), -28, 1), ((3, 3), 4, 0.6), ((-38, 0), 0, 1)])
def test_shift_and_turn_are_found(shift, turn, gain):
    reference, region = part()
    picture, truth = part(shift, turn, gain, seed=1)
    motion = find(reference, region, picture)
    assert motion.turn == pytest.approx(turn, abs=0.5)
    assert motion.shift == pytest.approx(shift, abs=1.5 if shift[0] == -38 else 0.5)  # that one is cut by the border
    assert overlap(moved(region, motion.matrix), truth) > 0.95
    assert overlap(region, truth) < 0.85 or shift == (0, 0)


def test_what_it_covers_may_be_defective():
    reference, region = part()
    picture, truth = part((5, 2), 3, seed=1)
    cv2.circle(picture, (60, 46), 8, 10, -1)
    assert overlap(moved(region, find(reference, region, picture).matrix), truth) > 0.95


def test_what_is_not_there_is_not_found():
    reference, region = part()
    noise = np.random.default_rng(3).integers(0, 255, (*SIZE, 1), np.uint8)
    flat = np.full((*SIZE, 1), 90, np.uint8)
    away, _ = part((-75, 0))  # all but its edge is outside
    for picture in (noise, flat, away, part(seed=1)[0][:, :100]):
        assert find(reference, region, picture) is None


@pytest.fixture
def folder(tmp_path):
    """test/good: the part moved, and not there; the reference, and the ROI drawn on it as shares."""
    (tmp_path / "test" / "good").mkdir(parents=True)
    reference, region = part()
    cv2.imwrite(str(tmp_path / "reference.png"), reference)
    for name, picture in (("0", part((8, 4), 6, seed=1)[0]), ("1", np.full((*SIZE, 1), 90, np.uint8))):
        cv2.imwrite(str(tmp_path / "test" / "good" / f"{name}.png"), picture)
    box = [35 / 120, 30 / 96, 83 / 120, 63 / 96]
    (tmp_path / "roi.json").write_text(json.dumps({"unit": "share", "shapes": [{"box": box}]}))
    return tmp_path


def test_records_of_a_folder_have_their_own_region(folder, caplog):
    choice = Choice(str(folder / "roi.json"), str(folder / "reference.png"))
    found = selection.test_records(str(folder), "test", Data(channels="1"), choice)
    assert "the part is not found in 1 of 2 pictures" in caplog.text and "1.png" in caplog.text
    assert [isinstance(record.roi, Following) for record in found] == [True, True]
    _, truth = part((8, 4), 6)
    assert overlap(found[0].roi.read(SIZE), truth) > 0.95
    assert overlap(found[1].roi.read(SIZE), part()[1]) > 0.97  # as it was drawn
    assert following.lost(found) == found[1:] and isinstance(following.motion_of(found[0].roi), Motion)


def test_a_region_of_another_size_than_its_picture_is_named(folder):
    cv2.imwrite(str(folder / "roi.png"), np.full((50, 50), 255, np.uint8))
    with pytest.raises(InputError, match="reference.png: is 120 x 96, the ROI drawn on it is 50 x 50"):
        selection.test_records(str(folder), "test", Data(channels="1"),
                               Choice(str(folder / "roi.png"), str(folder / "reference.png")))
