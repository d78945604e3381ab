"""Small functions of tensors that several folders use: enlargement, local averages, shapes."""
import numpy as np
import tensorflow as tf


def summed(*parts):
    """The sum of scalars, always in the same order.

    TensorFlow makes one AddN of a chain of additions, which begins with whichever of its inputs nobody else needs any
    more: a race, where the parts are logged too. The last bit of a loss then differs from run to run.
    """
    return tf.reduce_sum(tf.stack(parts))


def double(x):
    """Nearest-neighbour enlargement by 2, (B, H, W, C) -> (B, 2H, 2W, C), by reshape.

    Keras' UpSampling2D has no XLA gradient on Keras 2, `tf.repeat` costs a gather, and TensorRT knows no BroadcastTo.
    """
    b, h, w, c = sides(x)
    x = tf.tile(tf.reshape(x, (b, h, 1, w, 1, c)), (1, 1, 2, 1, 2, 1))
    return tf.reshape(x, (b, 2 * h, 2 * w, c))


def sides(x):
    """The shape of x, Python numbers where they are known: a graph of fixed size then holds no shape arithmetic."""
    dynamic = tf.shape(x) if None in x.shape.as_list() else None
    return [dynamic[i] if known is None else known for i, known in enumerate(x.shape.as_list())]


def blurred(x):
    """(B, H, W, C) under the smallest binomial window, (1 2 1) / 4 along each axis."""
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    rows = 0.25 * (padded[:, :-2] + padded[:, 2:]) + 0.5 * padded[:, 1:-1]
    return 0.25 * (rows[:, :, :-2] + rows[:, :, 2:]) + 0.5 * rows[:, :, 1:-1]


def planes(x):
    """(B, H, W, C) -> (B, C, H, W) float32: the layout in which a blur is two plain matrix products."""
    return tf.transpose(tf.cast(x, tf.float32), (0, 3, 1, 2))


def local_mean(maps, side):
    """`pooled` of maps (B, C, H, W), H and W fixed, by two matrix products: faster on small ones of many channels."""
    if tf.config.list_physical_devices("GPU"):  # multiplies in TF32, whose 10 bits drown a variance
        return tf.reshape(pooled(tf.reshape(maps, (-1, *maps.shape[2:], 1)), side), tf.shape(maps))
    columns, rows = (tf.constant(_window(length, side)) for length in (maps.shape[3], maps.shape[2]))
    found = tf.matmul(tf.reshape(maps, (-1, maps.shape[3])), columns, transpose_b=True)
    found = tf.matmul(rows, tf.reshape(found, (-1, maps.shape[2], maps.shape[3])))
    return tf.reshape(found, tf.shape(maps))


def _window(length, side):
    """(length, length): row i holds the mean over what exists of the `side` places around i."""
    index = np.arange(length)
    offset = index - index[:, None]
    inside = (offset >= -((side - 1) // 2)) & (offset <= side - 1 - (side - 1) // 2)
    return np.float32(inside / inside.sum(1, keepdims=True))


def pooled(anomaly_map, pool=21):
    """Average of each pixel's pool x pool neighbourhood; at the border, of the pixels that exist.

    The same as ``tf.nn.avg_pool2d(anomaly_map, pool, 1, "SAME")``. Here a window is summed from windows of 1, 2, 4, ...
    pixels, rows first and columns after: 2 log2(pool) additions a pixel where the plain op does pool^2. Measured on 2
    CPU cores, float32, 21 x 21: 4 maps of 512 x 512 take 44 ms instead of 3,300 ms; and XLA, which folds the plain op's
    divisor at compile time, needs seconds instead of minutes for it.

    Args:
      anomaly_map: (B, H, W, 1), any H and W, smaller than the pool too.
      pool: side of the window, 1 or more.

    Returns: (B, H, W, 1) float32.
    """
    if pool < 1:
        raise ValueError(f"pool must be 1 or more, got {pool}")
    rows = _window_mean(tf.cast(anomaly_map, tf.float32), pool, axis=1)
    return _window_mean(rows, pool, axis=2)  # the border's divisor is (rows that exist) x (columns that exist)


def _window_mean(x, pool, axis):
    """Mean over windows of `pool` values along one axis, of the values inside the picture."""
    size = sides(x)[axis]
    before = (pool - 1) // 2  # as "SAME": an even window reaches one further to the right
    after = pool - 1 - before
    width, taken, total = 1, 0, 0.0
    sums = tf.pad(x, [[before, after] if i == axis else [0, 0] for i in range(4)])  # sums of windows of `width`
    while True:
        if pool & width:  # pool in binary says which widths add up to it
            total += _cut(sums, taken, size, axis)
            taken += width
        if 2 * width > pool:
            break
        length = sides(sums)[axis] - width
        sums = _cut(sums, 0, length, axis) + _cut(sums, width, length, axis)
        width *= 2
    shape = [-1 if i == axis else 1 for i in range(4)]
    if isinstance(size, int):  # a constant of the graph, which TensorRT needs
        index = np.arange(size)
        count = np.minimum(index + after + 1, size) - np.maximum(index - before, 0)
        return total / count.astype(np.float32).reshape(shape)
    index = tf.range(size)
    count = tf.minimum(index + after + 1, size) - tf.maximum(index - before, 0)
    return tf.ensure_shape(total / tf.reshape(tf.cast(count, tf.float32), shape), x.shape)


def _cut(x, start, length, axis):
    """x[start:start + length] along one axis."""
    return x[:, start:start + length] if axis == 1 else x[:, :, start:start + length]
