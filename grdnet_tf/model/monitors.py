"""Areas under curves while batches stream by: how well the synthetic defects of a validation are ranked."""
from types import SimpleNamespace

import tensorflow as tf

keras = tf.keras

ROWS = 512            # rows of the histogram: its sums run along rows first, which XLA takes as it is
REACH = 16.0          # logits from -16 to 16; beyond, scores of 1e-7 and less, or as near to 1, share a bin
BINS = ROWS * ROWS    # 1.2e-4 of a logit each: 3e-5 of a score at 0.5, 1e-5 at 0.1


class RankingArea(keras.metrics.Metric):
    """The area under the ROC curve ("roc"), or the average precision ("precision"), of scores in [0, 1].

    Scores are counted in `BINS` of equal width of their logit, by truth; what shares a bin is a tie. That is exact but
    for scores that lie closer than a bin, where Keras' AUC, with 500 thresholds, ties all within 0.002. 0 while
    there are no positive or no negative ones. Over replicas counts are added up.
    """

    def __init__(self, curve, name):
        super().__init__(name=name, dtype="float32")
        self.curve = curve
        # Out of sight of Keras, which would put them into checkpoints and saved models: they outlive no validation.
        self._hidden = SimpleNamespace(counts=tf.Variable(
            tf.zeros((2 * BINS,)), trainable=False, synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM, name=f"{name}_counts"))

    def update_state(self, truth, scores, sample_weight=None):
        """Count `scores` of any shape by their `truth` {0, 1}, each `sample_weight` times (default once)."""
        truth, scores = (tf.reshape(tf.cast(part, tf.float32), [-1]) for part in (truth, scores))
        weight = tf.ones_like(scores) if sample_weight is None else tf.reshape(sample_weight, [-1])
        logit = tf.math.log(scores) - tf.math.log1p(-scores)  # -inf and inf at the ends
        bin_ = tf.cast((tf.clip_by_value(logit, -REACH, REACH) + REACH) * ((BINS - 1) / (2.0 * REACH)), tf.int32)
        index = bin_ + tf.where(truth > 0.5, BINS, 0)
        self._hidden.counts.assign_add(tf.math.unsorted_segment_sum(weight, index, 2 * BINS))

    def result(self):
        counts = tf.cast(tf.reshape(tf.convert_to_tensor(self._hidden.counts), (2, ROWS, ROWS)), tf.float64)
        counts = tf.reverse(counts, [1, 2])  # the highest score first
        good, defective = counts[0], counts[1]
        found, alarms = _running(defective), _running(good)
        positives, negatives = found[-1, -1], alarms[-1, -1]
        if self.curve == "roc":  # of each good one, the defective ones above it; a tie counts half
            area = tf.math.divide_no_nan(tf.reduce_sum(good * (found - 0.5 * defective)), positives * negatives)
        else:
            precision = tf.math.divide_no_nan(found, found + alarms)
            area = tf.math.divide_no_nan(tf.reduce_sum(defective * precision), positives)
            area = tf.where(negatives > 0.0, area, 0.0)
        return tf.cast(area, tf.float32)

    def reset_state(self):
        self._hidden.counts.assign(tf.zeros((2 * BINS,)))


def _running(counts):
    """Sum of (ROWS, ROWS) up to and with each entry, in reading order."""
    within = tf.cumsum(counts, axis=1)
    return within + tf.cumsum(within[:, -1:], axis=0, exclusive=True)
