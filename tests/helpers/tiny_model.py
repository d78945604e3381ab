"""A GRD-Net of a few thousand weights, a batch for it, and which of its networks have changed."""
import numpy as np
import tensorflow as tf

from grdnet_tf.model.grdnet import GRDNet

TINY = dict(widths=(4, 8), latent=4, stem=0, blocks=1, discriminator_widths=(4, 8), segmenter_widths=(4, 8),
            segmenter_stride=1, score_pool=5)


def tiny(size=16, channels=3, seed=1, **options):
    tf.keras.utils.set_random_seed(seed)
    return GRDNet((size, size), channels, **{**TINY, **options})


def batch(n=4, size=16, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random((n, size, size, channels), np.float32)
    noisy, mask = image.copy(), np.zeros((n, size, size, 1), np.float32)
    mask[:, 4:9, 4:9] = 1.0
    noisy[:, 4:9, 4:9] = 1.0 - image[:, 4:9, 4:9]
    roi = np.zeros_like(mask)
    roi[:, :, :12] = 1.0
    parts = dict(image=image, noisy=noisy, mask=mask, roi=roi)
    return {name: tf.constant(part) for name, part in parts.items()}


def changed(before, after):
    """The networks of which any weight differs."""
    return {name.split("/")[0] for name in before if not np.array_equal(before[name], after[name])}
