"""A pasted piece that meets its surroundings without a step, as a defect that grew there does."""

import tensorflow as tf

from ..ops import blurred, double


def seamless(source, image, mask):
    """`source` (B, H, W, C) plus what it lacks to `image` at the rim of `mask` (B, H, W, 1), carried smoothly inward.

    The aim of Poisson blending (Perez et al. 2003, eq. 2; NSA, Schlueter et al. 2022, pastes so): the piece keeps its
    gradients and takes its brightness from around it. Here the membrane is the difference outside of the mask averaged
    over 2 x 2, 4 x 4, ... pixels: each pixel takes the finest average that exists. In [0, 1]; only what lies in the
    mask has a meaning. Fixed H and W.
    """
    outside = 1.0 - mask
    return tf.clip_by_value(source + _filled((image - source) * outside, outside), 0.0, 1.0)


def _filled(values, weight):
    """values / weight where the weight is 1, the averages of what lies around elsewhere; `values` are weighted."""
    _, height, width, _ = values.shape
    if min(height, width) == 1:
        return values / tf.maximum(weight, 1e-6)
    coarse = _halved(values), _halved(weight)
    known = tf.minimum(4.0 * coarse[1], 1.0)  # a quarter of what goes in is enough to be a value of its own
    scale = known / tf.maximum(coarse[1], 1e-6)
    # A nearest enlargement, blurred, is nearly a linear one.
    around = blurred(double(_filled(coarse[0] * scale, known)))[:, :height, :width]
    return values + (1.0 - weight) * around


def _halved(x):
    """The mean of 2 x 2 pixels, of those that exist at the border: (B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), C)."""
    return tf.nn.avg_pool2d(x, 2, 2, "SAME")
