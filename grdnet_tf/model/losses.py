"""The losses of GRD-Net, one formula each, as pure functions.

Images and masks are (B, H, W, C) in [0, 1], logits any shape. Every input is cast to float32 on entry and every result
is a float32 scalar, so that mixed precision never reaches a loss. The functions return raw terms: the weights
w1, w2, w3 of the generator are applied by the model, in one place. Equation numbers are those of the GRD-Net paper.
"""

import difflib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..ops import planes, pooled
from ..options import READINGS

CHANGE_POOL = 5  # pixels, the side of the square in which a defect's change is measured
SSIM_WINDOW, SSIM_SIGMA, SSIM_K1, SSIM_K2 = 11, 1.5, 0.01, 0.03


class Segmentation(NamedTuple):
    """total = focal + overlap_weight * overlap; overlap is 0 where a reading has none."""

    total: tf.Tensor
    focal: tf.Tensor
    overlap: tf.Tensor


def l1(x, y):
    """Mean absolute difference."""
    return tf.reduce_mean(tf.abs(_float(x) - _float(y)))


def l2(x, y):
    """Mean squared difference."""
    return tf.reduce_mean(tf.square(_float(x) - _float(y)))


def ssim_loss(x, y):
    """1 - mean structural similarity (Wang et al. 2004), dynamic range 1, per channel, where the window fits ("valid").

    The window is Gaussian, 11 x 11, sigma 1.5. An image side below 11 pixels takes the largest odd window that fits in
    it, with the same sigma. Height and width must be static. Range [0, 2]; 0 for equal images.
    """
    # Around 0, because variances are small differences of the squares: four times less rounding on bright pictures.
    x, y = planes(x) - 0.5, planes(y) - 0.5
    # x apart from what depends on y: where x is the real image nothing is differentiated through its blur. The sum of
    # the squares suffices, as SSIM needs only the sum of the two variances: four blurs forward, three backward.
    mean_x = _blur(x)
    mean_y, squares, product = tf.unstack(_blur(tf.stack([y, x * x + y * y, x * y])))
    variances = squares - (mean_x * mean_x + mean_y * mean_y)
    covariance = product - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2.0 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    structure = (2.0 * covariance + c2) / (variances + c2)
    return 1.0 - tf.reduce_mean(luminance * structure)


def contextual(x, y, weight_l1=1.0, weight_ssim=1.0):
    """Eq. 1: wa * L1 + wb * (1 - SSIM). A weight of 0 spares the computation of its term."""
    total = tf.zeros([])
    if weight_l1:
        total += weight_l1 * l1(x, y)
    if weight_ssim:
        total += weight_ssim * ssim_loss(x, y)
    return total


def feature_matching(real, fake):
    """Adversarial loss of the generator: mean squared difference of the discriminator's features, real side stopped.

    One tensor or a list of tensors (several layers, averaged) on each side. The gradient goes through `fake`, that is
    through the discriminator into the generator; the real side is a target.
    """
    pairs = list(zip(tf.nest.flatten(real), tf.nest.flatten(fake)))
    return tf.add_n([tf.reduce_mean(tf.square(tf.stop_gradient(_float(r)) - _float(f))) for r, f in pairs]) / len(pairs)


def encoder(z, z_hat, norm="l2"):
    """Distance of the two latents, `norm` "l2" (mean squared, as GANomaly) or "l1"; both sides receive a gradient."""
    if norm not in ("l1", "l2"):
        raise InputError(f"encoder loss: unknown norm {norm!r}, expected 'l1' or 'l2'")
    difference = _float(z) - _float(z_hat)
    return tf.reduce_mean(tf.square(difference) if norm == "l2" else tf.abs(difference))


def discriminator(real_logits, fake_logits):
    """Binary cross-entropy with real = 1 and generated = 0, the mean of both halves; log 2 for one that cannot tell."""
    real = tf.reduce_mean(tf.nn.softplus(-_float(real_logits)))  # -log sigmoid(logit)
    fake = tf.reduce_mean(tf.nn.softplus(_float(fake_logits)))  # -log(1 - sigmoid(logit))
    return 0.5 * (real + fake)


