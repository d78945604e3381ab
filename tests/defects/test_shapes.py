"""The outlines: where they may lie, how large they are, and that the noise is turned pixel by pixel."""
import cv2
import numpy as np
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
