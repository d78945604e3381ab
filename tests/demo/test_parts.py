"""The set of loose parts: its layout, that the part lies in the picture, and what each defect does to it."""
import os
import zlib

import cv2
import numpy as np
import pytest

from grdnet_tf.cli import demo
from grdnet_tf.data.records import list_mvtec
from grdnet_tf.demo import dataset, parts

SIZE = (128, 128)
LEVEL = parts.Pin(np.zeros(2), 0.0, 0.0, 1.0, 0.4, 0.8, np.zeros(2), np.zeros((0, 4)), np.zeros((0, 5)), 0.0)


def drawn(pin, fault=None, size=SIZE):
    return parts.draw(pin, size, fault, np.random.default_rng(0))[..., 0].astype(int)


def column(u):
    """The column of a pin that lies level in the middle of a picture of 128 x 128."""
    return int(u + 64 - parts.LENGTH / 2)


def test_layout_on_disk_and_nothing_of_a_region(tmp_path, capsys):
    root = dataset.write_demo(str(tmp_path / "a"), train=2, test_good=1, per_defect=1, size=(64, 64), which="parts")
    found = sorted(os.path.relpath(os.path.join(folder, name), root)
                   for folder, _, names in os.walk(root) for name in names)
    assert found == sorted(["demo.json", "train/good/000.png", "train/good/001.png", "test/good/000.png",
                            *(f"test/{kind}/000.png" for kind in parts.KINDS),
                            *(f"ground_truth/{kind}/000_mask.png" for kind in parts.KINDS)])
    assert {record.defect for record in list_mvtec(root, "test")} == {"good", *parts.KINDS}
    changed = os.stat(root).st_mtime_ns
    dataset.write_demo(root, train=2, test_good=1, per_defect=1, size=(64, 64), which="parts")
    assert os.stat(root).st_mtime_ns == changed  # a complete set is left as it is
    with pytest.raises(SystemExit):
        demo.main([str(tmp_path / "b"), "--set", "screws"])
    assert "screws" in capsys.readouterr().err


def test_a_picture_depends_on_seed_folder_and_index_only():
    one = dataset.draw_part(3, "train/good", 1, (64, 64))
    assert np.array_equal(one.image, dataset.draw_part(3, "train/good", 1, (64, 64)).image)
    for other in ((4, "train/good", 1), (3, "test/good", 1), (3, "train/good", 2)):
        assert not np.array_equal(one.image, dataset.draw_part(*other, (64, 64)).image)


@pytest.mark.parametrize("size", [(128, 128), (96, 144)])
def test_a_part_lies_in_any_direction_and_wholly_in_the_picture(size):
    rng, angles = np.random.default_rng(0), []
    for _ in range(200):
        pin = parts.sample_pin(rng, size)
        angles.append(pin.angle)
        axis, half = np.array([np.cos(pin.angle), np.sin(pin.angle)]), np.array([64 * size[1] / size[0], 64])
        across = np.array([-axis[1], axis[0]])
        corners = [pin.centre + s * axis * parts.LENGTH / 2 + t * across * parts.HEAD_RADIUS
                   for s in (-1, 1) for t in (-1, 1)]
        assert (np.abs(corners) < half).all()
    assert np.histogram(angles, 8, (0, 2 * np.pi))[0].min() >= 12  # 25 expected in each


@pytest.mark.parametrize("kind", parts.KINDS)
def test_a_mask_is_where_the_part_has_changed_and_not_the_dust(kind):
    for index in range(2):
        marked = dataset.draw_part(5, f"test/{kind}", index, SIZE)
        rng = np.random.default_rng([5, zlib.crc32(f"parts/test/{kind}".encode()), index])
        pin = parts.sample_pin(rng, SIZE)
        good = parts.draw(pin, SIZE, None, np.random.default_rng(int(rng.integers(2 ** 31))))
        change = cv2.absdiff(good, marked.image).max(-1)
        assert change[~marked.mask].max() < dataset.CHANGED and np.median(change[marked.mask]) >= dataset.CHANGED
        assert 0 < marked.mask.mean() < 0.12 and marked.roi is None


def test_a_cut_shows_the_ground_and_a_bite_takes_one_side():
    whole = drawn(LEVEL)
    axis, ground = whole[62:66], whole[20, 20]
    assert abs(axis[:, column(20)].mean() - ground) > 40  # metal
    cut = drawn(LEVEL, parts.Fault("cut", 20.0, 4.0, 0.0))
    assert abs(cut[62:66, column(20)].mean() - ground) < 0.35 * ground  # ground, in the part's shadow
    assert np.abs(cut - whole)[:, :column(14)].max() < dataset.CHANGED  # but for its shadow
    bite = drawn(LEVEL, parts.Fault("missing", 24.0, 3.5, 1.0))
    gone = np.abs(bite - whole)[:, column(24)]
    assert gone[66:70].max() > 40 and gone[58:62].max() < 25  # y grows with v


def test_the_end_of_a_bent_pin_leaves_the_axis_and_its_head_does_not():
    for way in (-1.0, 1.0):
        bent = drawn(LEVEL, parts.Fault("bent", 60.0, 0.3, way))
        assert (bent[:, :column(50)] == drawn(LEVEL)[:, :column(50)]).all()
        dark = (bent < 150)[:, column(84)].nonzero()[0].mean() - 63.5
        assert way * dark > 3  # 0.3 rad over 24 pixels


def test_a_worn_thread_has_no_ridges_and_a_scratch_is_a_bright_line():
    whole, worn = drawn(LEVEL), drawn(LEVEL, parts.Fault("worn", 54.0, 14.0, 1.0))
    stretch, beside = slice(column(50), column(58)), slice(column(66), column(74))
    outline = [(picture < 150).sum(0) for picture in (whole, worn)]  # pixels of the part, by column
    assert np.ptp(outline[0][stretch]) >= 1 > np.ptp(outline[1][stretch])
    assert np.abs(worn - whole)[:, beside].max() < dataset.CHANGED
    scratch = drawn(LEVEL, parts.Fault("scratch", 24.0, 10.0, 0.5)) - whole
    assert scratch.min() >= 0 and scratch.max() > 40 and np.count_nonzero(scratch > 10) < 40
