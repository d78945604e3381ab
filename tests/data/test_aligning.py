"""Parts turned upright: where they lie, which way round, what a mask becomes, and the way back to the file."""
import json

import cv2
import numpy as np
import pytest

from grdnet_tf.data import aligning
from grdnet_tf.errors import InputError

LENGTH, WIDTH = 80, 24


def part(angle, x=100, y=90, size=(180, 200), depth=8):
    """(h, w, 1): a dark nail on bright ground: its head, WIDTH wide, behind; `angle` in degrees, clockwise from right."""
    picture = np.full((*size, 1), 220, np.uint8)
    along = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    across = np.array([-along[1], along[0]])

    def rectangle(start, end, width):
        corners = [np.array([x, y]) + along * at + across * side for at, side in
                   ((start, -width / 2), (end, -width / 2), (end, width / 2), (start, width / 2))]
        cv2.fillPoly(picture, [np.rint(16 * np.array(corners)).astype(np.int32)], 60, cv2.LINE_AA, 4)

    rectangle(-LENGTH / 2, -LENGTH / 2 + 10, WIDTH)
    rectangle(-LENGTH / 2 + 9, LENGTH / 2, 8)
    return picture if depth == 8 else picture.astype(np.uint16) * 257


PICTURES = [part(angle, 90 + angle % 20, 80 + angle % 13) for angle in range(0, 360, 23)]


@pytest.fixture(scope="module")
def alignment():
    return aligning.learn(PICTURES, lambda picture: picture, side=64)


def test_a_pose_by_hand():
    pose = aligning.find(part(30))
    assert pose.middle == pytest.approx([100, 90], abs=1) and pose.along == pytest.approx([0.866, 0.5], abs=0.02)
    assert (pose.length, pose.width) == pytest.approx((LENGTH, WIDTH), abs=3)
    assert aligning.find(part(30, depth=16)).middle == pytest.approx(pose.middle, abs=0.2)
    assert aligning.find(np.full((50, 60, 1), 90, np.uint8)) is None
    disc = cv2.circle(np.full((120, 120, 1), 220, np.uint8), (60, 60), 30, 50, -1)
    assert aligning.find(disc) is None  # it has no direction
    speck = np.full((128, 128, 1), 220, np.uint8)
    speck[60, 60] = 0
    assert aligning.find(speck) is None


@pytest.mark.parametrize("bits", [10, 12])
def test_a_cameras_few_bits_of_16_are_as_good(alignment, bits):
    few = [one.astype(np.uint16) << (bits - 8) for one in PICTURES]
    found = aligning.learn(few, lambda picture: picture, side=64)
    assert found.size == alignment.size and found.scale == pytest.approx(alignment.scale, rel=0.02)
    for picture, plain in zip(few, PICTURES):
        assert found.matrix(picture) == pytest.approx(alignment.matrix(plain), abs=1)  # the same way round


def test_all_parts_come_to_lie_alike_and_the_canvas_holds_them(alignment):
    assert alignment.size == (32, 64) and alignment.scale == pytest.approx(64 / (LENGTH * 1.08), rel=0.05)
    uprights = np.stack([alignment.upright(one, alignment.matrix(one)) for one in PICTURES])
    assert uprights.shape == (len(PICTURES), 32, 64, 1) and uprights.dtype == np.uint8
    assert uprights.astype(float).std(axis=0).max() < 45  # a pixel at the outline
    assert np.median(uprights.astype(float).std(axis=0)) < 2
    assert (alignment.template[16, 8:58] < 100).all() and (alignment.template[[0, -1]] > 200).all()
    head = (alignment.template < 140).sum(axis=0)
    assert head[:32].max() > 2 * head[32:].max()  # all the same way round


def test_a_part_that_is_the_heavier_at_its_other_end_is_turned_as_the_others(alignment):
    flag = part(0)
    cv2.rectangle(flag, (118, 75), (138, 105), 60, -1)  # dirt at the tip outweighs the head
    assert aligning.find(flag).along[0] < 0  # by its moments it would lie the other way round
    assert alignment.matrix(flag)[0, 0] > 0


