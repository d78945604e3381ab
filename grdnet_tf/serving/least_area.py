"""`evaluation.regions.counted` in TensorFlow's operations: regions too small to count, in a served graph."""
import tensorflow as tf

from ..ops import sides


def counted(anomaly_map, level, min_area):
    """(N, H, W, 1) with 0 in the regions above `level` of fewer than `min_area` pixels; pixels touch at corners too.

    Each pixel above the level takes the highest number around it until nothing changes: as many steps as a region is
    long. float32 numbers pixels up to 16 million.
    """
    batch, height, width, _ = sides(anomaly_map)
    above = tf.where(anomaly_map > level, 1.0, 0.0)
    numbers = tf.reshape(tf.range(1, height * width + 1, dtype=tf.float32), (1, height, width, 1)) * above

    def spread(numbers, _):
        wider = tf.nn.max_pool2d(numbers, 3, 1, "SAME") * above
        return wider, tf.reduce_max(wider - numbers) > 0.5

    numbers, _ = tf.while_loop(lambda _, more: more, spread, (numbers, tf.constant(True)), shape_invariants=(
        tf.TensorShape((None, *anomaly_map.shape[1:])), tf.TensorShape(())))
    first = tf.reshape(tf.range(batch) * (height * width + 1), (-1, 1, 1, 1))  # the pictures of a batch share no number
    numbers = tf.cast(numbers, tf.int32) + first
    areas = tf.math.unsorted_segment_sum(tf.reshape(above, (-1,)), tf.reshape(numbers, (-1,)),
                                         batch * (height * width + 1))
    small = tf.logical_and(tf.gather(areas, numbers) < min_area, above > 0.5)
    return tf.ensure_shape(tf.where(small, 0.0, anomaly_map), anomaly_map.shape)
