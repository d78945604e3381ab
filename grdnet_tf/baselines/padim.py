"""How far is each place of a picture from what good parts show there? (PaDiM, Defard et al. 2021)

At every position of the grid the features of good parts are taken for a Gaussian; the distance is Mahalanobis':

    d^2 = (x - mean)' C^-1 (x - mean) = |(x - mean) L'^-1|^2,   C = covariance + ridge I = L L'

The channels may be drawn into groups that are taken to vary independently: d^2 is the sum of theirs, and of g groups the
matrices are a g-th of the size, and better known where there are fewer pictures than channels.

The fit keeps sums, not features: its memory does not grow with the number of pictures. Where the region of interest of m
pictures does not cover a position, its covariance is that of the n others, in which m pictures of the average position's
spread P were seen too, C = (scatter + m P) / (n + m - 1) + ridge I: few pictures alone would have no spread in most
directions, and anything beside them would be infinitely far away.
"""
from typing import Dict

import numpy as np
import tensorflow as tf

from ..errors import InputError
from .detector import FeatureDetector, inside

ROWS = 64  # positions whose covariances are inverted at once


def fit(features, batches, *, ridge=0.01, channels=0, groups=1, seed=0) -> Dict[str, np.ndarray]:
    """The arrays of `PaDiM` from one pass over `batches` {"image" (B, H, W, C), "roi" (B, H, W, 1)}.

    Positions of a picture outside its ROI do not count. A position that no ROI covers is not `known`.

    Args:
      features: `features.Features`.
      ridge: added to the covariance's diagonal, and all there is of it after one picture.
      channels: kept of the features', drawn by `seed`; 0: all.
      groups: of equally many channels, drawn by `seed`; what would be over is not kept.

    Raises: InputError where no ROI covers anything, a feature is not finite, or there are fewer channels than groups.
    """
    kept = grouped(features.channels, channels, groups, seed)
    n = sums = products = shift = None
    pictures = 0

    @tf.function(reduce_retracing=True)
    def summed(images, roi, shift):
        x, seen = _positions(features(images), kept), inside(roi, features.strides[0])
        seen = tf.transpose(tf.reshape(seen, (tf.shape(seen)[0], -1)))[:, None, :, None]  # (P, 1, B, 1)
        x = (x - shift) * seen
        return tf.reduce_sum(seen, axis=[1, 2, 3]), tf.reduce_sum(x, axis=2), tf.matmul(x, x, transpose_a=True)

    for batch in batches:
        if shift is None:  # sums of squares far from 0 would cancel
            shift = tf.reduce_mean(_positions(features(batch["image"]), kept), axis=[0, 2])[:, None]  # (g, 1, c)
        pictures += len(batch["image"])
        found = [part.numpy() for part in summed(batch["image"], batch["roi"], shift)]
        if n is None:
            n, sums, products = (part.astype(np.float64) for part in found)
            grid = [side // features.strides[0] for side in batch["image"].shape[1:3]]
        else:
            for total, part in zip((n, sums, products), found):
                total += part
    if not n.any():
        raise InputError("the region of interest covers nothing of any training picture")
    if not np.isfinite(products).all():
        raise InputError("a feature of the training pictures is not finite; the backbone's weights cannot be used")
    mean = sums / np.maximum(n, 1)[:, None, None]  # (P, g, c)
    parts = [np.s_[start:start + ROWS] for start in range(0, len(n), ROWS)]
    for part in parts:  # products become scatter
        products[part] -= n[part, None, None, None] * mean[part, :, :, None] * mean[part, :, None]
    average = products.sum(axis=0) / max(np.maximum(n - 1, 0).sum(), 1)
    whitening = np.empty(products.shape, np.float32)
    for part in parts:
        missing = (pictures - n[part])[:, None, None, None]
        covariance = (products[part] + missing * average) / max(pictures - 1, 1) + ridge * np.eye(kept.shape[1])
        whitening[part] = np.linalg.inv(np.linalg.cholesky(covariance)).transpose(0, 1, 3, 2)
    found = {"kept": kept, "mean": (mean + shift.numpy()[:, 0]).astype(np.float32), "whitening": whitening}
    if groups == 1:  # has no axis of its own, as before there were groups
        found = {name: np.squeeze(array, 0 if name == "kept" else 1) for name, array in found.items()}
    return {**found, "known": (n > 0).reshape(grid).astype(np.float32), "scale": np.float32(np.sqrt(kept.size))}


def grouped(there: int, channels=0, groups=1, seed=0) -> np.ndarray:
    """(groups, c) int32: which of the channels that are `there`, each once, of no more than `channels` (0: all)."""
    each = min(channels or there, there) // groups
    if not each:
        raise InputError(f"features.groups = {groups}: more than the {min(channels or there, there)} channels")
    drawn = np.random.default_rng(seed).permutation(there)[:groups * each]
    return np.sort(drawn.reshape(groups, each)).astype(np.int32)


class PaDiM(FeatureDetector):
    """Arguments as of `FeatureDetector`; the arrays are `fit`'s. Positions that are not known count as good.

    Before `set_scale` s is the root of the number of channels: the distance of a typical good part.
    """

    one_size = True

    def __init__(self, *arguments, name="padim", **options):
        super().__init__(*arguments, name=name, **options)

    def distances(self, features):
        kept, whitening = self.fitted.kept, tf.convert_to_tensor(self.fitted.whitening)
        if len(kept.shape) == 1:
            kept, whitening = tf.convert_to_tensor(kept)[None], whitening[:, None]
        x = _positions(features, kept) - tf.reshape(self.fitted.mean, (-1, kept.shape[0], 1, kept.shape[1]))
        d = tf.sqrt(tf.reduce_sum(tf.square(tf.matmul(x, whitening)), axis=[1, 3]))  # (P, B), over groups and channels
        return tf.reshape(tf.transpose(d), (-1, *features.shape[1:3]))


def _positions(features, kept):
    """(B, h, w, C) -> (h w, g, B, c): of the channels those that are `kept`, (g, c)."""
    groups, each = kept.shape
    if groups > 1 or each < features.shape[-1]:
        features = tf.gather(features, tf.reshape(kept, [-1]), axis=-1)
    _, height, width, _ = features.shape
    return tf.transpose(tf.reshape(features, (-1, height * width, groups, each)), (1, 2, 0, 3))