def test_masks_go_along_and_a_thin_one_is_not_lost(alignment):
    picture = part(40)
    matrix = alignment.matrix(picture)
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[picture[..., 0] < 140] = 1
    upright = alignment.region(mask, matrix)
    assert set(np.unique(upright)) == {0, 1}
    darker = alignment.upright(picture, matrix)[..., 0] < 140
    assert (upright > 0).mean() == pytest.approx(darker.mean(), rel=0.1) and (darker & (upright > 0)).sum() > 0.9 * darker.sum()
    point = np.zeros_like(mask)
    point[90, 100] = 1
    small = aligning.Alignment((16, 32), 0.3, np.zeros((16, 32), np.uint8))
    narrow = small.region(point, aligning._matrix(aligning.find(picture), 1, small.size, small.scale))
    assert 1 <= narrow.sum() <= 9 and not small.region(np.zeros_like(mask), matrix).any()


@pytest.mark.parametrize("shape", [(32, 64), (64, 64)])  # of the map: the canvas, and one that is stretched
def test_a_map_goes_back_to_where_the_file_has_the_part(alignment, shape):
    picture = part(130, 110, 80)
    matrix = alignment.matrix(picture)
    upright = (alignment.upright(picture, matrix)[..., 0] < 140).astype(np.float32)
    amap = cv2.resize(upright, shape[::-1], interpolation=cv2.INTER_LINEAR)
    back = alignment.back(amap, matrix, picture.shape[:2])
    assert back.min() >= 0 and back.max() <= 1
    whole = cv2.resize(back, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    true = picture[..., 0] < 140
    assert (whole & true).sum() / (whole | true).sum() > 0.8
    rows, columns = np.nonzero(whole)
    true_rows, true_columns = np.nonzero(true)
    assert rows.mean() == pytest.approx(true_rows.mean(), abs=1) and columns.mean() == pytest.approx(true_columns.mean(), abs=1)


def test_the_region_has_no_holes(alignment):
    uprights = [alignment.upright(one, alignment.matrix(one)) for one in PICTURES]
    for one in uprights:
        one[15:17, 30:40] = 220  # shines like the ground
    region = aligning.covered(uprights)
    assert region[16, 8:58].all() and not region[[0, -1]].any() and 0.1 < region.mean() < 0.4
    assert aligning.covered([np.full((32, 64, 1), 9, np.uint8)]) is None


def test_written_and_read(alignment, tmp_path):
    path = str(tmp_path / "align.json")
    aligning.write(path, alignment)
    found = aligning.read(path)
    assert found[:2] == alignment[:2] and np.array_equal(found.template, alignment.template)
    content = json.loads((tmp_path / "align.json").read_text())
    for key, value in [("size", [32]), ("size", [32, 65]), ("scale", -1), ("scale", "x"), ("template", "AAAA"), ("template", "%")]:
        (tmp_path / "bad.json").write_text(json.dumps(dict(content, **{key: value})))
        with pytest.raises(InputError, match="bad.json: damaged"):
            aligning.read(str(tmp_path / "bad.json"))
    with pytest.raises(InputError, match="none.json: no such file"):
        aligning.read(str(tmp_path / "none.json"))


def test_what_cannot_be_turned_is_said():
    with pytest.raises(InputError, match="in 9 of 10 pictures no part longer than wide lies on plain ground"):
        aligning.learn([part(0)] + 9 * [np.full((60, 60, 1), 80, np.uint8)], lambda picture: picture, 64)


def test_a_part_that_the_rim_cuts_is_not_taken_for_a_whole_one(alignment):
    whole = part(0, 100, 90)
    assert alignment.matrix(whole) is not None and alignment.matrix(whole[:, :130]) is not None  # 70 of its 80 pixels
    assert alignment.matrix(whole[:, :105]) is None  # 45 of them