def focal(logits, target, gamma=2.0, alpha=None):
    """Eq. 4: mean over all pixels of -(1 - p)^gamma log p, p the probability given to the true class of the pixel.

    `logits` of the anomaly map A = sigmoid(logits), `target` in [0, 1]. `alpha` weighs the pixels of target 1 and
    1 - alpha those of target 0; None weighs both by 1. gamma 0 without alpha is binary cross-entropy. Finite, with
    finite gradients, for every finite logit.
    """
    return tf.reduce_mean(_focal_map(logits, target, gamma, alpha))


def soft_target(mask, image, noisy, half):
    """What the segmenter is asked for: a logistic function of how much the defect changes the picture, (B, H, W, 1).

    M (s(2 d / half - 2) - s(-2)) / (1 - s(-2)), s(x) = 1 / (1 + exp(-x)), d the mean of |X_n - X| over channels and
    over the pixels of the mask within 5 x 5: 0 without change, 0.43 at `half`, 0.86 at twice that. What hardly shows is
    not asked for with certainty, a guess is not asked for at all. NSA has such a logistic (Schlueter et al. 2022, section
    3.2), from s(-2) on. `mask` {0, 1}; pictures (B, H, W, C) in [0, 1]; `half` above 0, in the same unit.
    """
    mask = _float(mask)
    change = tf.reduce_mean(tf.abs(_float(noisy) - _float(image)), 3, keepdims=True) * mask
    change = pooled(change, CHANGE_POOL) / tf.maximum(pooled(mask, CHANGE_POOL), 1e-6)
    least = 1.0 / (1.0 + float(np.exp(2.0)))
    return tf.stop_gradient(mask * (tf.sigmoid(2.0 * change / half - 2.0) - least) / (1.0 - least))


def overlap(a, r, weight=1.0):
    """Eq. 8: w (1 - |A . R| / min(|A|, |R|)), sums per sample, then the mean over the batch; range [0, w].

    `a` is the anomaly map as a probability. A sample whose A or R is empty has nothing to place: it counts as 0.
    """
    return weight * tf.reduce_mean(1.0 - _shared(a, r, if_empty=1.0))


def segmentation(reading, logits, mask, roi=None, gamma=2.0, alpha=None, overlap_weight=1.0):
    """Segmentation loss under one reading of the region of interest R; A = sigmoid(logits), M the mask of the anomaly.

    ==============================  ===========================  =============================
    reading                         focal                        overlap (eq. 8)
    ==============================  ===========================  =============================
    `masked_target`                 FL(A, M x R), Fig. 3         none
    `intersection`                  FL(A x R, M), eq. 5, case 2  none
    `overlap`                       FL(A, M), case 1             1 - |A.R| / min(|A|, |R|)
    `intersection_overlap`          FL(A x R, M), case 3         1 - |A.R| / min(|A|, |R|)
    `intersection_negated_overlap`  FL(A x R, M), case 4         |A.(1-R)| / min(|A|, |1-R|)
    ==============================  ===========================  =============================

    - A x R is 0 outside R whatever A says. There FL is 0 where M = 0, and where M = 1 a constant, -log 0: infinite, or
      the logarithm of whatever floor a program puts under it. It moves no weight and is left out. So FL(A x R, M) is
      the focal loss from logits, summed inside R over the number of all pixels: safe for every logit.
    - The paper's case 4 is one sentence ("we negated the overlap function to not intersect 1 - ROI"). Read here as
      w - L_overlap(A, 1 - R): the overlap itself with the outside of R is what costs, 0 where A stays inside R.

    `mask` and `roi` are {0, 1} of the logits' shape. A `roi` of None or of ones gives the same bits for `masked_target`
    and `intersection`, and an overlap of 0 for the others. Raises InputError for an unknown reading.
    """
    if reading not in READINGS:
        nearest = difflib.get_close_matches(str(reading), READINGS, n=1, cutoff=0.0)[0]
        raise InputError(f"segmentation loss: unknown reading {reading!r}, did you mean {nearest!r}? Known: {READINGS}")
    logits, mask = _float(logits), _float(mask)
    roi = tf.ones_like(mask) if roi is None else _float(roi)
    if reading == "masked_target":
        focal_term = focal(logits, mask * roi, gamma, alpha)
    elif reading == "overlap":
        focal_term = focal(logits, mask, gamma, alpha)
    else:
        focal_term = tf.reduce_mean(_focal_map(logits, mask, gamma, alpha) * roi)
    overlap_term = tf.zeros([])
    if reading in ("overlap", "intersection_overlap"):
        overlap_term = overlap(tf.sigmoid(logits), roi)
    elif reading == "intersection_negated_overlap":
        overlap_term = tf.reduce_mean(_shared(tf.sigmoid(logits), 1.0 - roi, if_empty=0.0))
    return Segmentation(focal_term + overlap_weight * overlap_term, focal_term, overlap_term)


