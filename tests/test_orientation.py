"""How far a product may be turned and flipped, measured on drawn pictures whose own freedom is known."""
import cv2
import numpy as np
import pytest

from grdnet_tf.datasets import Record
from grdnet_tf.orientation import Orientation, measure

FREE = Orientation(1.0, True, True)


@pytest.fixture
def product(tmp_path):
    """A function: pictures of a product that lies turned by up to `turn` rad and, if asked for, upside down at times."""
    def draw(turn, upside_down=False, count=24, size=(60, 80)):
        rng = np.random.default_rng(3)
        records = []
        for i in range(count):
            big = np.full((240, 320), 60, np.float32)
            cv2.rectangle(big, (100, 60), (220, 180), 180, -1)
            cv2.rectangle(big, (110, 70), (210, 95), 240, -1)  # its upper edge is light: upside down is another product
            if upside_down and i % 2:
                big = big[::-1].copy()
            angle = np.degrees(rng.uniform(-turn, turn))
            big = cv2.warpAffine(big, cv2.getRotationMatrix2D((159.5, 119.5), angle, 1), (320, 240), borderValue=60)
            picture = cv2.resize(big, size[::-1], interpolation=cv2.INTER_AREA) + rng.normal(0, 3, size)
            path = str(tmp_path / f"{turn}-{upside_down}-{i}.png")
            cv2.imwrite(path, picture)
            records.append(Record(path, None, None, 0, "good"))
        return records
    return draw


@pytest.mark.parametrize("turn", [0.05, 0.1, 0.3])
def test_turns_go_as_far_as_the_product_is_turned(product, turn):
    found = measure(product(turn), (60, 80), FREE)
    assert 0.6 * turn <= found.rotation <= 2.0 * turn
    assert (found.flip_horizontal, found.flip_vertical) == (True, False)


def test_a_product_that_lies_either_way_up_may_be_flipped(product):
    assert measure(product(0.05, upside_down=True), (60, 80), FREE).flip_vertical


def test_a_texture_may_be_turned_and_flipped_at_will(tmp_path):
    rng = np.random.default_rng(0)
    records = []
    for i in range(24):
        cv2.imwrite(str(tmp_path / f"{i}.png"), cv2.GaussianBlur(rng.normal(128, 60, (64, 64)), (0, 0), 3))
        records.append(Record(str(tmp_path / f"{i}.png"), None, None, 0, "good"))
    assert measure(records, (64, 64), FREE) == FREE


def test_nothing_beyond_what_the_configuration_allows(product):
    records = product(0.3)
    assert measure(records, (60, 80), Orientation(0.12, False, True)) == Orientation(0.12, False, False)
    assert measure(records, (60, 80), Orientation(0.0, True, False)) == Orientation(0.0, True, False)


def test_what_was_measured_stays_when_it_is_measured_again(product):
    once = measure(product(0.2), (60, 80), FREE)
    assert measure(product(0.2), (60, 80), once) == once


def test_of_a_few_pictures_nothing_can_be_said(product):
    assert measure(product(0.05, count=7), (60, 80), FREE) == FREE
