"""GANomaly (Akcay et al. 2018): how far is the latent of a picture from the latent of its reconstruction?

    z = E1(X),  X^ = D(z),  z^ = E2(X^)        score: d = mean |z - z^|, as d^2 / (d^2 + s^2)
    loss: 1 |f(X) - f(X^)|^2 + 50 |X - X^| + 1 |z - z^|^2, f of a discriminator that is trained beside it

The networks are DCGAN's: convolutions of 4 x 4 and stride 2, then one that covers what is left. Nothing but good parts
is needed; there is no segmenter.
"""
from types import MappingProxyType
from typing import Sequence, Tuple

import tensorflow as tf

from ..errors import InputError
from ..model import inputs, losses
from ..model.layers import MOMENTUM, ConvBlock
from ..model.networks import Discrimination
from ..model.scoring import residual
from ..model.stepped import Detection, SteppedModel
from ..ops import summed

keras = tf.keras

TERMS = ("l1", "adversarial", "encoder", "discriminator")
LEAST = 1e-12  # of a squared distance: two equal latents are at no distance, also before there is a scale


class Encoder(keras.Model):
    """Picture to z: (B, H, W, C) -> (the last feature map (B, h, w, widths[-1]), z (B, latent))."""

    def __init__(self, widths: Sequence[int], grid: Tuple[int, int], latent: int, batch_norm=True, synchronized=False,
                 name="encoder"):
        super().__init__(name=name)
        self.stages = [ConvBlock(width, 4, 2, batch_norm=batch_norm and i > 0, synchronized=synchronized)
                       for i, width in enumerate(widths)]  # none after the pixels themselves, as in DCGAN
        self.last = keras.layers.Conv2D(latent, grid, padding="valid", use_bias=False, dtype="float32")
        self.flatten = keras.layers.Flatten(dtype="float32")
        self.built = True

    def call(self, images, training=False):
        x = images
        for stage in self.stages:
            x = stage(x, training=training)
        features = tf.cast(x, tf.float32)
        return features, self.flatten(self.last(features))


class Opening(ConvBlock):
    """From a point to a grid: (B, 1, 1, C) -> (B, h, w, filters)."""

    def __init__(self, filters, grid, **options):
        super().__init__(filters, slope=0.0, **options)
        self.conv = keras.layers.Conv2DTranspose(filters, grid, padding="valid", use_bias=self.norm is None,
                                                 kernel_initializer="he_normal")


class Decoder(keras.Model):
    """z (B, latent) to a picture in [0, 1]: the encoder's mirror, with ReLU."""

    def __init__(self, widths: Sequence[int], grid: Tuple[int, int], latent: int, channels: int, name="decoder",
                 **norm):
        super().__init__(name=name)
        self.reshape = keras.layers.Reshape((1, 1, latent))
        self.stages = [Opening(widths[-1], grid, **norm)]
        self.stages += [ConvBlock(width, up=True, slope=0.0, **norm) for width in reversed(widths[:-1])]
        self.paint = keras.layers.Conv2DTranspose(channels, 4, 2, "same", use_bias=False, dtype="float32")
        self.built = True

    def call(self, z, training=False):
        x = self.reshape(z)
        for stage in self.stages:
            x = stage(x, training=training)
        return tf.sigmoid(self.paint(tf.cast(x, tf.float32)))


class Generator(keras.Model):
    """E1, D and E2: E1 and E2 alike, with weights of their own."""

    def __init__(self, widths, grid, latent, channels, name="generator", **norm):
        super().__init__(name=name)
        self.encoder = Encoder(widths, grid, latent, **norm)
        self.decoder = Decoder(widths, grid, latent, channels, **norm)
        self.encoder_hat = Encoder(widths, grid, latent, name="encoder_hat", **norm)
        self.built = True

    def call(self, images, training=False):
        """(z, X^, z^)."""
        z = self.encoder(images, training=training)[1]
        reconstruction = self.decoder(z, training=training)
        return z, reconstruction, self.encoder_hat(reconstruction, training=training)[1]


class Discriminator(Encoder):
    """Real or generated: DCGAN's, whose last feature map is f(.)."""

    def call(self, images, training=False):
        return Discrimination(*super().call(images, training=training))


