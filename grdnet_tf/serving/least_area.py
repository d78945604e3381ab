"""`found_regions.counted` in a fixed number of steps, which tf2onnx can convert."""
import tensorflow as tf

from ..ops import sides

LARGEST = 32  # pixels of the least area: more steps than that cost more than a loop


def counted(anomaly_map, level, min_area):
    """(N, H, W, 1) with 0 in the regions above `level` of fewer than `min_area` pixels; pixels touch at corners too.

    Pixels above the level take the highest number around them, `min_area` - 1 times. A smaller region is of one number
    by then, for none of its pixels is further from another; so where neighbours still differ, the region is large
    enough. So is one of a number that `min_area` pixels or more have. Both are told on, as many steps again: of a large
    region, each pixel has `min_area` of its pixels, itself one of them, within so many steps, and among these two that
    differ, or all of one number. float32 numbers pixels up to 16 million.
    """
    batch, height, width, _ = sides(anomaly_map)
    above = tf.where(anomaly_map > level, 1.0, 0.0)

    def spread(values):
        return tf.nn.max_pool2d(values, 3, 1, "SAME") * above

    numbers = tf.reshape(tf.range(1, height * width + 1, dtype=tf.float32), (1, height, width, 1)) * above
    for _ in range(min_area - 1):
        numbers = spread(numbers)
    flat = tf.reshape(numbers, (batch, height * width))
    first = tf.reshape(tf.range(batch) * (height * width + 1), (-1, 1))  # the pictures of a batch share no number
    frequent = tf.gather(_frequent(flat, first, min_area), tf.cast(flat, tf.int32) + first)
    large = tf.maximum(tf.reshape(frequent, (batch, height, width, 1)) * above,
                       tf.where(spread(numbers) - numbers > 0.5, 1.0, 0.0))
    for _ in range(min_area - 1):
        large = spread(large)
    small = tf.logical_and(large < 0.5, above > 0.5)
    return tf.ensure_shape(tf.where(small, 0.0, anomaly_map), anomaly_map.shape)


def _frequent(numbers, first, least):
    """1.0 at first + number for each number that `least` entries of its row of (N, L) have, and at `first` itself.

    Sorted, not counted: a sum of several entries at one place is not safe in every runtime.
    """
    batch, length = sides(numbers)
    ordered = tf.math.top_k(numbers, k=length).values
    end = tf.maximum(length - least + 1, 0)
    starts = ordered[:, :end]
    starts = tf.where(tf.equal(starts, ordered[:, length - end:]), starts, 0.0)  # else the ground's place
    places = tf.reshape(tf.cast(starts, tf.int32) + first, (-1, 1))
    return tf.tensor_scatter_nd_update(tf.zeros(tf.reshape(batch * (length + 1), (1,))), places,
                                       tf.ones_like(places[:, 0], tf.float32))
