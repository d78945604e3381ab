"""One picture's paths; and as many as a set of shards has, made when they are asked for."""
from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from . import roi as rois

_WIDEST = 255  # bytes of a text in an array whose rows are all as long as the longest


class Record(NamedTuple):
    """One picture: paths, `label` (0 good, 1 defective) and the name of its folder. No `roi`: the whole picture.

    `roi.read_roi` reads either kind of ROI, that of a picture file and one that is drawn.
    """

    image: str
    mask: Optional[str]
    roi: Optional[rois.Source]
    label: int
    defect: str


class Kind(NamedTuple):
    """What is known of one usable record."""
    size: Tuple[int, int]
    channels: int
    depth: int
    peak: int
    soft: List[str]  # the mask or ROI, where it is


class Records(Sequence):
    """`Record`s of some `rows` (n,) int32 of a `shards.Table`, all by default: 4 bytes each, in a list they take 700."""

    def __init__(self, table, rows: Optional[np.ndarray] = None):
        self.table, self.rows = table, np.arange(len(table), dtype=np.int32) if rows is None else rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        if isinstance(index, slice) or np.ndim(index):
            return Records(self.table, self.rows[index])
        return self._record(int(self.rows[index]))

    def __iter__(self):
        return (self._record(int(row)) for row in self.rows)

    def __add__(self, other):
        return [*self, *other] if len(other) else self

    def __radd__(self, other):
        return [*other, *self] if len(other) else self

    def __eq__(self, other):
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None

    def _record(self, row):
        defect = self.table.defect(row)
        return Record(*(self.table.path(row, part) for part in ("image", "mask", "roi")), int(defect != "good"), defect)


def chosen(records: Sequence, indices: np.ndarray) -> Sequence:
    """Those at the `indices`, in that order."""
    return records[indices] if isinstance(records, Records) else [records[i] for i in indices]


def having(records: Sequence, part: str) -> int:
    """How many have a "mask" or a "roi"."""
    if isinstance(records, Records):
        return int(np.count_nonzero(records.table.places[part][records.rows, 1]))
    return sum(1 for record in records if getattr(record, part))


def evenly(records: Sequence, count: int) -> list:
    """At most `count` of the records, evenly out of all, in their order."""
    chosen = np.unique(np.linspace(0, len(records) - 1, count).astype(int)) if records else ()
    return [records[i] for i in chosen]


def kinds_of(records: Records, white: int) -> List[Kind]:
    """Kinds that `summed` makes of them what it would make of all; none where one of them is bad, or another colour."""
    sizes, depths, channels, peaks = (records.table.columns[name][records.rows]
                                      for name in ("sizes", "depths", "channels", "peaks"))
    if not len(sizes) or channels.min() < channels.max() or white and (
            white > 255 and depths.min() == 8 or records.table.resized and peaks.max() > white):
        return []
    depth = depths.max()
    peak, sizes = peaks[depths == depth].max(), np.unique(sizes.astype(np.int64) @ [2**32, 1])
    return [Kind((int(size >> 32), int(size % 2**32)), int(channels[0]), int(depth), int(peak), []) for size in sizes]


# Texts by the million ------------------------------------------------------------------------------------------------


def packed(texts: Sequence[str]) -> np.ndarray:
    """(n,) bytes objects or fixed-width bytes, in whose order texts sort as they do themselves."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return np.array(encoded, object if max(map(len, encoded), default=0) > _WIDEST else np.bytes_)


def unpacked(texts: np.ndarray) -> List[str]:
    return [text.decode("utf-8", "surrogatepass") for text in texts.tolist()]
