"""Counts of all pixels' scores, by truth and region, in memory that does not grow with the number of maps.

A pixel-wise ROC curve over 2,000 maps would sort 131 million scores. Here scores fall into at most 2^17 bins, and the
bins follow the data: every distinct float32 has one where the maps use few or narrow ranges of scores; where they use
all, each halving of the score, and of its distance to 1, is cut into some thousand.
"""
from typing import NamedTuple

import numpy as np

PAGES = 128               # at most; a page is a run of neighbouring bins, kept where there are scores
_PAGE_BITS = 10
_BINS = 1 << _PAGE_BITS   # of a page
_HALF = int(np.float32(0.5).view(np.int32))
_TOP = 2 * _HALF          # key of 1.0
_PENDING = 1 << 20        # pixels counted at once: one pass over all bins costs as much as half of them


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

    A score's key is its bit pattern as float32 up to 0.5 and, mirrored, that of 1 - score above: 1 - score is exact
    there, and both ends, where a sigmoid's scores crowd, keep the resolution that float32 has for them. A bin holds
    2^level neighbouring keys. The level is the least at which all scores seen fit into `pages`; when it rises, bins are
    added up in pairs, so that the outcome is the same as if it had been known before.
    """

    def __init__(self, pages=PAGES):
        self.pages = pages
        self.level = 0
        self.n_regions = self.n_regions_roi = 0
        self._ids = np.zeros(0, np.int64)                 # which pages are kept: id = key >> (level + _PAGE_BITS)
        self._slots = _no_slots(0)                        # id -> its first bin in the arrays below, -1: not kept
        self._counts = np.zeros((0, _BINS, 4), np.int64)  # the last axis: 2 * in ROI + defective
        self._weights = np.zeros((0, _BINS, 2))           # regions, regions cut by the ROI
        self._pending, self._shares, self._size = [], ([], []), 0

    def add(self, scores, truth=None, roi=None, regions=None, regions_roi=None):
        """Count one map.

        Args:
          scores: (H, W) float32 in [0, 1], no NaN.
          truth, roi: (H, W) in {0, 1} or None for none, everything.
          regions, regions_roi: (H, W) int labels of the ground truth's connected regions, whole and cut by the ROI; 0
            for none.
        """
        scores = np.ascontiguousarray(scores, np.float32)
        if not (scores.min() >= 0 and scores.max() <= 1):  # also False for NaN
            raise ValueError("scores must lie in [0, 1]")
        keys = _keys(scores)
        flags = np.full(scores.shape, 2, np.int8) if roi is None else (np.asarray(roi) != 0).astype(np.int8) * 2
        if truth is not None:
            flags += np.asarray(truth) != 0
        self._pending.append((keys.ravel(), flags.ravel()))
        for column, labels in enumerate((regions, regions_roi)):
            if labels is not None and labels.any():
                inside = labels > 0
                areas = np.bincount(labels[inside])
                self._shares[column].append((keys[inside], 1.0 / areas[labels[inside]]))
                found = int(np.count_nonzero(areas))
                self.n_regions += found * (column == 0)
                self.n_regions_roi += found * (column == 1)
        self._size += keys.size
        if self._size >= _PENDING:
            self._count()

    def merge(self, other):
        """Count all of `other`'s pixels here as well; `other` stays as it is."""
        self._count()
        other._count()
        while self.level < other.level:
            self._coarsen()
        keys = other._bin_keys().ravel()
        filled = other._counts.reshape(-1, 4).any(axis=1)
        if not filled.any():
            return
        self._make_pages(keys[filled])
        index = self._index(keys[filled])
        np.add.at(self._counts.reshape(-1, 4), index, other._counts.reshape(-1, 4)[filled])
        np.add.at(self._weights.reshape(-1, 2), index, other._weights.reshape(-1, 2)[filled])
        self.n_regions += other.n_regions
        self.n_regions_roi += other.n_regions_roi

    def cells(self):
        """What was counted, as `Cells`."""
        self._count()
        order = np.argsort(-self._ids)
        counts = self._counts[order, ::-1].reshape(-1, 4)
        filled = np.flatnonzero(counts.any(axis=1))
        counts, weights = counts[filled], self._weights[order, ::-1].reshape(-1, 2)[filled]
        score = _middle(self._bin_keys()[order, ::-1].reshape(-1)[filled], self.level)
        return Cells(score, counts[:, 0::2], counts[:, 1::2], weights[:, 0], weights[:, 1])

    def _count(self):
        """Bring what was added since into the bins."""
        if not self._pending:
            return
        index, start = np.empty(self._size, np.intp), 0
        for keys, _ in self._pending:
            self._make_pages(keys)
        for keys, flags in self._pending:  # map by map: a map's intermediate arrays stay in the processor's cache
            cell = self._index(keys)
            cell <<= 2
            cell += flags
            index[start:start + len(cell)] = cell
            start += len(cell)
        self._counts += np.bincount(index, minlength=self._counts.size).reshape(self._counts.shape)
        for column, parts in enumerate(self._shares):
            if parts:
                keys, shares = (np.concatenate(part) for part in zip(*parts))
                total = np.bincount(self._index(keys), shares, minlength=self._weights[..., 0].size)
                self._weights[..., column] += total.reshape(self._weights.shape[:2])
        self._pending, self._shares, self._size = [], ([], []), 0

    def _index(self, keys):
        """The bin of each key, counted through all kept pages; their pages must be kept."""
        index = keys >> self.level
        first = self._slots[index >> _PAGE_BITS]
        index &= _BINS - 1
        index += first
        return index

    def _make_pages(self, keys):
        """Keep a page for each key, at a coarser level if they are too many."""
        pages = keys >> (self.level + _PAGE_BITS)
        if self._slots[pages].min() >= 0:
            return
        wanted = self._slots >= 0
        wanted[pages] = True
        while np.count_nonzero(wanted) > self.pages:
            self._coarsen()
            wanted = np.append(wanted, np.zeros(len(wanted) % 2, bool)).reshape(-1, 2).any(axis=1)
        wanted[self._ids] = False
        new = np.flatnonzero(wanted)
        self._keep(np.concatenate([self._ids, new]), len(new))

    def _keep(self, ids, new=0):
        """Name the pages in the arrays by `ids`, the last `new` of them empty ones to come."""
        self._ids = ids.astype(np.int64)
        self._slots = _no_slots(self.level)
        self._slots[self._ids] = np.arange(len(ids)) << _PAGE_BITS
        if new:
            self._counts, self._weights = (np.concatenate([old, np.zeros((new, *old.shape[1:]), old.dtype)])
                                           for old in (self._counts, self._weights))

    def _coarsen(self):
        """Bins twice as wide: two pages become the halves of one."""
        ids, counts, weights = self._ids, self._counts, self._weights
        self.level += 1
        kept = np.unique(ids >> 1)
        self._counts, self._weights = self._counts[:0], self._weights[:0]
        self._keep(kept, len(kept))
        for old, new in ((counts, self._counts), (weights, self._weights)):
            halves = new.reshape(len(kept), 2, _BINS // 2, new.shape[-1])
            pairs = old.reshape(len(ids), _BINS // 2, 2, new.shape[-1])
            halves[self._slots[ids >> 1] >> _PAGE_BITS, ids & 1] = pairs.sum(axis=2)

    def _bin_keys(self):
        """(pages, bins): the first key of each bin."""
        return ((self._ids[:, None] << _PAGE_BITS) + np.arange(_BINS)) << self.level


def _no_slots(level):
    return np.full((_TOP >> (level + _PAGE_BITS)) + 1, -1, np.int32)


def _keys(scores):
    """Order-preserving integers of scores in [0, 1]: equal keys if and only if equal scores."""
    keys = np.minimum(scores, np.float32(1) - scores).view(np.int32)
    keys &= 0x7FFFFFFF  # -0.0 is 0
    upper = -(scores > 0.5).astype(np.int32)  # all bits set or none: `np.where` on random scores costs 5 times as much
    keys ^= upper                             # -1 - keys
    keys += upper & (_TOP + 1)                # _TOP - keys
    return keys


def _middle(keys, level):
    """The score in the middle of the bins that begin at `keys`; exact 0 and 1 stay."""
    keys = np.where((keys > 0) & (keys < _TOP), np.minimum(keys + ((1 << level) >> 1), _TOP), keys)
    upper = keys > _HALF
    small = np.where(upper, _TOP - keys, keys).astype(np.int32).view(np.float32).astype(np.float64)
    return np.where(upper, 1.0 - small, small)