@keras.utils.register_keras_serializable("grdnet_tf")
class GANomaly(SteppedModel):
    """Detection by latents. Its anomaly map is |X - X^|, the mean over channels, which the paper does not have.

    `image_size` (H, W), divisible by 2^len(`widths`), is the only size it takes. `latent` numbers are z.
    The score in [0, 1) is d^2 / (d^2 + s^2); s is the moving mean of the distances d of the training's good parts, so
    that it is 1/2 where a picture is as far off as they were. Outside a ROI pictures are black, in training as in inference:
    nothing there has a say, and a model that was trained with a ROI needs one.
    """

    FIGURES = ("loss", "generator", "contextual")
    training_only = dict(batch_norm=False, synchronized=False, discriminator=False)
    score_pool = None  # the score is not taken of the map
    one_size = True

    def __init__(self, image_size: Tuple[int, int] = (128, 128), channels: int = 3, *, widths=(64, 128, 256, 512, 1024),
                 latent=100, batch_norm=True, discriminator=True, synchronized=False, name="ganomaly"):
        super().__init__(name=name, dtype="float32")
        self.architecture = MappingProxyType(dict(
            image_size=tuple(image_size), channels=channels, widths=tuple(widths), latent=latent, batch_norm=batch_norm,
            discriminator=discriminator, synchronized=synchronized))
        self.image_size, self.channels = tuple(image_size), channels
        self.total_stride = 2 ** len(widths)
        self.precision = keras.mixed_precision.global_policy().name
        grid = (image_size[0] // self.total_stride, image_size[1] // self.total_stride)
        norm = dict(batch_norm=batch_norm, synchronized=synchronized)
        self.generator = Generator(widths, grid, latent, channels, **norm)
        self.discriminator = Discriminator(widths, grid, 1, name="discriminator", **norm) if discriminator else None
        self.segmenter = None
        # A moving mean over all replicas, kept with the weights: what batch normalisation has is all that is needed.
        self.fitted = keras.layers.BatchNormalization(momentum=MOMENTUM, center=False, scale=False, dtype="float32",
                                                      name="fitted")
        blank = tf.zeros((1, *self.image_size, channels))
        self.generator(blank)
        self.fitted(tf.zeros((1, 1)))
        if discriminator:
            self.discriminator(blank)
        self.built = True

    def call(self, images, roi=None, training=False):
        """Detection of `images` (B, H, W, C) in [0, 1] or uint8. A `roi` (B, H, W, 1) of {0, 1} masks map and score."""
        images = inputs.pictures(images, self.channels)
        if tf.executing_eagerly():  # a graph cannot raise
            inputs.refuse_out_of_range(inputs.out_of_range(images))
        roi = None if roi is None else inputs.region(roi, images)
        images = images if roi is None else images * roi
        z, reconstruction, z_hat = self.generator(images, training=training)
        anomaly_map = residual(images, reconstruction)
        if roi is not None:
            anomaly_map *= roi
        square = tf.square(distance(z, z_hat))
        scale = tf.square(tf.convert_to_tensor(self.fitted.moving_mean))
        return Detection(reconstruction, anomaly_map, square / (square + scale + LEAST))

    def inference_parts(self):
        return self.generator.encoder, self.generator.decoder, self.generator.encoder_hat, self.fitted

    def check_objective(self, objective):
        if objective.adversarial and self.discriminator is None:
            raise InputError("objective.adversarial > 0 needs a discriminator: GANomaly(discriminator=True)")

    def terms(self):
        unused = () if self.objective.adversarial else ("adversarial", "discriminator")
        return [term for term in TERMS if term not in unused]

    def perturbed(self, batch):
        """The batch as it comes, for nothing is drawn: without defects it is its own "noisy"."""
        batch = inputs.batch_of(batch, self.channels)
        ones = tf.ones_like(batch["image"][..., :1])
        return {"roi": ones, "noisy": batch["image"], "mask": tf.zeros_like(ones), **batch}

    def forward(self, batch, training):
        """The raw loss terms of the good pictures; no logits. In training the score's scale follows."""
        image, o = batch["image"] * batch["roi"], self.objective
        z, fake, z_hat = self.generator(image, training=training)
        terms = {"l1": losses.l1(image, fake), "encoder": losses.encoder(z, z_hat, o.encoder_norm)}
        if o.adversarial:
            real, found = (self.discriminator(one, training=training) for one in (image, fake))
            terms["adversarial"] = losses.feature_matching(real.features, found.features)
            terms["discriminator"] = losses.discriminator(real.logits, found.logits)
        if training:
            self.fitted(tf.stop_gradient(distance(z, z_hat))[:, None], training=True)
        return terms, None

    def objectives(self, terms):
        o = self.objective
        generator = summed(o.contextual * terms["l1"], o.adversarial * terms.get("adversarial", 0.0),
                           o.encoder * terms["encoder"])
        return {"generator": generator, "discriminator": terms.get("discriminator")}

    def figures(self, terms, objectives):
        return {**super().figures(terms, objectives), "contextual": terms["l1"]}


def distance(z, z_hat):
    """(B,): the mean absolute difference of two latents (B, latent)."""
    return tf.reduce_mean(tf.abs(z - z_hat), axis=-1)