def _float(x):
    return tf.cast(x, tf.float32)


def _focal_map(logits, target, gamma, alpha):
    """Eq. 4 per pixel, from log sigmoid, the power as an exponential of it: smooth also where p rounds to 0 or 1."""
    logits, target = _float(logits), _float(target)
    log_p, log_not_p = -tf.nn.softplus(-logits), -tf.nn.softplus(logits)  # log sigmoid(l), log(1 - sigmoid(l))
    positive = -target * tf.exp(gamma * log_not_p) * log_p
    negative = -(1.0 - target) * tf.exp(gamma * log_p) * log_not_p
    return positive + negative if alpha is None else alpha * positive + (1.0 - alpha) * negative


def _shared(a, r, if_empty):
    """|A . R| / min(|A|, |R|) per sample, (B,); `if_empty` where A or R sums to 0."""
    a, r = _float(a), _float(r)
    axes = list(range(1, len(a.shape)))
    smaller = tf.minimum(tf.reduce_sum(a, axes), tf.reduce_sum(r, axes))
    empty = smaller <= 0.0
    # The inner where keeps the branch not taken free of 0 / 0, whose NaN would reach the gradient all the same.
    ratio = tf.reduce_sum(a * r, axes) / tf.where(empty, tf.ones_like(smaller), smaller)
    return tf.where(empty, if_empty * tf.ones_like(ratio), ratio)


def _gaussian(side):
    """The window for an image side of that many pixels: odd length, at most SSIM_WINDOW, sum 1."""
    length = min(SSIM_WINDOW, side - (side + 1) % 2)
    weights = np.exp(-0.5 * ((np.arange(length) - length // 2) / SSIM_SIGMA) ** 2)
    return weights / weights.sum()


def _blur(maps):
    """(..., H, W) -> (..., H', W'), the Gaussian mean at every place where the window fits."""
    # A CPU multiplies by a banded matrix 1.6 times faster than it convolves depthwise and 7 times faster than it adds
    # shifted copies, forward and backward. A GPU would do the product in TF32, whose 10 bits drown the variances that
    # SSIM takes as small differences; sums of shifted copies stay in float32 there, and XLA fuses them.
    return blur_by_shifts(maps) if tf.config.list_physical_devices("GPU") else blur_by_matmul(maps)


def blur_by_shifts(maps):
    for axis in (-1, -2):
        window, side = _gaussian(maps.shape[axis]), maps.shape[axis]
        fits = side - len(window) + 1
        at = (lambda i: maps[..., i : i + fits]) if axis == -1 else (lambda i: maps[..., i : i + fits, :])
        maps = tf.add_n([float(weight) * at(i) for i, weight in enumerate(window)])
    return maps


def blur_by_matmul(maps):
    height, width = maps.shape[-2:]
    columns, rows = _band(width), _band(height)
    leading = tf.shape(maps)[:-2]
    # One large product and one batch of them: a fifth faster than broadcasting over all leading axes.
    maps = tf.matmul(tf.reshape(maps, (-1, width)), columns, transpose_b=True)
    maps = tf.matmul(rows, tf.reshape(maps, (-1, height, columns.shape[0])))
    return tf.reshape(maps, tf.concat([leading, maps.shape[1:]], 0))


def _band(side):
    """(side', side) constant matrix whose row i holds the window from column i on."""
    window = _gaussian(side)
    band = np.zeros((side - len(window) + 1, side), np.float32)
    for row in range(len(band)):
        band[row, row : row + len(window)] = window
    return tf.constant(band)
