"""How far a product may be turned and flipped, measured on drawn pictures whose own freedom is known."""
import cv2
import numpy as np
import pytest

from grdnet_tf.data.orientation import Orientation, measure
from grdnet_tf.data.records import Record

FREE = Orientation(1.0, True, True)


@pytest.fixture
def product(tmp_path):
    """A function: pictures of a product turned by up to `turn` rad, shifted by up to `shift` of the width and, if asked
    for, upside down at times; `mark` draws what tells its sides apart."""
    def draw(turn=0.0, shift=0.0, upside_down=False, count=24, size=(60, 80), mark=bright_edge):
        rng = np.random.default_rng(3)
        records = []
        for i in range(count):
            big = np.full((240, 320, 3), 60, np.float32)
            big[60:180, 100:220] = 180
            mark(big)
            if upside_down and i % 2:
                big = big[::-1].copy()
            motion = cv2.getRotationMatrix2D((159.5, 119.5), np.degrees(rng.uniform(-turn, turn)), 1)
            motion[:, 2] += rng.uniform(-shift, shift, 2) * 320
            big = cv2.warpAffine(big, motion, (320, 240), borderValue=(60, 60, 60))
            picture = cv2.resize(big, size[::-1], interpolation=cv2.INTER_AREA) + rng.normal(0, 3, (*size, 3))
            path = str(tmp_path / f"{len(list(tmp_path.iterdir()))}.png")
            cv2.imwrite(path, np.clip(picture, 0, 255).astype(np.uint8))
            records.append(Record(path, None, None, 0, "good"))
        return records
    return draw


def bright_edge(picture):
    """Upside down it is another product."""
    picture[70:95, 110:210] = 240


def letter(picture):
    """An L instead: every flip is another product, at any angle."""
    picture[60:180, 100:220] = 60
    picture[60:180, 110:150] = picture[140:180, 110:210] = 240


def red_above_green(picture):
    """Of one grey: only the colours tell above from below."""
    picture[60:120, 100:220] = (60, 60, 240)
    picture[120:180, 100:220] = (60, 240, 60)


@pytest.mark.parametrize("turn", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("shift", [0.0, 0.08])
def test_turns_go_as_far_as_the_product_is_turned_wherever_it_lies(product, turn, shift):
    found = measure(product(turn, shift), (60, 80), FREE)
    assert 0.3 * turn <= found.rotation <= 2.0 * turn
    assert (found.flip_horizontal, found.flip_vertical) == (True, False)


@pytest.mark.parametrize("shift", [0.0, 0.08])
def test_a_product_with_a_letter_is_not_mirrored(product, shift):
    found = measure(product(0.05, shift, mark=letter), (60, 80), FREE)
    assert not found.flip_horizontal and not found.flip_vertical


def test_a_letter_at_any_angle_may_be_turned_and_not_mirrored(product):
    found = measure(product(np.pi, mark=letter, count=64), (60, 80), Orientation(np.pi, True, True), "nearest")
    assert found == Orientation(np.pi, False, False)


def test_colours_tell_where_greys_do_not(product):
    assert not measure(product(0.05, mark=red_above_green), (60, 80), FREE).flip_vertical


def test_a_product_that_lies_either_way_up_may_be_flipped(product):
    either, one = (measure(product(0.05, upside_down=way), (60, 80), FREE) for way in (True, False))
    assert either.flip_vertical and not one.flip_vertical


@pytest.mark.parametrize("blur", [3, None])
def test_a_texture_may_be_turned_and_flipped_at_will_and_so_may_blank_pictures(tmp_path, blur):
    rng = np.random.default_rng(0)
    records = []
    for i in range(24):
        picture = cv2.GaussianBlur(rng.normal(128, 60, (64, 64)), (0, 0), blur) if blur else np.full((64, 64), 90)
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture.astype(np.uint8))
        records.append(Record(str(tmp_path / f"{i}.png"), None, None, 0, "good"))
    assert measure(records, (64, 64), FREE) == FREE


def test_nothing_beyond_what_the_configuration_allows(product):
    records = product(0.3)
    assert measure(records, (60, 80), Orientation(0.12, False, True)) == Orientation(0.12, False, False)
    assert measure(records, (60, 80), Orientation(0.0, True, False)) == Orientation(0.0, True, False)


def test_corners_that_augmentation_blackens_are_told_apart(product):
    records = product(0.3)
    assert measure(records, (60, 80), FREE, "constant").rotation < measure(records, (60, 80), FREE, "nearest").rotation


def test_what_was_measured_stays_when_it_is_measured_again(product):
    once = measure(product(0.2), (60, 80), FREE)
    assert once != FREE
    assert measure(product(0.2), (60, 80), once) == once


def test_of_a_few_pictures_nothing_can_be_said(product):
    assert measure(product(0.05, count=7), (60, 80), FREE) == FREE != measure(product(0.05, count=8), (60, 80), FREE)
