"""The lattice noise against a NumPy reference, by hand, and the same in XLA."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.defects import perlin


def reference(lattice, cells_y, cells_x, height, width):
    """Perlin noise of one sample in float64, by looking up the four corners of each pixel's cell."""
    angle = 2.0 * np.pi * lattice.astype(np.float64)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y * cells_y / height, x * cells_x / width
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    y, x = y - top, x - left

    def corner(down, right):
        turn = angle[top + down, left + right]
        return np.cos(turn) * (x - right) + np.sin(turn) * (y - down)

    def fade(t):
        return ((6.0 * t - 15.0) * t + 10.0) * t**3

    upper = corner(0, 0) + fade(x) * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + fade(x) * (corner(1, 1) - corner(1, 0))
    return np.sqrt(2.0) * (upper + fade(y) * (lower - upper))


@pytest.mark.parametrize("height, width", [(64, 64), (50, 37), (32, 96)])
def test_agrees_with_a_reference(height, width):
    cells = [(1, 1), (32, 1), (2, 16), (8, 8), (32, 32)]
    lattice = np.random.default_rng(0).random((len(cells), 33, 33), dtype=np.float32)
    cells_y, cells_x = np.float32(cells).T
    noise = perlin.perlin_noise(tf.constant(lattice), cells_y, cells_x, height, width).numpy()
    assert noise.shape == (len(cells), height, width) and noise.dtype == np.float32
    for own, one, (cy, cx) in zip(noise, lattice, cells):
        np.testing.assert_allclose(own, reference(one, cy, cx, height, width), atol=2e-6)
    assert np.abs(noise).max() <= 1.0


def test_is_zero_at_the_nodes_and_only_there():
    lattice = np.random.default_rng(0).random((1, 33, 33), dtype=np.float32)
    noise = perlin.perlin_noise(tf.constant(lattice), np.float32([4]), np.float32([8]), 32, 48).numpy()[0]
    nodes = np.zeros((32, 48), bool)
    nodes[::8, ::6] = True  # 32 / 4 and 48 / 8 pixels a cell
    assert (noise[nodes] == 0.0).all()
    assert (noise[~nodes] != 0.0).mean() > 0.99


def test_one_gradient_by_hand():
    # One cell of 4 pixels, every gradient along x (angle 0), at row 0: left node pulls x, right node x - 1, with
    # x = 1/4: fade = 6/1024 - 15/256 + 10/64 = 0.103515625 -> 0.25 + fade * (-0.75 - 0.25) = 0.146484375
    noise = perlin.perlin_noise(tf.zeros((1, 2, 2)), np.float32([1]), np.float32([1]), 4, 4).numpy()[0]
    assert noise[0, 1] == pytest.approx(np.sqrt(2.0) * 0.146484375, rel=1e-6)


def test_cells_are_exact_powers_each_equally_likely():
    u = (np.arange(6000, dtype=np.float32) + 0.5) / 6000
    cells, counts = np.unique(perlin.cells((0, 5), u), return_counts=True)
    np.testing.assert_array_equal(cells, [1, 2, 4, 8, 16, 32])
    np.testing.assert_allclose(counts, 1000, atol=1)
    assert perlin.cells((2, 5), np.float32([1.0 - 2.0**-24])).numpy() == 32


def test_noise_agrees_in_xla():
    lattice = tf.constant(np.random.default_rng(0).random((3, 33, 33), dtype=np.float32))
    cells_y, cells_x = tf.constant([1.0, 32.0, 4.0]), tf.constant([32.0, 32.0, 2.0])
    compiled = tf.function(perlin.perlin_noise, jit_compile=True)(lattice, cells_y, cells_x, 48, 50)
    np.testing.assert_allclose(compiled, perlin.perlin_noise(lattice, cells_y, cells_x, 48, 50), atol=1e-6)
