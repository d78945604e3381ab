"""GRD-Net as one Keras model: its networks, its losses and its inference. The steps are those of `stepped`.

    images (B, H, W, C) float32 [0, 1]  ->  Detection(reconstruction, anomaly_map, score)
"""
from types import MappingProxyType
from typing import Tuple

import tensorflow as tf

from ..errors import InputError
from ..ops import summed
from ..options import Network
from . import inputs, losses
from .networks import Discriminator, Generator, UNet
from .scoring import anomaly_score, residual
from .stepped import NETWORKS, Detection, SteppedModel

keras = tf.keras

TERMS = ("l1", "l2", "ssim", "adversarial", "encoder", "discriminator", "segmentation", "overlap")
DIFFERENCE_GAIN = 3.0  # a visible defect differs by a third of the range: brought to the pictures' own scale
__all__ = ["NETWORKS", "Detection", "GRDNet", "TERMS"]


@keras.utils.register_keras_serializable("grdnet_tf")
class GRDNet(SteppedModel):
    """GRD-Net (Ferrari & Lamma 2023): generator, discriminator and segmenter trained together, three optimizers.

    `image_size` (H, W) must be divisible by the networks' total strides; except with the dense bottleneck ("drae") the
    trained model takes any other such size. All other sizes are the options of `options.Network`, by name:
    GRDNet(latent=64, segmenter_difference=True). Without `discriminator_widths` there is no adversarial part, without
    `second_encoder` no E2, without `segmenter_widths` no U-Net, and the map is |X - X^|, the mean over channels; then
    the objective's weight for it must be 0. `synchronized` batch norm is for several
    replicas. `architecture` holds all of these: GRDNet(**architecture) is a model of the same weights' shapes.

    Raises: InputError naming the option that is unknown or out of its range.
    """

    FIGURES = ("loss", "generator", "contextual")

    def __init__(self, image_size: Tuple[int, int] = (256, 256), channels: int = 3, *, second_encoder=True,
                 synchronized=False, name="grdnet", **network):
        super().__init__(name=name, dtype="float32")  # the parts follow the precision policy, the whole speaks float32
        n = Network(**network)
        self.architecture = MappingProxyType(dict(  # a plain dict would become one of Keras' tracked containers
            image_size=tuple(image_size), channels=channels, second_encoder=second_encoder, synchronized=synchronized,
            **dict(n)))
        self.image_size, self.channels, self.score_pool = tuple(image_size), channels, n.score_pool
        self.difference, self.one_size = n.segmenter_difference, n.bottleneck == "drae"
        self.matching, self.sees_roi = (asked and bool(n.segmenter_widths) for asked in (n.segmenter_matching,
                                                                                         n.segmenter_roi))
        if self.matching and not (second_encoder and n.discriminator_widths and n.bottleneck == "crae"):
            raise InputError("segmenter_matching needs the discriminator, the second encoder (loss.adversarial and "
                             "loss.encoder above 0) and the convolutional bottleneck (crae)")
        self.precision = keras.mixed_precision.global_policy().name
        self.total_stride = n.inference_stride  # what both sides of a picture to be judged must be divisible by
        norm = dict(batch_norm=n.batch_norm, synchronized=synchronized)
        stride = 2 ** len(n.widths)
        grid = (image_size[0] // stride, image_size[1] // stride)
        self.generator = Generator(n.widths, n.latent, channels, grid, n.bottleneck, second_encoder, stem=n.stem,
                                   blocks=n.blocks, residual=n.residual, pre_activation=n.pre_activation, **norm)
        self.discriminator = None
        if n.discriminator_widths:
            self.discriminator = Discriminator(n.discriminator_widths, n.discriminator_blocks or n.blocks,
                                               n.pre_activation, **norm)
        self.segmenter = None
        if n.segmenter_widths:
            self.strides = []  # of what `matched` compares
            if self.matching:
                self.strides = [2 ** (i + 1) for i in range(len(n.discriminator_widths))] + [stride]
            self.segmenter = UNet(n.segmenter_widths, n.segmenter_stride, self.strides, **norm)
        self._build_networks(max(image_size) if self.one_size else n.total_stride)

    def _build_networks(self, side):
        """Every weight exists after construction: one pass over the smallest picture the networks take."""
        size = self.image_size if side == max(self.image_size) else (side, side)
        blank = tf.zeros((1, *size, self.channels))
        made = self.generator(blank)
        if self.discriminator is not None:
            self.discriminator(blank)
        if self.segmenter is not None:
            self.segment(blank, blank, (made.latent, made.latent_hat))
        self.built = True

    def call(self, images, roi=None, training=False):
        """Detection of `images` (B, H, W, C) in [0, 1] or uint8. A `roi` (B, H, W, 1) of {0, 1} masks map and score."""
        images = inputs.pictures(images, self.channels)
        if tf.executing_eagerly():  # a graph cannot raise
            inputs.refuse_out_of_range(inputs.out_of_range(images))
        z = self.generator.encoder(images, training=training)
        reconstruction, latents = self.generator.decoder(z, training=training), None
        roi = None if roi is None else inputs.region(roi, images)
        if self.matching:
            latents = z, self.generator.encoder_hat(reconstruction, training=training)
        if self.segmenter is None:
            anomaly_map = residual(images, reconstruction)
        else:
            logits = self.segment(images, reconstruction, latents, roi, training=training)
            anomaly_map = tf.sigmoid(logits)  # (B, H, W, 1)
        if roi is not None:
            anomaly_map = anomaly_map * roi
        return Detection(reconstruction, anomaly_map, anomaly_score(anomaly_map, self.score_pool))

    def segment(self, images, reconstruction, latents=None, roi=None, training=False):
        """Logits (B, H, W, 1) of the anomaly map from the pictures and their reconstructions (Fig. 2).

        `latents` (z, z^) are looked at with `segmenter_matching` only, `roi` (B, H, W, 1) of {0, 1}, None for all of
        the picture, with `segmenter_roi`.
        """
        seen = [images, reconstruction]
        if self.difference:
            seen.append(DIFFERENCE_GAIN * tf.abs(images - reconstruction))
        if self.sees_roi:
            seen.append(tf.ones_like(images[..., :1]) if roi is None else roi)
        evidence = self.matched(images, reconstruction, *latents) if self.matching else None
        return self.segmenter(tf.concat(seen, axis=-1), evidence, training=training)

    def matched(self, images, reconstruction, z, z_hat):
        """{stride: (B, H / stride, W / stride, .)}: what eq. 2 compares: |f(X) - f(X^)| of each stage, and |z - z^|.

        No gradient flows back: these networks are trained by their own losses.
        """
        pairs = list(zip(self.discriminator(images).stages, self.discriminator(reconstruction).stages)) + [(z, z_hat)]
        found = {}
        for stride, (a, b) in zip(self.strides, pairs):
            difference = tf.stop_gradient(tf.abs(tf.cast(a, tf.float32) - tf.cast(b, tf.float32)))
            found.setdefault(stride, []).append(difference)
        return {stride: tf.concat(parts, axis=-1) for stride, parts in found.items()}

    @property
    def training_only(self):
        without = dict(synchronized=False)
        if not self.matching:
            without.update(second_encoder=False, discriminator_widths=None)
        # A norm before its convolution cannot be folded into it.
        return without if self.architecture["pre_activation"] else dict(without, batch_norm=False)

    def inference_parts(self):
        parts = [self.generator.encoder, self.generator.decoder, self.segmenter]
        if self.matching:
            parts += [self.generator.encoder_hat, self.discriminator]
        return tuple(part for part in parts if part is not None)

    def check_objective(self, objective):
        if objective.adversarial and self.discriminator is None:
            raise InputError("objective.adversarial > 0 needs a discriminator: give GRDNet discriminator_widths")
        if objective.encoder and self.generator.encoder_hat is None:
            raise InputError("objective.encoder > 0 needs the second encoder: GRDNet(second_encoder=True)")
        if objective.segmentation and self.segmenter is None:
            raise InputError("objective.segmentation > 0 needs a segmenter: give GRDNet segmenter_widths")
        if self.matching and not (objective.adversarial and objective.encoder):
            raise InputError("segmenter_matching shows what discriminator and second encoder have learnt: "
                             "objective.adversarial and objective.encoder must be above 0")

    def terms(self):
        unused = set() if self.objective.l2 else {"l2"}
        if not self.objective.adversarial:
            unused |= {"adversarial", "discriminator"}
        if not self.objective.encoder:
            unused |= {"encoder"}
        if not self.objective.segmentation:
            unused |= {"segmentation", "overlap"}
        if "overlap" not in self.objective.roi_reading:
            unused |= {"overlap"}
        return [term for term in TERMS if term not in unused]

    def forward(self, batch, training):
        """One pass through all networks: the raw loss terms (float32 scalars) and the segmenter's logits.

        The discriminator sees real and generated pictures apart, as in GANomaly: in one batch they would share batch
        norm's statistics, and f(X) would depend on X^. Its two passes serve both its own loss and feature matching.
        """
        image, noisy, mask, roi = batch["image"], batch["noisy"], batch["mask"], batch["roi"]
        o = self.objective
        z = self.generator.encoder(noisy, training=training)
        fake = self.generator.decoder(z, training=training)
        terms = dict(zip(("l1", "ssim"), (losses.l1(image, fake), losses.ssim_loss(image, fake))))
        if o.l2:
            terms["l2"] = losses.l2(image, fake)
        z_hat = None
        if o.encoder:
            z_hat = self.generator.encoder_hat(fake, training=training)
            terms["encoder"] = losses.encoder(z, z_hat, o.encoder_norm)
        if o.adversarial:
            real = self.discriminator(image, training=training)
            found = self.discriminator(fake, training=training)
            terms["adversarial"] = losses.feature_matching(real.features, found.features)
            terms["discriminator"] = losses.discriminator(real.logits, found.logits)
        if not o.segmentation:  # the generator alone
            return terms, None
        seen = fake if o.segmentation_to_generator else tf.stop_gradient(fake)
        shown = _every_second(roi, batch.get("seed")) if self.sees_roi else None
        logits = self.segment(noisy, seen, (z, z_hat), shown, training=training)
        target = losses.soft_target(mask, image, noisy, o.soft_target) if o.soft_target else mask
        marked = losses.segmentation(o.roi_reading, logits, target, roi, o.focal_gamma, o.focal_alpha, o.overlap)
        terms["segmentation"] = marked.focal
        if "overlap" in o.roi_reading:
            terms["overlap"] = marked.overlap
        return terms, logits

    def contextual(self, terms):
        """Eq. 1, with the L2 that may stand beside."""
        o = self.objective
        return summed(o.l1 * terms["l1"], o.l2 * terms.get("l2", 0.0), o.ssim * terms["ssim"])

    def objectives(self, terms):
        """The weighted loss of each network (eq. 1, 2, 6, 8): the one place where weights are applied."""
        o = self.objective
        generator = summed(o.contextual * self.contextual(terms), o.adversarial * terms.get("adversarial", 0.0),
                           o.encoder * terms.get("encoder", 0.0))
        segmenter = None
        if o.segmentation:
            segmenter = o.segmentation * summed(terms["segmentation"], o.overlap * terms.get("overlap", 0.0))
            if o.segmentation_to_generator:
                generator = summed(generator, o.segmentation_to_generator * segmenter)
        return {"generator": generator, "discriminator": terms.get("discriminator"), "segmenter": segmenter}

    def figures(self, terms, objectives):
        """Eq. 1, and eq. 6 as "loss": the segmentation's part once."""
        generator, segmenter = objectives["generator"], objectives["segmenter"]
        rest = 1.0 - self.objective.segmentation_to_generator
        return {"contextual": self.contextual(terms), "generator": generator,
                "loss": generator if segmenter is None else summed(generator, rest * segmenter)}


def _every_second(roi, seed):
    """The ROI of every second picture, ones for the others: one network learns to go with a region and without.

    By the sample's seed (B, 2), [a number of the pass, the record]: a picture comes with its region in every second
    pass. Without seeds by the place in the batch.
    """
    numbers = tf.range(tf.shape(roi)[0]) if seed is None else seed[:, 0] + seed[:, 1]
    given = tf.cast(tf.bitwise.bitwise_and(numbers, 1), tf.float32)[:, None, None, None]
    return tf.maximum(roi, given)
