"""The blocks that every network is built of: convolution, residual block, residual block that doubles the size.

All take and give (B, H, W, C) in the layer's compute dtype. LeakyReLU's slope is 0.2, as in GANomaly and DCGAN.

They and the networks of them have no weights but their layers', which make these in the first call: they are `built` from
the start. Keras 3 would otherwise trace a call of each for it, level by level, which took half of a model's construction.
"""
import tensorflow as tf

from ..ops import double

keras = tf.keras

SLOPE = 0.2
MOMENTUM = 0.9  # of batch norm's moving moments, as in GANomaly and DRAEM; Keras' 0.99 lags behind in short runs


def _normalize(batch_norm: bool, synchronized: bool):
    """Batch normalisation, over all replicas if `synchronized`; None without it."""
    if not batch_norm:
        return None
    # `synchronized` is passed only when it is needed: it keeps Keras 2 from its fused kernel.
    return keras.layers.BatchNormalization(momentum=MOMENTUM, **({"synchronized": True} if synchronized else {}))


class ConvBlock(keras.layers.Layer):
    """Convolution, optional batch norm, LeakyReLU of `slope` (0: ReLU, None: none).

    `stride` 2 halves the size; `up` doubles it instead (transposed).
    """

    def __init__(self, filters, kernel=3, stride=1, up=False, batch_norm=True, synchronized=False, slope=SLOPE):
        super().__init__()
        bias = not batch_norm
        if up:  # a kernel of twice the stride covers every output pixel equally often: no checkerboard
            self.conv = keras.layers.Conv2DTranspose(filters, 4, 2, "same", use_bias=bias,
                                                     kernel_initializer="he_normal")
        else:
            self.conv = keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=bias,
                                            kernel_initializer="he_normal")
        self.norm = _normalize(batch_norm, synchronized)
        self.slope = slope
        self.built = True

    def call(self, x, training=False):
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x, training=training)
        if self.slope is None:
            return x
        return tf.nn.leaky_relu(x, self.slope) if self.slope else tf.nn.relu(x)


class Activation(keras.layers.Layer):
    """Optional batch norm, LeakyReLU: what stands before a convolution in ResNet V2, and after the last one."""

    def __init__(self, batch_norm=True, synchronized=False):
        super().__init__()
        self.norm = _normalize(batch_norm, synchronized)
        self.built = True

    def call(self, x, training=False):
        return tf.nn.leaky_relu(x if self.norm is None else self.norm(x, training=training), SLOPE)


class ResidualBlock(keras.layers.Layer):
    """Two 3x3 ConvBlocks plus the identity, or plus a 1x1 ConvBlock where the shape changes (Fig. 5).

    `residual=False` leaves the shortcut out: the vanilla autoencoder of Table 1. `stride` 2 halves, `up` doubles.
    `pre_activation` (He et al. 2016, ResNet V2): each convolution after its norm and activation; the sum stays linear.
    """

    def __init__(self, filters, stride=1, up=False, project=False, residual=True, pre_activation=False, batch_norm=True,
                 synchronized=False):
        super().__init__()
        norm = dict(batch_norm=batch_norm, synchronized=synchronized)
        plain = dict(batch_norm=False, slope=None) if pre_activation else norm
        self.enter = Activation(**norm) if pre_activation else None
        self.first = ConvBlock(filters, 3, stride, up, **norm)
        self.second = ConvBlock(filters, 3, **plain)
        self.stride, self.up, self.residual = stride, up, residual
        projected = residual and (project or up or stride > 1)
        self.shortcut = ConvBlock(filters, 1, **plain) if projected else None
        self.built = True

    def call(self, x, training=False):
        entered = x if self.enter is None else self.enter(x, training=training)
        y = self.second(self.first(entered, training=training), training=training)
        if not self.residual:
            return y
        if self.stride > 1:
            # What a 1x1 convolution of that stride does. oneDNN's filter gradient of such a one writes outside its buffers
            # for fewer than 16 channels on processors with AVX-512 (TensorFlow 2.15 and 2.21): the process dies.
            x = x[:, ::self.stride, ::self.stride]
        if self.shortcut is not None:
            x = self.shortcut(x, training=training)
        if self.up:  # after the 1x1 projection, which commutes with it: a quarter of the work
            x = double(x)
        return x + y


class Stage(keras.layers.Layer):
    """`blocks` residual blocks, the first of which changes size and width."""

    def __init__(self, filters, blocks=2, stride=1, up=False, **options):
        super().__init__()
        self.blocks = [ResidualBlock(filters, stride, up, project=True, **options)]
        self.blocks += [ResidualBlock(filters, **options) for _ in range(blocks - 1)]
        self.built = True

    def call(self, x, training=False):
        for block in self.blocks:
            x = block(x, training=training)
        return x
