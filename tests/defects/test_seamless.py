"""Pieces that meet their surroundings without a step, and parts of the picture drawn aside."""
import numpy as np
import pytest
import tensorflow as tf
from noise import ALWAYS, pictures, seeds

from grdnet_tf.defects.perturb import perturb
from grdnet_tf.defects.seamless import seamless


def disc(height=48, width=64, radius=12):
    y, x = np.mgrid[:height, :width]
    return np.float32(np.hypot(y - height // 2, x - width // 2) < radius)[None, ..., None]


def membrane(source, image, mask):
    """What is added to the source within the mask."""
    return (seamless(tf.constant(source), tf.constant(image), tf.constant(mask)) - source).numpy()[mask > 0]


def test_a_piece_of_another_brightness_takes_on_that_of_its_surroundings():
    image = np.full((1, 48, 64, 1), 0.3, np.float32)
    np.testing.assert_allclose(membrane(np.full_like(image, 0.8), image, disc()), -0.5, atol=1e-5)


def test_it_keeps_its_own_structure():
    image = np.full((1, 48, 64, 1), 0.5, np.float32)
    stripes = 0.5 + 0.2 * np.float32(np.arange(64) // 2 % 2 - 0.5)[None, None, :, None] + np.zeros_like(image)
    found = membrane(stripes, image, disc())
    assert np.abs(found).mean() < 0.05 and found.std() < 0.03  # stripes that differ by 0.1 everywhere


def test_the_difference_is_carried_inward_as_a_membrane():
    """Of a flat piece in a ramp: the harmonic membrane is the ramp itself."""
    ramp = np.zeros((1, 48, 64, 1), np.float32) + np.float32(np.arange(64) / 64)[:, None]
    found, wanted = membrane(np.full_like(ramp, 0.5), ramp, disc()), (ramp - 0.5)[disc() > 0]
    assert np.corrcoef(found, wanted)[0, 1] > 0.95 and np.abs(found - wanted).max() < 0.1  # the ramp spans 0.37 there


@pytest.mark.parametrize("height, width", [(37, 50), (8, 8), (1, 9)])
def test_where_there_is_nothing_around_the_piece_stays_as_it_is(height, width):
    source = np.random.default_rng(0).random((2, height, width, 3), np.float32)
    all_of_it = np.ones((2, height, width, 1), np.float32)
    found = seamless(tf.constant(source), tf.zeros_like(source), tf.constant(all_of_it))
    np.testing.assert_allclose(found, source, atol=1e-6)


def test_pasted_defects_have_no_edge():
    """The step from the rim of the mask to its surroundings, beyond the picture's own."""
    grain = np.random.default_rng(0).normal(0.0, 0.03, (16, 64, 64, 1))
    image = np.float32(0.5 + 0.3 * np.sin(np.mgrid[:64, :64][0] / 9.0)[None, ..., None] + grain)
    settings = ALWAYS.replace(sources={"cut_paste": 1.0}, opacity=(1.0, 1.0))

    def steps(share):
        noisy, mask = (value.numpy() for value in perturb(image, None, seeds(16), settings.replace(seamless=share)))
        rim = np.abs(np.diff(mask, axis=2)) > 0
        assert rim.sum() > 100
        return np.abs(np.diff(noisy, axis=2))[rim].mean()

    assert steps(1.0) < 0.5 * steps(0.0)
    assert steps(1.0) < steps(0.5) < steps(0.0)


def test_a_warp_moves_what_is_broad_and_shows_no_ghost():
    """A line of dark pixels is drawn aside: as dark as before, elsewhere; outside of the mask all is as it was."""
    image = np.full((24, 64, 64, 1), 0.8, np.float32)
    image[:, :, 30:34] = 0.2
    settings = ALWAYS.replace(sources={"warp": 1.0}, shapes={"spot": 1.0}, threshold=(0.2, 0.2), opacity=(0.1, 0.1))
    noisy, mask = (value.numpy() for value in perturb(image, None, seeds(24), settings))
    np.testing.assert_array_equal(noisy[mask[..., 0] == 0], image[mask[..., 0] == 0])
    moved = mask.sum((1, 2, 3)) > 40
    assert moved.sum() >= 8
    darkest = noisy[moved].min(2)  # (n, 64, 1) of each row: what is moved is not mixed with what was there
    assert np.quantile(darkest, 0.9) < 0.45
    assert np.abs(noisy - image)[moved].max() > 0.5
    again = perturb(image, None, seeds(24), settings.replace(contrast=2.0))  # what stands out is asked of others
    np.testing.assert_array_equal(again.mask, mask)


def test_a_seamless_sample_does_not_depend_on_its_companions():
    settings = ALWAYS.replace(sources={"cut_paste": 1.0, "warp": 1.0}, seamless=0.7, defects=2)
    image, seed = pictures(), seeds(6)
    together, some = perturb(image, None, seed, settings), perturb(image[[4, 1]], None, seed[[4, 1]], settings)
    np.testing.assert_allclose(some.noisy, together.noisy.numpy()[[4, 1]], atol=1e-6)
