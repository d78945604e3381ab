"""How far is each patch of a picture from the nearest patch of any good part? (PatchCore, Roth et al. 2022)

    patches of good parts -> candidates, drawn at random -> coreset, by k-centre greedy selection -> the bank
    distance of a patch: to the nearest in the bank, exactly
    score: d* (1 - exp(d*) / sum over the b neighbours m of m* of exp(|x* - m|)), x* the patch farthest from the bank,
           m* its nearest there, d* their distance (eq. 7)
"""
from typing import Callable, Dict

import numpy as np
import tensorflow as tf

from ..errors import InputError
from .detector import FeatureDetector, inside

CHUNK = 2048  # vectors of the bank that are compared at once: bounds memory


def fit(features, batches, *, share=0.1, candidates=50_000, projection=64, neighbours=9, seed=0,
        progress: Callable = lambda done, total: None) -> Dict[str, np.ndarray]:
    """The arrays of `PatchCore` from one pass over `batches` {"image" (B, H, W, C), "roi" (B, H, W, 1)}.

    Patches outside a picture's ROI are left out. A position that no ROI covers is not `known`.

    Args:
      features: `features.Features`.
      share: of the candidates that is kept in the bank.
      candidates: patches, drawn at random of all, that the bank is chosen of: memory is bounded by them.
      projection: numbers a patch is projected to at random while the bank is chosen; 0: none.
      neighbours: b.
      progress: called with (chosen, to choose).

    Raises: InputError where no ROI covers anything, or a feature is not finite.
    """
    rng = np.random.default_rng(seed)
    see = tf.function(lambda images, roi: (features(images), inside(roi, features.strides[0])), reduce_retracing=True)
    found, draws, known = np.zeros((0, features.channels), np.float32), np.zeros(0), np.float32(0)
    for batch in batches:
        patches, seen = (part.numpy() for part in see(batch["image"], batch["roi"]))
        known = np.maximum(known, seen.max(axis=0))
        patches = patches[seen > 0]
        found, draws = np.concatenate([found, patches]), np.concatenate([draws, rng.random(len(patches))])
        if len(found) > candidates:  # those of the smallest draws are a fair sample of all that were seen
            lowest = np.sort(np.argpartition(draws, candidates)[:candidates])
            found, draws = found[lowest], draws[lowest]
    if not len(found):
        raise InputError("the region of interest covers nothing of any training picture")
    if not np.isfinite(found).all():
        raise InputError("a feature of the training pictures is not finite; the backbone's weights cannot be used")
    centre = found.mean(axis=0)
    found -= centre
    bank = found[coreset(found, max(1, round(share * len(found))), projection, rng, progress)]
    spread = np.sqrt(np.square(found).sum(axis=1).mean())
    return {"centre": centre, "bank": bank, "near": nearest(bank, min(neighbours, len(bank))),
            "known": known, "scale": np.float32(spread or 1.0)}


def coreset(vectors, count, projection, rng, progress=lambda done, total: None) -> np.ndarray:
    """Indices of `count` of the `vectors` (N, C): a random one, then always the one farthest from all chosen.

    Fewer where the others only repeat what is chosen.
    """
    if 0 < projection < vectors.shape[1]:
        vectors = vectors @ (rng.normal(size=(vectors.shape[1], projection)) / np.sqrt(projection)).astype(np.float32)
    squares = np.square(vectors).sum(axis=1)
    chosen, distance = [int(rng.integers(len(vectors)))], np.full(len(vectors), np.inf, np.float32)
    while len(chosen) < count:
        last = chosen[-1]
        np.minimum(distance, squares - 2 * (vectors @ vectors[last]) + squares[last], out=distance)
        distance[last] = 0
        farthest = int(np.argmax(distance))
        if distance[farthest] <= 1e-6 * squares[farthest]:  # rounding, not distance
            break
        chosen.append(farthest)
        if len(chosen) % 100 == 0 or len(chosen) == count:
            progress(len(chosen), count)
    return np.array(chosen)


def nearest(bank, count) -> np.ndarray:
    """(M, count) int32: the nearest vectors in the bank of each of its vectors, itself first."""
    squares, found = np.square(bank).sum(axis=1), []
    for start in range(0, len(bank), CHUNK):
        distance = squares - 2 * bank[start:start + CHUNK] @ bank.T
        distance[np.arange(len(distance)), start + np.arange(len(distance))] = -np.inf  # itself, whatever rounding says
        found.append(np.argsort(distance, axis=1, kind="stable")[:, :count])
    return np.concatenate(found).astype(np.int32)


class PatchCore(FeatureDetector):
    """Arguments as of `FeatureDetector`; the arrays are `fit`'s. Positions that are not known count as good, in pictures of
    `image_size`. Before `set_scale` s is the distance of a typical patch from the mean of all.
    """

    score_pool = None

    def __init__(self, *arguments, name="patchcore", **options):
        super().__init__(*arguments, name=name, **options)

    def distances(self, features):
        x = self._centred(features)
        bank, least = tf.convert_to_tensor(self.fitted.bank), None
        squares = tf.reduce_sum(tf.square(bank), axis=1)
        for start in range(0, bank.shape[0], CHUNK):
            part = np.s_[start:start + CHUNK]
            found = tf.reduce_min(squares[part] - 2 * tf.matmul(x, bank[part], transpose_b=True), axis=1)
            least = found if least is None else tf.minimum(least, found)
        d = tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(x), axis=1) + least, 0))
        return tf.reshape(d, (-1, *features.shape[1:3]))

    def score(self, features, distances, anomaly_map, roi):
        """Eq. 7, scaled as the map; of the patches that the ROI covers some of."""
        distances = self.of_known(distances + 1e-6)  # in good pictures too one that is known is the farthest
        if roi is not None:
            distances *= inside(roi, self.backbone.strides[0])
        count = features.shape[1] * features.shape[2]
        flat = tf.reshape(distances, (-1, count))
        farthest = tf.argmax(flat, axis=1, output_type=tf.int32)  # (B,)
        x = tf.gather(self._centred(features), farthest + count * tf.range(tf.shape(farthest)[0]))  # (B, C)
        bank = tf.convert_to_tensor(self.fitted.bank)
        to_bank = tf.reduce_sum(tf.square(bank), axis=1) - 2 * tf.matmul(x, bank, transpose_b=True)
        near = tf.gather(self.fitted.near, tf.argmin(to_bank, axis=1, output_type=tf.int32))  # (B, b)
        apart = tf.sqrt(tf.reduce_sum(tf.square(x[:, None] - tf.gather(bank, near)), axis=2))
        score = apart[:, 0]
        if near.shape[1] > 1:
            score *= 1.0 - tf.nn.softmax(apart, axis=1)[:, 0]
        if roi is not None:
            score = tf.where(tf.reduce_max(flat, axis=1) > 0, score, 0.0)
        return self.scaled(score)

    def _centred(self, features):
        """(B, h, w, C) -> (B h w, C), far from no vector by their common mean: squares of large numbers cancel."""
        return tf.reshape(features, (-1, features.shape[-1])) - self.fitted.centre
