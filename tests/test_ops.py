"""Averages against SciPy in every shape and precision; enlarging copies pixels."""
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import uniform_filter

from grdnet_tf.ops import blurred, double, local_mean, planes, pooled


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


def test_half_precision_maps_are_pooled_in_float32():
    maps = np.random.default_rng(3).random((1, 40, 40, 1)).astype(np.float16)
    result = pooled(maps)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, reference(maps, 21), atol=5e-7)


def test_a_pool_below_one_is_refused():
    with pytest.raises(ValueError, match="pool"):
        pooled(np.zeros((1, 4, 4, 1), np.float32), 0)


def test_enlarging_copies_each_pixel_into_a_square_of_four():
    x = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    np.testing.assert_array_equal(double(tf.constant(x)), x.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize("height, width, side", [(13, 20, 5), (8, 9, 4), (6, 5, 21), (7, 7, 1)])
def test_the_local_mean_of_planes_is_pooled(height, width, side):
    x = np.random.default_rng(0).random((2, height, width, 3), np.float32)
    found = tf.transpose(local_mean(planes(x), side), (0, 2, 3, 1))
    np.testing.assert_allclose(found, pooled(x, side), atol=5e-7)


def test_a_gpu_multiplies_nothing_for_a_local_mean(monkeypatch):
    """Its TF32 has 10 bits: the graph made where there is one holds no matrix product, and gives the same."""
    maps = np.random.default_rng(0).random((2, 3, 13, 20), np.float32)
    expected = local_mean(maps, 5)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["GPU"])
    graph = tf.function(lambda maps: local_mean(maps, 5)).get_concrete_function(tf.constant(maps))
    assert not [op.type for op in graph.graph.get_operations() if "MatMul" in op.type]
    np.testing.assert_allclose(graph(tf.constant(maps)), expected, atol=5e-7)


def test_blurred_by_hand():
    x = np.zeros((1, 4, 4, 1), np.float32)
    x[0, 0, 2] = 16.0  # (1 2 1)^T (1 2 1) of it, the border's pixel once more beyond it: 2 + 1 of the 4
    np.testing.assert_array_equal(blurred(x)[0, ..., 0], [[0, 3, 6, 3], [0, 1, 2, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
