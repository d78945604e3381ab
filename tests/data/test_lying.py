"""Whether the parts of a product lie in all directions."""
import cv2
import numpy as np
import pytest

from grdnet_tf.data import lying
from grdnet_tf.data.record import Record


def bar(picture, angle, centre=(70, 60), length=60, width=14):
    box = cv2.boxPoints((centre, (length, width), angle))
    cv2.fillPoly(picture, [np.int32(np.round(box))], (70, 90, 110))
    return picture


def ground():
    return np.full((120, 140, 3), 210, np.uint8)


@pytest.fixture
def records(tmp_path):
    def write(pictures):
        found = []
        for i, picture in enumerate(pictures):
            path = str(tmp_path / f"{i:02}.png")
            cv2.imwrite(path, picture)
            found.append(Record(path, None, None, 0, "good"))
        return found

    return write


@pytest.mark.parametrize("angles, expected", [
    (range(0, 360, 30), True),
    (range(0, 24, 2), False),          # roughly aligned
    (8 * [5] + 8 * [185], False),      # an axis has no sign
    ([0, 90, 45], False),              # too few to say
])
def test_of_single_parts(records, angles, expected):
    found = records([bar(ground(), angle) for angle in angles])
    assert lying.in_all_directions(found) is expected
    warned = lying.warning(found)
    assert ("data.upright=auto" in warned and "grdnet align DIR --out OUT" in warned) if expected else warned is None


def test_large_pictures_and_those_without_a_part_here_and_there(records):
    large = [cv2.resize(bar(ground(), angle), (1400, 1200)) for angle in range(0, 360, 30)]
    assert lying.in_all_directions(records(large + [ground()] * 2))
    assert not lying.in_all_directions(records(large + [ground()] * 8))


def test_several_parts_in_a_picture_have_no_direction_of_their_own(records):
    """Their common axis turns with the way they happen to lie to each other."""
    def scattered(angle):
        far = 35 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        one, other = (tuple(map(float, np.array([70, 60]) + sign * far)) for sign in (1, -1))
        return bar(bar(ground(), 10, one, 30, 20), 100, other, 30, 20)

    pictures = [scattered(angle) for angle in range(0, 180, 15)]
    assert not lying.in_all_directions(records(pictures))


def test_round_parts_and_textures_have_none(records):
    rng = np.random.default_rng(0)
    disks = [cv2.circle(ground(), (70, 60), 30, (70, 90, 110), -1) for _ in range(12)]
    assert not lying.in_all_directions(records(disks))
    assert not lying.in_all_directions(records([rng.integers(0, 255, (120, 140, 3), np.uint8) for _ in range(12)]))
