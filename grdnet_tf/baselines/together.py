"""What do several see in a picture, on one grid? A network's activations and wavelets, one after the other.

    images (B, H, W, C) [0, 1] -> (B, H / s, W / s, channels), s the smallest stride, the same of all
"""
import hashlib
from typing import Sequence

import tensorflow as tf

keras = tf.keras


class Together(keras.layers.Layer):
    """The channels of all `parts`, `features.Features` and `scattering.Scattering` of the same strides."""

    def __init__(self, parts: Sequence, name="together"):
        super().__init__(name=name, dtype="float32", trainable=False)
        self.parts, self.strides = tuple(parts), parts[0].strides
        self.channels = sum(part.channels for part in parts)
        self.rounding = max(getattr(part, "rounding", 1) for part in parts)
        self.built = True

    def call(self, images):
        return tf.concat([part(images) for part in self.parts], axis=-1)

    def digest(self) -> str:
        """SHA-256 of those of the parts."""
        return hashlib.sha256("".join(part.digest() for part in self.parts).encode()).hexdigest()
