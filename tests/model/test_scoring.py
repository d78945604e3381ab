"""The image score: a known mean, and the region of interest."""
import numpy as np

from grdnet_tf.model.scoring import anomaly_score, residual


def test_score_is_the_mean_of_the_window_a_defect_fills():
    maps = np.zeros((2, 64, 64, 1), np.float32)
    maps[0, 20:27, 30:37] = 0.9  # 49 pixels of 0.9 fit in one window: 49 * 0.9 / 441 = 0.1
    maps[1, 0, 0] = 1.0          # a corner's windows hold 11 x 11 = 121 real pixels at least: 1 / 121
    np.testing.assert_allclose(anomaly_score(maps), [0.1, 1 / 121], rtol=1e-5)


def test_roi_silences_what_lies_outside():
    maps = np.zeros((1, 64, 64, 1), np.float32)
    maps[0, 5:12, 5:12] = 1.0
    roi = np.zeros_like(maps)
    roi[0, 32:] = 1.0
    assert anomaly_score(maps, roi=roi).numpy() == 0.0


def test_roi_of_ones_is_no_roi_bit_for_bit():
    maps = np.random.default_rng(2).random((3, 50, 50, 1), dtype=np.float32)
    np.testing.assert_array_equal(anomaly_score(maps), anomaly_score(maps, roi=np.ones_like(maps)))


def test_residual_is_the_mean_difference_of_the_channels():
    images, redrawn = np.zeros((2, 1, 2, 3), np.float32), np.zeros((2, 1, 2, 3), np.float32)
    images[0, 0, 0], redrawn[0, 0, 0] = (0.9, 0.5, 0.1), (0.6, 0.5, 0.4)  # 0.3, 0, 0.3
    redrawn[1, 0, 1] = 0.6
    np.testing.assert_allclose(residual(images, redrawn), [[[[0.2], [0.0]]], [[[0.0], [0.6]]]], atol=1e-7)
