"""`evaluation.regions` in TensorFlow's operations: connected regions of a map, in a served graph."""
import tensorflow as tf

from ..ops import sides
from . import least_area

ROWS = 16  # regions that `rows` gives of a picture


def counted(anomaly_map, level, min_area):
    """(N, H, W, 1) with 0 in the regions above `level` of fewer than `min_area` pixels; pixels touch at corners too."""
    if min_area <= least_area.LARGEST:
        return least_area.counted(anomaly_map, level, min_area)
    above, numbers, count = _numbered(anomaly_map, level)
    areas = tf.math.unsorted_segment_sum(tf.reshape(above, (-1,)), tf.reshape(numbers, (-1,)), count)
    small = tf.logical_and(tf.gather(areas, numbers) < min_area, above > 0.5)
    return tf.ensure_shape(tf.where(small, 0.0, anomaly_map), anomaly_map.shape)


def rows(anomaly_map, level, min_area=1):
    """The `ROWS` regions above `level`, of `min_area` pixels or more, with the highest peaks: (N, ROWS, 6) float32.

    Rows of 0 where there are fewer.

    A row: top, left, bottom, right as shares of the picture's height and width, the last two exclusive; the area in
    pixels of the map; the peak. Among equal peaks the one whose last pixel comes last.
    """
    above, numbers, count = _numbered(anomaly_map, level)
    batch, height, width, _ = sides(anomaly_map)
    numbers, inside, each = tf.reshape(numbers, (-1,)), tf.reshape(above, (-1,)) > 0.5, height * width + 1
    y = tf.reshape(tf.ones_like(anomaly_map) * tf.reshape(tf.range(height, dtype=tf.float32), (1, -1, 1, 1)), (-1,))
    x = tf.reshape(tf.ones_like(anomaly_map) * tf.reshape(tf.range(width, dtype=tf.float32), (1, 1, -1, 1)), (-1,))

    def most(values, nothing):
        found = tf.math.unsorted_segment_max(tf.where(inside, values, nothing), numbers, count)
        return tf.reshape(found, (-1, each))[:, :0:-1]  # without number 0, which is what lies below; the last first

    peaks = most(tf.reshape(anomaly_map, (-1,)), 0.0)
    areas = tf.reshape(tf.math.unsorted_segment_sum(tf.reshape(above, (-1,)), numbers, count), (-1, each))[:, :0:-1]
    peaks = tf.where(areas >= min_area, peaks, -1.0)
    far = float(height + width)
    top, left = (-most(-values, -far) for values in (y, x))
    bottom, right = (most(values, -far) + 1.0 for values in (y, x))
    table = tf.stack([top / height, left / width, bottom / height, right / width, areas, peaks], 2)  # (N, H W, 6)
    kept = min(ROWS, height * width)
    best, order = tf.math.top_k(peaks, kept)
    found = tf.gather(table, order, batch_dims=1)
    found = tf.where(best[..., None] >= 0.0, found, 0.0)
    return tf.ensure_shape(tf.pad(found, [[0, 0], [0, ROWS - kept], [0, 0]]), (None, ROWS, 6))


def _numbered(anomaly_map, level):
    """(1 above the level, else 0; int32 number of each pixel's region, shared by no two pictures; how many there may be).

    Each pixel above the level takes the highest number around it until nothing changes: as many steps as a region is
    long. float32 numbers pixels up to 16 million. A picture's pixels below the level have one number of their own.
    """
    batch, height, width, _ = sides(anomaly_map)
    above = tf.where(anomaly_map > level, 1.0, 0.0)
    numbers = tf.reshape(tf.range(1, height * width + 1, dtype=tf.float32), (1, height, width, 1)) * above

    def spread(numbers, _):
        wider = tf.nn.max_pool2d(numbers, 3, 1, "SAME") * above
        return wider, tf.reduce_max(wider - numbers) > 0.5

    numbers, _ = tf.while_loop(lambda _, more: more, spread, (numbers, tf.constant(True)), shape_invariants=(
        tf.TensorShape((None, *anomaly_map.shape[1:])), tf.TensorShape(())))
    first = tf.reshape(tf.range(batch) * (height * width + 1), (-1, 1, 1, 1))
    return above, tf.cast(numbers, tf.int32) + first, batch * (height * width + 1)
