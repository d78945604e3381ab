"""GRD-Net and PaDiM judging together: two that err differently, features with colours, a reconstruction with imprints.

    z = logit of the map, less the mean and over the spread of the scores (logits) that held-out good parts have
    fused: the higher z of the two, as PaDiM's map has it: sigmoid(mean + spread z), mean and spread of PaDiM's scores

So each speaks where it sees more than in good parts, measured in how far those differ, and a detector that is unsure of
good parts has to see the more. No sum: the errors of the poorer one would come through everywhere.
"""
import numpy as np
import tensorflow as tf

from ..model import inputs
from ..model.scoring import anomaly_score
from ..model.stepped import Detection

keras = tf.keras

SMALLEST = 1e-6      # of map and 1 - map: the map of a network that is sure is 1 in float32
LEAST_SPREAD = 0.1   # of the logits of few or equal good parts, which have hardly any


class Fused(keras.Model):
    """Detection of images (B, H, W, C) in [0, 1] by a trained `GRDNet` and a fitted `PaDiM` of the same pictures.

    The reconstruction is GRD-Net's, the score the maximum of the fused map's average over `score_pool` pixels, as
    GRD-Net's is. Pictures of `image_size` only: PaDiM knows every place of them.

    Args:
      grdnet: a `GRDNet`.
      padim: a `padim.PaDiM`, of which "scale" was set; its arrays "of_grdnet" and "of_padim" are (mean, spread) of the
        logits of the scores that held-out good parts have, inside the ROI.
    """

    one_size, reconstructs = True, True
    map_note = "the higher of PaDiM's and GRD-Net's, this brought onto that one's scale by held-out good parts"

    def __init__(self, grdnet, padim, name="grdnet_padim"):
        super().__init__(name=name, dtype="float32")
        self.grdnet, self.padim = grdnet, padim
        self.image_size, self.channels, self.score_pool = padim.image_size, grdnet.channels, grdnet.score_pool
        self.total_stride = max(grdnet.total_stride, padim.total_stride)
        self.built = True

    # What `weights.network_arrays` calls the parts.
    generator = property(lambda self: self.grdnet.generator)
    discriminator = property(lambda self: self.grdnet.discriminator)
    segmenter = property(lambda self: self.grdnet.segmenter)
    backbone = property(lambda self: self.padim.backbone)
    fitted = property(lambda self: self.padim.fitted)
    sees_roi = property(lambda self: self.grdnet.sees_roi)

    def call(self, images, roi=None, training=False):
        """Detection. A `roi` (B, H, W, 1) of {0, 1} masks map and score."""
        images = inputs.pictures(images, self.channels)
        found = self.grdnet(images, roi=roi)
        (mean, spread), (own_mean, own_spread) = (tf.unstack(tf.convert_to_tensor(part)) for part in
                                                  (self.fitted.of_padim, self.fitted.of_grdnet))
        brought = mean + spread * (logit(found.anomaly_map) - own_mean) / own_spread
        together = tf.maximum(logit(self.padim(images, roi=roi).anomaly_map), brought)
        anomaly_map = tf.clip_by_value(tf.sigmoid(together), SMALLEST, 1.0 - SMALLEST)
        if roi is not None:
            anomaly_map *= tf.cast(roi, tf.float32)
        return Detection(found.reconstruction, anomaly_map, anomaly_score(anomaly_map, self.score_pool))

    def calibrate(self, batches) -> None:
        """"of_grdnet" and "of_padim" from good pictures that neither was trained on: {"image", "roi"}.

        One whose region is empty has no score, unless all are.
        """
        @tf.function
        def scores(images, roi):
            return [tf.reduce_max(roi, axis=[1, 2, 3]),
                    *(logit(part(images, roi=roi).score) for part in (self.grdnet, self.padim))]

        seen, *found = np.concatenate([scores(batch["image"], batch["roi"]) for batch in batches], axis=1)
        found = np.array(found)[:, seen > 0] if seen.any() else found  # (2, pictures)
        for kept, of in zip((self.fitted.of_grdnet, self.fitted.of_padim), found):
            kept.assign([of.mean(), max(of.std(), LEAST_SPREAD)])


def logit(share):
    """log(p / (1 - p)), finite where p is 0 or 1."""
    share = tf.clip_by_value(share, SMALLEST, 1.0 - SMALLEST)
    return tf.math.log(share / (1.0 - share))
