"""A tiny GRDNet and pictures for it."""
import numpy as np
import tensorflow as tf

from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.options import Noise

keras = tf.keras

TINY = dict(widths=(4, 8), latent=4, stem=0, blocks=1, discriminator_widths=(4, 8), segmenter_widths=(4, 8),
            score_pool=5)

NOISE = Noise(scales=(0, 2), threshold=(0.0, 0.3), min_area=2)

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)

FLOATS = (IMAGES / 255.0).astype(np.float32)

ROI = np.zeros((4, 16, 16, 1), np.float32)

ROI[:, :, :10] = 1.0

def tiny(seed=1, **options):
    keras.utils.set_random_seed(seed)
    return GRDNet((16, 16), 3, **{**TINY, **options})

def compiled(run_eagerly=True, **options):
    """Eager: what Keras hands over is the same, and nothing is traced."""
    model = tiny()
    model.compile(noise=NOISE, jit_compile=False, run_eagerly=run_eagerly, **options)
    return model

def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
