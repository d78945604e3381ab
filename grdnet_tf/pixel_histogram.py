"""Counts of all pixels' scores, by truth and region, in memory that does not grow with the number of maps.

A pixel-wise ROC curve over 2,000 maps would sort 131 million scores. Here scores fall into at most 2^17 bins, and the
bins follow the data: fine enough to hold every distinct float32 apart where the maps use a narrow range, 2^11 to 2^12
bins for each halving of the score, and of its distance to 1, where they use all of it.
"""
from typing import NamedTuple

import numpy as np

BINS = 1 << 17
_HALF = int(np.float32(0.5).view(np.int32))
_TOP = 2 * _HALF          # key of 1.0
_PENDING = 1 << 20        # pixels counted at once: one pass over the bins costs as much as half of them


class Cells(NamedTuple):
    """What a histogram holds, highest score first, one row a bin that is not empty.

    `score` (n,): the middle of each bin. `good`, `defective` (n, 2): pixels by truth, outside and inside the ROI.
    `regions`, `regions_roi` (n,): the sum over ground-truth regions of the share of the region's pixels in the bin; the
    second cuts regions by the ROI first.
    """
    score: np.ndarray
    good: np.ndarray
    defective: np.ndarray
    regions: np.ndarray
    regions_roi: np.ndarray


class PixelHistogram:
    """Add maps in any order and number; read `cells` at the end. The result does not depend on the order.

    A bin's key is the float32's bit pattern for a score up to 0.5, and mirrored, that of 1 - score, above: 1 - score is
    exact there, and both ends, where a sigmoid's scores crowd, get the resolution that float32 has for them. All keys are
    shifted right by `level` bits, the least for which the range seen so far fits into the bins; exact 0 and exact 1 have
    bins of their own. When the range grows, neighbouring bins are added up, which loses nothing but resolution.
    """

    def __init__(self, bins=BINS):
        self.bins = bins
        self.n_regions = self.n_regions_roi = 0
        self.level = self.base = 0            # of the first bin behind the one of exact 0
        self.low, self.high = None, None      # keys seen, without 0 and _TOP
        self.counts = np.zeros((3, 4), np.int64)      # columns: 2 * in ROI + defective
        self.weights = np.zeros((3, 2), np.float64)   # columns: regions, regions cut by the ROI
        self._pending, self._size = [], 0

    def add(self, scores, truth=None, roi=None, regions=None, regions_roi=None):
        """Count one map.

        Args:
          scores: (H, W) float32 in [0, 1], no NaN.
          truth, roi: (H, W) in {0, 1} or None for none, everything.
          regions, regions_roi: (H, W) int labels of connected ground-truth regions, 0 for none, whole and cut by the ROI.
        """
        scores = np.ascontiguousarray(scores, np.float32)
        if not (scores.min() >= 0 and scores.max() <= 1):  # also False for NaN
            raise ValueError("scores must lie in [0, 1]")
        keys = _keys(scores)
        flags = np.full(scores.shape, 2, np.int8) if roi is None else (np.asarray(roi) != 0).astype(np.int8) * 2
        if truth is not None:
            flags += np.asarray(truth) != 0
        self._widen(keys)
        self._pending.append((keys.ravel(), flags.ravel()))
        self._size += keys.size
        for column, labels in enumerate((regions, regions_roi)):
            if labels is not None and labels.any():
                self._weigh(column, keys, labels)
        if self._size >= _PENDING:
            self._count()

    def merge(self, other):
        """Count all of `other`'s pixels here as well; `other` stays as it is."""
        other._count()
        self._count()
        if other.low is not None:
            self._span(other.low, other.high)
        mine = self._bin(other._keys_of_bins())
        np.add.at(self.counts, mine, other.counts)
        np.add.at(self.weights, mine, other.weights)
        self.n_regions += other.n_regions
        self.n_regions_roi += other.n_regions_roi

    def cells(self):
        """What was counted, as `Cells`."""
        self._count()
        rows = np.flatnonzero(self.counts.any(axis=1))[::-1]
        counts, weights = self.counts[rows], self.weights[rows]
        return Cells(_score(self._keys_of_bins()[rows], self.level), counts[:, 0::2], counts[:, 1::2],
                     weights[:, 0], weights[:, 1])

    def _widen(self, keys):
        inner = keys
        if keys.min() == 0 or keys.max() == _TOP:
            inner = keys[(keys > 0) & (keys < _TOP)]
        if inner.size:
            self._span(int(inner.min()), int(inner.max()))

    def _span(self, low, high):
        """Make the bins reach from key `low` to key `high`, coarser if they must."""
        low = low if self.low is None else min(low, self.low)
        high = high if self.high is None else max(high, self.high)
        if (low, high) == (self.low, self.high):
            return
        old = self._keys_of_bins()
        level = self.level
        while (high >> level) - (low >> level) >= self.bins:
            level += 1
        self.low, self.high, self.level, self.base = low, high, level, low >> level
        rows = (high >> level) - self.base + 3
        counts, weights = self.counts, self.weights
        self.counts, self.weights = np.zeros((rows, 4), np.int64), np.zeros((rows, 2), np.float64)
        if counts.any():
            target, first = np.unique(self._bin(old), return_index=True)  # old bins are sorted, so are their new ones
            self.counts[target] = np.add.reduceat(counts, first)
            self.weights[target] = np.add.reduceat(weights, first)

    def _bin(self, keys):
        index = keys >> self.level
        index -= self.base - 1
        return np.clip(index, 0, len(self.counts) - 1, out=index)  # exact 0 and 1 lie beyond the ends

    def _keys_of_bins(self):
        keys = np.arange(self.base - 1, self.base + len(self.counts) - 1, dtype=np.int64) << self.level
        keys[0], keys[-1] = 0, _TOP
        return keys

    def _count(self):
        if self._pending:
            keys, flags = (np.concatenate(parts) for parts in zip(*self._pending))
            index = self._bin(keys).astype(np.intp)
            index <<= 2
            index += flags
            self.counts += np.bincount(index, minlength=self.counts.size).reshape(-1, 4)
            self._pending, self._size = [], 0

    def _weigh(self, column, keys, labels):
        inside = labels > 0
        labels = labels[inside]
        areas = np.bincount(labels)
        share = 1.0 / areas[labels]
        self.weights[:, column] += np.bincount(self._bin(keys[inside]), share, len(self.weights))
        found = int(np.count_nonzero(areas))
        if column == 0:
            self.n_regions += found
        else:
            self.n_regions_roi += found


def _keys(scores):
    """Order-preserving integers of scores in [0, 1]: equal keys if and only if equal scores."""
    keys = np.minimum(scores, np.float32(1) - scores).view(np.int32)
    keys &= 0x7FFFFFFF  # -0.0 is 0
    upper = -(scores > 0.5).astype(np.int32)  # all bits set or none: `np.where` on random scores costs 5 times as much
    keys ^= upper                             # -1 - keys
    keys += upper & (_TOP + 1)                # _TOP - keys
    return keys


def _score(keys, level):
    """The middle of the bins that begin at `keys`."""
    keys = np.where((keys > 0) & (keys < _TOP), keys + ((1 << level) >> 1), keys)
    upper = keys > _HALF
    small = np.where(upper, _TOP - keys, keys).astype(np.int32).view(np.float32).astype(np.float64)
    return np.where(upper, 1.0 - small, small)
