"""GRD-Net and PaDiM judging together: two that err differently, features with colours, a reconstruction with imprints.

    odds = map / (1 - map), over those of the worst held-out good part: 1 where a detector is as sure as it was wrongly
    fused odds = b max(1, a),  a: GRD-Net's odds, b: PaDiM's,    fused map = fused odds / (1 + fused odds)

GRD-Net speaks where it is surer than it ever was of a good part, and raises what PaDiM's map has there, which is never
nothing; elsewhere PaDiM's order stays. In a sum or a maximum of the odds the errors of the poorer one come through.
"""
import tensorflow as tf

from ..model import inputs
from ..model.scoring import anomaly_score
from ..model.stepped import Detection

keras = tf.keras

SMALLEST = 1e-6  # of 1 - map: the map of a network that is sure is 1 in float32


class Fused(keras.Model):
    """Detection of images (B, H, W, C) in [0, 1] by a trained `GRDNet` and a fitted `PaDiM` of the same pictures.

    The reconstruction is GRD-Net's, the score the maximum of the fused map's average over `score_pool` pixels, as
    GRD-Net's is. Pictures of `image_size` only: PaDiM knows every place of them.

    Args:
      grdnet: a `GRDNet`.
      padim: a `padim.PaDiM`, of which "scale" was set; its array "level" is the highest score that GRD-Net gives a
        held-out good part.
    """

    one_size, reconstructs = True, True
    map_note = "PaDiM's odds, times GRD-Net's where those are above those of the worst good part"

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
        level = tf.maximum(odds(tf.convert_to_tensor(self.fitted.level)), SMALLEST)  # an empty map has none
        together = odds(self.padim(images, roi=roi).anomaly_map) * tf.maximum(1.0, odds(found.anomaly_map) / level)
        anomaly_map = together / (1.0 + together)
        return Detection(found.reconstruction, anomaly_map, anomaly_score(anomaly_map, self.score_pool))

    def set_level(self, batches) -> None:
        """"level" becomes GRD-Net's highest score in `batches` {"image", "roi"}, inside the ROI."""
        @tf.function
        def highest(images, roi):
            return tf.reduce_max(self.grdnet(images, roi=roi).score)

        self.fitted.level.assign(max(float(highest(batch["image"], batch["roi"])) for batch in batches))


def odds(share):
    """p -> p / (1 - p), finite where p is 1."""
    return share / tf.maximum(1.0 - share, SMALLEST)
