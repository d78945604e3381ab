"""DRAEM (Zavrtanik et al. 2021): what would the picture look like without its defect, and where do the two differ?

    X^ = reconstructive(X_n),  A = discriminative(X_n, X^)        loss: |X - X^|^2 + (1 - SSIM(X, X^)) + FL(A, M)

Both are trained at once: the focal loss reaches the reconstruction too. The reconstructive network is an autoencoder,
the discriminative one a U-Net: the same hourglass, without and with skip connections.
"""
from types import MappingProxyType
from typing import Sequence, Tuple

import tensorflow as tf

from ..model import inputs, losses
from ..model.layers import ConvBlock
from ..model.scoring import anomaly_score
from ..model.stepped import Detection, SteppedModel
from ..ops import sides, summed

keras = tf.keras

WIDTHS, SEGMENTER_WIDTHS = (128, 256, 512, 1024, 1024), (64, 128, 256, 512, 512, 512)  # the paper's sizes


class Hourglass(keras.Model):
    """(B, H, W, c) -> (B, H, W, `out`): a level of two convolutions a width, halved by max pooling, and back.

    On the way back each enlargement is bilinear, with a convolution; `skips` joins what the level had on the way down.
    """

    def __init__(self, widths: Sequence[int], out: int, skips: bool, name, **norm):
        super().__init__(name=name)
        # Flat lists, two blocks a level: not every Keras finds what lies in lists of tuples when it saves a model.
        self.down = [ConvBlock(width, slope=0.0, **norm) for width in widths for _ in range(2)]
        self.pool = keras.layers.MaxPooling2D(2)
        back = []  # (width of the enlargement and of the first convolution, of the second) of each level
        for width, narrower in zip(widths[-2::-1], [*widths[-3::-1], widths[0]]):
            back.append((narrower if skips else width, narrower))
        self.rise = [ConvBlock(width, slope=0.0, **norm) for width, _ in back]
        self.up = [ConvBlock(width, slope=0.0, **norm) for pair in back for width in pair]
        self.skips = skips
        self.last = keras.layers.Conv2D(out, 3, padding="same", dtype="float32")
        self.built = True

    def call(self, x, training=False):
        seen = []
        for level, (first, second) in enumerate(zip(self.down[::2], self.down[1::2])):
            x = second(first(self.pool(x) if level else x, training=training), training=training)
            seen.append(x)
        for skip, rise, first, second in zip(reversed(seen[:-1]), self.rise, self.up[::2], self.up[1::2]):
            x = rise(doubled(x), training=training)
            x = tf.concat([skip, x], axis=-1) if self.skips else x
            x = second(first(x, training=training), training=training)
        return self.last(tf.cast(x, tf.float32))


def doubled(x):
    """(B, H, W, C) -> (B, 2H, 2W, C), bilinear."""
    _, height, width, _ = sides(x)
    return tf.cast(tf.image.resize(x, (2 * height, 2 * width)), x.dtype)


@keras.utils.register_keras_serializable("grdnet_tf")
class DRAEM(SteppedModel):
    """Detection by a reconstruction and a U-Net that compares it with the picture.

    `widths` are the reconstructive network's, `segmenter_widths` the discriminative one's, a level each; both sides of
    a picture must be divisible by 2^(levels - 1) of both. A ROI masks map and score; the training does not know it.
    """

    training_only = dict(batch_norm=False, synchronized=False)
    one_size, discriminator = False, None

    def __init__(self, image_size: Tuple[int, int] = (256, 256), channels: int = 3, *, widths=WIDTHS,
                 segmenter_widths=SEGMENTER_WIDTHS, batch_norm=True, score_pool=21, synchronized=False, name="draem"):
        super().__init__(name=name, dtype="float32")
        self.architecture = MappingProxyType(dict(
            image_size=tuple(image_size), channels=channels, widths=tuple(widths),
            segmenter_widths=tuple(segmenter_widths), batch_norm=batch_norm, score_pool=score_pool,
            synchronized=synchronized))
        self.image_size, self.channels, self.score_pool = tuple(image_size), channels, score_pool
        self.total_stride = 2 ** (max(len(widths), len(segmenter_widths)) - 1)
        self.precision = keras.mixed_precision.global_policy().name
        norm = dict(batch_norm=batch_norm, synchronized=synchronized)
        self.generator = Hourglass(widths, channels, False, "generator", **norm)
        self.segmenter = Hourglass(segmenter_widths, 1, True, "segmenter", **norm)  # a logit for two classes
        blank = tf.zeros((1, self.total_stride, self.total_stride, channels))
        self.segmenter(tf.concat([blank, self.generator(blank)], axis=-1))
        self.built = True

    def call(self, images, roi=None, training=False):
        """Detection of `images` (B, H, W, C) in [0, 1] or uint8. A `roi` (B, H, W, 1) of {0, 1} masks map and score."""
        images = inputs.pictures(images, self.channels)
        if tf.executing_eagerly():  # a graph cannot raise
            inputs.refuse_out_of_range(inputs.out_of_range(images))
        reconstruction = self.generator(images, training=training)
        anomaly_map = tf.sigmoid(self.segmenter(tf.concat([images, reconstruction], axis=-1), training=training))
        if roi is not None:
            anomaly_map = anomaly_map * inputs.region(roi, images)
        score = anomaly_score(anomaly_map, self.score_pool)
        return Detection(tf.clip_by_value(reconstruction, 0.0, 1.0), anomaly_map, score)  # the network is linear

    def inference_parts(self):
        return self.generator, self.segmenter

    def terms(self):
        return ["l2", "ssim", "segmentation"]

    def forward(self, batch, training):
        """The raw loss terms and the logits of the noisy pictures' map."""
        image, noisy, o = batch["image"], batch["noisy"], self.objective
        fake = self.generator(noisy, training=training)
        logits = self.segmenter(tf.concat([noisy, fake], axis=-1), training=training)
        return {"l2": losses.l2(image, fake), "ssim": losses.ssim_loss(image, fake),
                "segmentation": losses.focal(logits, batch["mask"], o.focal_gamma, o.focal_alpha)}, logits

    def objectives(self, terms):
        """The paper's one loss for the reconstruction; the focal loss alone reaches the discriminative network."""
        o = self.objective
        segmenter = o.segmentation * terms["segmentation"]
        return {"generator": summed(terms["l2"], o.ssim * terms["ssim"], segmenter), "segmenter": segmenter}
