"""The five networks of GRD-Net as subclassed Keras models (Fig. 2, Fig. 5).

Every picture is (B, H, W, C) in [0, 1], H and W divisible by the total stride. Networks end in float32 whatever the
precision policy: losses and thresholds are not computed in half precision.
"""
from typing import NamedTuple, Sequence, Tuple

import tensorflow as tf

from .layers import Activation, ConvBlock, Stage

keras = tf.keras


def _full_precision(layer, *arguments, **options):
    """The last layer of a network, kept out of the mixed precision policy."""
    return layer(*arguments, dtype="float32", **options)


class Encoder(keras.Model):
    """Picture to latent z: one stage of stride 2 per width, then the bottleneck.

    `bottleneck` "crae" gives z as (B, H/s, W/s, latent) by a convolution, "drae" as (B, latent) by a dense layer, which
    fixes the picture size. `stem` > 0 adds a convolution at full resolution first.
    """

    def __init__(self, widths: Sequence[int], latent: int, bottleneck="crae", stem=0, blocks=2, residual=True,
                 pre_activation=False, batch_norm=True, synchronized=False, name="encoder"):
        super().__init__(name=name)
        norm = dict(batch_norm=batch_norm, synchronized=synchronized)
        block = dict(residual=residual, pre_activation=pre_activation, **norm)
        self.stem = ConvBlock(stem, **norm) if stem else None
        self.stages = [Stage(width, blocks, stride=2, **block) for width in widths]
        self.leave = Activation(**norm) if pre_activation else None
        self.flatten = keras.layers.Flatten() if bottleneck == "drae" else None
        self.project = (_full_precision(keras.layers.Dense, latent) if bottleneck == "drae"
                        else _full_precision(keras.layers.Conv2D, latent, 3, padding="same"))
        self.built = True

    def call(self, images, training=False):
        x = images if self.stem is None else self.stem(images, training=training)
        for stage in self.stages:
            x = stage(x, training=training)
        if self.leave is not None:
            x = self.leave(x, training=training)
        if self.flatten is not None:
            x = self.flatten(x)
        return self.project(tf.cast(x, tf.float32))


class Decoder(keras.Model):
    """Latent z to picture in [0, 1]: the encoder's mirror.

    `grid` is the (height, width) of the last feature map, which the dense bottleneck ("drae") is reshaped to; with
    "crae" it is not used. Without `stem` the last enlargement is a sub-pixel convolution (depth to space), which spares
    the convolutions at full resolution.
    """

    def __init__(self, widths: Sequence[int], channels: int, grid: Tuple[int, int], bottleneck="crae", stem=0, blocks=2,
                 residual=True, pre_activation=False, batch_norm=True, synchronized=False, name="decoder"):
        super().__init__(name=name)
        norm = dict(batch_norm=batch_norm, synchronized=synchronized)
        block = dict(residual=residual, pre_activation=pre_activation, **norm)
        down = list(widths)
        self.expand = keras.layers.Dense(grid[0] * grid[1] * down[-1]) if bottleneck == "drae" else None
        self.reshape = keras.layers.Reshape((grid[0], grid[1], down[-1])) if bottleneck == "drae" else None
        self.enter = ConvBlock(down[-1], **norm)
        up = down[-2::-1] + ([stem] if stem else [])
        self.stages = [Stage(width, blocks, up=True, **block) for width in up]
        self.leave = Activation(**norm) if pre_activation else None
        self.subpixel = not stem
        self.paint = _full_precision(keras.layers.Conv2D, channels * (4 if self.subpixel else 1), 3, padding="same")
        self.built = True

    def call(self, z, training=False):
        x = z if self.expand is None else self.reshape(self.expand(z))
        x = self.enter(x, training=training)
        for stage in self.stages:
            x = stage(x, training=training)
        if self.leave is not None:
            x = self.leave(x, training=training)
        x = self.paint(tf.cast(x, tf.float32))
        return tf.sigmoid(tf.nn.depth_to_space(x, 2) if self.subpixel else x)


class Generated(NamedTuple):
    """What one pass of the generator gives: z, the reconstruction X^ and, if asked for, z^ (else None)."""
    latent: tf.Tensor
    reconstruction: tf.Tensor
    latent_hat: tf.Tensor


class Generator(keras.Model):
    """Encoder-decoder-encoder: z = E1(X_n), X^ = D(z), z^ = E2(X^); E1 and E2 alike but with weights of their own.

    `second_encoder=False` leaves E2 out (its loss has no weight, or inference).
    """

    def __init__(self, widths, latent, channels, grid, bottleneck="crae", second_encoder=True, name="generator",
                 **options):
        super().__init__(name=name)
        self.encoder = Encoder(widths, latent, bottleneck, **options)
        self.decoder = Decoder(widths, channels, grid, bottleneck, **options)
        self.encoder_hat = None
        if second_encoder:
            self.encoder_hat = Encoder(widths, latent, bottleneck, name="encoder_hat", **options)
        self.built = True

    def call(self, images, training=False):
        z = self.encoder(images, training=training)
        reconstruction = self.decoder(z, training=training)
        z_hat = None if self.encoder_hat is None else self.encoder_hat(reconstruction, training=training)
        return Generated(z, reconstruction, z_hat)


