"""The image score: pooling against SciPy, the ROI, and the shapes it must take."""
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import uniform_filter

from grdnet_tf.model.scoring import anomaly_score, pooled


def reference(maps, pool):
    """Mean of the pixels that exist: a zero-padded mean divided by the zero-padded mean of ones."""
    maps = maps.astype(np.float64)
    size = (1, pool, pool, 1)
    return uniform_filter(maps, size, mode="constant") / uniform_filter(np.ones_like(maps), size, mode="constant")


@pytest.mark.parametrize("height,width,pool", [(40, 33, 21), (30, 30, 1), (5, 7, 21), (16, 16, 3), (1, 9, 5)])
def test_pooled_equals_scipy(height, width, pool):
    maps = np.random.default_rng(0).random((2, height, width, 1), dtype=np.float32)
    np.testing.assert_allclose(pooled(maps, pool), reference(maps, pool), atol=5e-7)


@pytest.mark.parametrize("pool", [2, 4, 21])
def test_pooled_equals_the_plain_op(pool):  # even windows too: they reach one further right and down
    maps = np.random.default_rng(0).random((2, 24, 31, 1), dtype=np.float32)
    np.testing.assert_allclose(pooled(maps, pool), tf.nn.avg_pool2d(maps, pool, 1, "SAME"), atol=5e-7)


@pytest.mark.parametrize("jit", [False, True])
def test_any_size_in_one_graph(jit):
    graph = tf.function(pooled, jit_compile=jit, input_signature=[tf.TensorSpec((None, None, None, 1))])
    for height, width in ((12, 40), (33, 9)):
        maps = np.random.default_rng(1).random((2, height, width, 1), dtype=np.float32)
        np.testing.assert_allclose(graph(tf.constant(maps)), pooled(maps), atol=5e-7)


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


def test_half_precision_maps_are_pooled_in_float32():
    maps = np.random.default_rng(3).random((1, 40, 40, 1)).astype(np.float16)
    result = pooled(maps)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, reference(maps, 21), atol=5e-7)


def test_a_pool_below_one_is_refused():
    with pytest.raises(ValueError, match="pool"):
        pooled(np.zeros((1, 4, 4, 1), np.float32), 0)
