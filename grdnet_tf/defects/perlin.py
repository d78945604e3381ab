"""Perlin noise on a lattice, and the uniform numbers it is drawn from: the same bits on every device and in XLA."""
import numpy as np
import tensorflow as tf


def uniform(seed, count):
    """`count` numbers in [0, 1), multiples of 2^-24."""
    # From integers by hand: XLA makes floats of the upper bits, TensorFlow's own kernels of the lower ones, so
    # stateless_uniform(dtype=float32) disagrees between them even with the same algorithm (TF 2.15 and 2.21).
    bits = tf.random.stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")
    return tf.cast(tf.bitwise.bitwise_and(bits, 2**24 - 1), tf.float32) * 2.0**-24


def cells(scales, u):
    """Lattice cells 2^k along one axis, k uniform on the whole numbers of `scales`: (B,) float32, exact."""
    powers = [2.0**k for k in range(scales[0], scales[1] + 1)]
    return tf.gather(tf.constant(powers), tf.cast(u * float(len(powers)), tf.int32))


def perlin_noise(lattice, cells_y, cells_x, height, width):
    """Gradient noise (Perlin 1985, fade of 2002): (B, height, width) in [-1, 1], 0 at the nodes of the lattice.

    lattice (B, n, n): the direction of the gradient of each node as a share of a full turn; cells_y, cells_x (B,), at
    most n - 1. The noise at (y, x) is the sum over nodes (a, b) of w(y, a) w(x, b) (g(a, b) . d), with d the offset
    from the node and w = fade(1 - |d|) within one cell. As w and each part of d depend on one axis only, it is

        noise = W_y G_x (W_x d_x)^T + (W_y d_y) G_y W_x^T

    two batched matrix products without a gather. Scaled by sqrt(2): unit gradients alone reach 1/sqrt(2).
    """
    angle = 2.0 * np.pi * lattice
    weight_y, offset_y = _axis_weights(cells_y, lattice.shape[1], height)  # (B, H, n)
    weight_x, offset_x = _axis_weights(cells_x, lattice.shape[2], width)  # (B, W, n)
    gradients = tf.stack([tf.cos(angle), tf.sin(angle)], 1)  # (B, 2, n, n): along x, along y
    columns = tf.stack([weight_x * offset_x, weight_x], 1)  # (B, 2, W, n)
    rows = tf.concat([weight_y, weight_y * offset_y], 2)  # (B, H, 2n)
    # A GPU multiplies float32 in TF32, whose 10 bits would move the masks against those of a CPU. float64 is exact
    # everywhere, and the products are small: 10 MFLOP for 256 x 256.
    precision = tf.float64 if tf.config.list_physical_devices("GPU") else tf.float32
    gradients, columns, rows = (tf.cast(t, precision) for t in (gradients, columns, rows))
    inner = tf.matmul(gradients, columns, transpose_b=True)  # (B, 2, n, W)
    inner = tf.reshape(inner, (-1, 2 * lattice.shape[1], width))
    return tf.cast(np.sqrt(2.0) * tf.matmul(rows, inner), tf.float32)


def _axis_weights(cells_, nodes, side):
    """Fade weight and offset of every pixel to every node of one axis: twice (B, side, nodes)."""
    # y * cells / side - node, with the division last: whole numbers up to there, so exact at the nodes and in XLA too.
    at = tf.range(side, dtype=tf.float32)[None, :, None] * cells_[:, None, None]
    offset = (at - tf.range(nodes, dtype=tf.float32) * side) / side
    near = tf.maximum(0.0, 1.0 - tf.abs(offset))
    return near * near * near * (near * (6.0 * near - 15.0) + 10.0), offset
