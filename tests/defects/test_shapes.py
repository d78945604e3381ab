"""The outlines: where they may lie, how large they are, and that the noise is turned pixel by pixel."""
import cv2
import numpy as np
import pytest
import tensorflow as tf
from noise import ALWAYS, perturb, pictures, seeds

from grdnet_tf.defects import shapes
from grdnet_tf.options import SHAPES


def test_each_shape_of_the_options_is_drawn_as_no_other_is():
    drawn = {name: perturb(pictures(), None, seeds(6), ALWAYS.replace(shapes={name: 1.0})).mask.numpy()
             for name in SHAPES}
    assert all(mask.any() for mask in drawn.values())
    assert len({mask.tobytes() for mask in drawn.values()}) == len(SHAPES)  # one that nobody draws is another's


def test_turning_by_a_right_angle_and_back():
    noise = tf.constant(np.random.default_rng(0).random((2, 9, 9), dtype=np.float32))
    turned = shapes.turn(noise, tf.constant([np.pi / 2, 0.0], tf.float32))
    np.testing.assert_array_equal(turned[1], noise[1])
    np.testing.assert_array_equal(turned[0], np.rot90(noise[0], k=-1))


def test_places_in_the_roi_are_equally_likely():
    roi = np.zeros((1, 6, 5, 1), np.float32)
    roi[0, 1, 2], roi[0, 4, 1:4] = 1.0, 1.0  # four pixels
    u, v = np.random.default_rng(0).random((2, 1, 4000), dtype=np.float32)
    y, x = shapes.places(u, v, roi, 6, 5)
    found, counts = np.unique(np.stack([y[0], x[0]], 1), axis=0, return_counts=True)
    np.testing.assert_array_equal(found, [[1, 2], [4, 1], [4, 2], [4, 3]])
    np.testing.assert_allclose(counts, 1000, atol=140)  # 5 standard deviations


def test_spots_are_few_and_small():
    image = np.full((40, 256, 256, 1), 0.5, np.float32)
    _, mask = perturb(image, None, seeds(40), ALWAYS.replace(shapes={"spot": 1.0}))
    counts = []
    for one in mask.numpy()[..., 0].astype(np.uint8):
        number, _, boxes, _ = cv2.connectedComponentsWithStats(one)
        counts.append(number - 1)
        assert boxes[1:, 2:4].max(initial=0) <= 2 * 1.6 * 256 / 24 + 1
    assert set(counts) >= {1, 2, 3, 4}


def test_cut_paste_is_cut_straight():
    # On a picture of one tone the mask is a whole rectangle, so it fills the smallest turned rectangle around it.
    image = np.full((24, 96, 96, 1), 0.5, np.float32)
    _, mask = perturb(image, None, seeds(24), ALWAYS.replace(sources={"cut_paste": 1.0}, min_area=80))
    filled = []
    for one in mask.numpy()[..., 0]:
        points = cv2.findNonZero(one.astype(np.uint8))
        if points is not None and points.min() > 0 and points.max() < 95:  # not cut by the border
            (_, (w, h), _) = cv2.minAreaRect(points)
            filled.append(one.sum() / ((w + 1) * (h + 1)))
    assert len(filled) > 5 and min(filled) > 0.7


# Each outline by hand, on 64 x 96 pixels: the shorter side is 64. -----------------------------------------------------

Y, X = np.mgrid[:64, :96].astype(np.float32)
RAMP = (0.01 * X)[None]  # noise whose contours are columns


def uniforms(**at):
    """(1, 16): `at` names the places, all others 0.5."""
    v = np.full((1, 16), 0.5, np.float32)
    for name, value in at.items():
        v[0, int(name[1:])] = value
    return v


@pytest.mark.parametrize("thick, far, pixels, reach", [(0.0, 0.0, 1.5, 3.2), (0.999, 0.999, 2.5, 25.6),
                                                       (0.3, 0.5, 1.8, 9.051)])
def test_a_line_is_a_contour_of_the_noise_within_a_disc(thick, far, pixels, reach):
    """1.5 pixels thick, up to 1/64 of the side more; the disc's radius 0.05 to 0.4 of the side, in equal ratios."""
    drawn = shapes.line(RAMP, uniforms(v2=thick, v3=far), None)  # around row 32, column 48
    expected = (np.abs(X - 48) < pixels / 2) & (np.hypot(Y - 32, X - 48) < reach - 0.01)
    np.testing.assert_array_equal(drawn[0], expected)
    turned = shapes.line(np.float32(0.01 * Y)[None], uniforms(v2=thick, v3=far), None)
    np.testing.assert_array_equal(turned[0], (np.abs(Y - 32) < pixels / 2) & (np.hypot(Y - 32, X - 48) < reach - 0.01))


@pytest.mark.parametrize("count, spots", [(0.0, 1), (0.3, 2), (0.5, 3), (0.99, 4)])
@pytest.mark.parametrize("size, radius", [(0.0, 1.5), (0.99999, 64 / 24), (0.5, 2.0)])
def test_spots_are_discs_of_their_number_and_size(count, spots, size, radius):
    """Radii from 1.5 pixels to 1/24 of the side, in equal ratios: 2 is the middle of 1.5 and 2.667."""
    places = dict(zip(("v1", "v2", "v3", "v4"), (0.2, 0.4, 0.6, 0.8)))
    v = uniforms(v0=count, **places, v9=size, v10=size, v11=size, v12=size)
    for noise, dent in ((0.0, 1.0), (0.5, 1.3)):  # 0.6 of the noise more
        drawn = shapes.spots(np.full((1, 64, 96), noise, np.float32), v, None)
        rows = [int(64 * place) for place in list(places.values())[:spots]]
        expected = np.any([np.hypot(Y - row, X - 48) < radius * dent - 1e-4 for row in rows], axis=0)
        np.testing.assert_array_equal(drawn[0], expected)


@pytest.mark.parametrize("long, wide, length, breadth", [(0.0, 0.0, 3.2, 2.0), (0.99999, 0.99999, 25.6, 16.0),
                                                         (0.5, 0.5, 9.051, 3.2)])
def test_a_rectangle_has_its_sides_and_its_angle(long, wide, length, breadth):
    """0.05 to 0.4 of the side long, 0.01 to 0.25 wide, in equal ratios, and 2 pixels at least."""
    half = 0.5 * length - 1e-3, 0.5 * breadth - 1e-3
    for turn in (0.0, 0.25, 0.45):
        drawn = shapes.rectangle(uniforms(v2=long, v3=wide, v4=turn), None, 64, 96)
        y, x, angle = Y - 32, X - 48, np.pi * turn
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        np.testing.assert_array_equal(drawn[0], (np.abs(along) < half[0]) & (np.abs(across) < half[1]), str(turn))


def test_places_without_a_roi_and_in_an_empty_one():
    u, v = np.float32([[0.0, 0.5, 0.9999]]), np.float32([[0.9999, 0.25, 0.0]])
    for found, expected in zip(shapes.places(u, v, None, 64, 96), ([0, 32, 63], [95, 24, 0])):
        np.testing.assert_array_equal(found[0], expected)
    for found, last in zip(shapes.places(u, v, np.zeros((1, 64, 96, 1), np.float32), 64, 96), (63, 95)):
        np.testing.assert_array_equal(found[0], [last] * 3)
