"""From an anomaly map to one score an image: the maximum of its local average (GRD-Net, section 3: eta)."""
import tensorflow as tf

from ..ops import pooled


def anomaly_score(anomaly_map, pool=21, roi=None):
    """eta = max over the image of the pooled anomaly map, higher is more anomalous.

    Args:
      anomaly_map: (B, H, W, 1) in [0, 1].
      pool: side of the average pool.
      roi: (B, H, W, 1) in {0, 1}: the map counts as 0 outside it. All ones gives bit for bit what None gives.

    Returns: (B,) float32 in [0, 1].
    """
    anomaly_map = tf.cast(anomaly_map, tf.float32)
    if roi is not None:
        anomaly_map *= tf.cast(roi, tf.float32)
    return tf.reduce_max(pooled(anomaly_map, pool), axis=[1, 2, 3])


def residual(images, reconstruction):
    """The map of a method that has no segmenter: |X - X^|, the mean over channels, (B, H, W, 1) in [0, 1]."""
    return tf.reduce_mean(tf.abs(images - reconstruction), axis=-1, keepdims=True)