class Discrimination(NamedTuple):
    """The feature map f(.) that feature matching compares, one real / fake logit a picture, (B, 1), and every stage."""
    features: tf.Tensor
    logits: tf.Tensor
    stages: Tuple[tf.Tensor, ...] = ()  # (B, H / 2, W / 2, .), (B, H / 4, W / 4, .), ...


class Discriminator(keras.Model):
    """Real or generated: one residual stage of stride 2 per width; f(.) is the last stage's output."""

    def __init__(self, widths: Sequence[int], blocks=1, pre_activation=False, batch_norm=True, synchronized=False,
                 name="discriminator"):
        super().__init__(name=name)
        norm = dict(batch_norm=batch_norm, synchronized=synchronized)
        self.stages = [Stage(width, blocks, stride=2, pre_activation=pre_activation, **norm) for width in widths]
        self.leave = Activation(**norm) if pre_activation else None
        self.pool = keras.layers.GlobalAveragePooling2D(dtype="float32")
        self.judge = _full_precision(keras.layers.Dense, 1)
        self.built = True

    def call(self, images, training=False):
        x, stages = images, []
        for stage in self.stages:
            x = stage(x, training=training)
            stages.append(x)
        if self.leave is not None:
            x = self.leave(x, training=training)
        features = tf.cast(x, tf.float32)
        return Discrimination(features, self.judge(self.pool(features)), tuple(stages))


class UNet(keras.Model):
    """The segmenter: (picture, reconstruction) stacked, (B, H, W, 2C), to logits (B, H, W, 1) of the anomaly map.

    Each level is two convolutions; a level goes down by max pooling and up by a transposed convolution, with a skip
    connection. `stride` 2 starts at half resolution and ends in a sub-pixel convolution: a quarter of the work.

    `evidence` are the strides at which it is shown more than the pictures: a level of such a stride takes in, by a 1x1
    convolution to half its width, what `call` is given for it.
    """

    def __init__(self, widths: Sequence[int], stride=1, evidence: Sequence[int] = (), batch_norm=True,
                 synchronized=False, name="segmenter"):
        super().__init__(name=name)
        norm = dict(batch_norm=batch_norm, synchronized=synchronized)
        # Flat lists, two blocks a level: not every Keras finds what lies in lists of tuples when it saves a model.
        self.down = [block for i, w in enumerate(widths)
                     for block in (ConvBlock(w, 5 if stride == 2 and i == 0 else 3, stride if i == 0 else 1, **norm),
                                   ConvBlock(w, **norm))]
        self.pool = keras.layers.MaxPooling2D(2)
        self.rise = [keras.layers.Conv2DTranspose(w, 2, 2) for w in reversed(widths[:-1])]
        self.up = [ConvBlock(w, **norm) for w in reversed(widths[:-1]) for _ in range(2)]
        self.stride = stride
        self.evidence = tuple(s for s in (stride * 2**level for level in range(len(widths))) if s in evidence)
        self.admit = [ConvBlock(max(1, width // 2), 1, **norm) for level, width in enumerate(widths)
                      if stride * 2**level in evidence]
        # Anomalous pixels are rare: logits start at -2, a map of 0.12, so that the first steps do not flood the map.
        self.mark = _full_precision(keras.layers.Conv2D, stride * stride, 3, padding="same",
                                    bias_initializer=keras.initializers.Constant(-2.0))
        self.built = True

    def call(self, stacked, evidence=None, training=False):
        """`evidence`: {stride: (B, H / stride, W / stride, channels)} for each of `self.evidence`."""
        x, skips = stacked, []
        for level, (first, second) in enumerate(_pairs(self.down)):
            x, stride = first(self.pool(x) if level else x, training=training), self.stride * 2**level
            if stride in self.evidence:
                admitted = self.admit[self.evidence.index(stride)](evidence[stride], training=training)
                x = tf.concat([x, admitted], axis=-1)
            x = second(x, training=training)
            skips.append(x)
        for skip, rise, (first, second) in zip(reversed(skips[:-1]), self.rise, _pairs(self.up)):
            x = tf.concat([skip, rise(x)], axis=-1)
            x = second(first(x, training=training), training=training)
        logits = self.mark(tf.cast(x, tf.float32))
        return tf.nn.depth_to_space(logits, self.stride) if self.stride > 1 else logits


def _pairs(blocks):
    return zip(blocks[::2], blocks[1::2])
