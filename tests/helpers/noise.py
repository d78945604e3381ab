"""Settings, seeds and pictures that the tests of the noise share."""
import cv2
import numpy as np
import tensorflow as tf

from grdnet_tf.defects.perturb import perturb as disturb
from grdnet_tf.options import SHAPES, SOURCES, Noise

# Larger and fainter than the defaults, in one colour: what the numbers in these tests were measured with.
NOISE = Noise(threshold=(0.2, 0.7), opacity=(0.3, 1.0), min_area=10, sources={"color_image": 1.0})
ALWAYS = NOISE.replace(probability=1.0, min_area=1)
ALL_SOURCES = {name: 1.0 for name in SOURCES if name != "real"}  # which needs pieces: test_real.py
EVERYTHING = ALWAYS.replace(sources=ALL_SOURCES, shapes=dict.fromkeys(SHAPES, 1.0), defects=2, contrast=0.5,
                            blurred=0.5, grain=0.5)


def seeds(count, run=7):
    return np.stack([np.full(count, run), np.arange(count)], 1).astype(np.int32)


def pictures(count=6, height=48, width=40, channels=3):
    """Smooth and speckled at once, within [0.1, 0.9]."""
    random = np.random.default_rng(0)
    small = random.random((count, 4, 4, channels), dtype=np.float32)
    smooth = np.stack([cv2.resize(s, (width, height)).reshape((height, width, channels)) for s in small])
    return 0.1 + 0.7 * smooth + 0.1 * random.random(smooth.shape, dtype=np.float32)


def textures(channels=3, count=3):
    return np.random.default_rng(1).integers(0, 256, (count, 30, 20, channels), dtype=np.uint8)


def perturb(image, roi, seed, settings, texture=None):
    """The noise, in a graph where the batch is so large that drawing its numbers eagerly takes seconds."""
    if len(image) <= 40:
        return disturb(image, roi, seed, settings, texture)
    return tf.function(lambda i, s: disturb(i, roi, s, settings, texture))(tf.constant(image), tf.constant(seed))
