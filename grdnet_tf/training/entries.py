"""The pictures in a run's record: texts for whoever reads one, columns for as many as there may be."""
import itertools
from collections.abc import Sequence
from typing import Iterable, List, NamedTuple, Optional

import numpy as np

from ..data.record import packed, unpacked

_AT_ONCE = 65_536
_NONE = np.zeros(32, np.uint8)  # where there is no ROI


class Entry(NamedTuple):
    """A picture's path, with "/"; its file's SHA-256; what became of it; its ROI's, of a defect its mask's.

    The path is relative to the data folder, of a picture that lies outside absolute.
    """
    name: str
    sha256: str
    part: str
    roi_sha256: Optional[str] = None


class Rows:
    """Some rows of an array, copied when they are asked for."""

    def __init__(self, array: np.ndarray, rows: np.ndarray):
        self.array, self.rows = array, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index: slice) -> np.ndarray:
        return self.array[self.rows[index]]


class Block(NamedTuple):
    """Pictures of one part, each column an array or `Rows`: names as of `packed`; SHA-256 (n, 32) uint8, 0 for none."""
    part: str
    names: Sequence
    sha256: Sequence
    roi_sha256: Sequence


class Entries(Sequence):
    """What a list of `Entry` is, in columns: of pictures in shards nothing beside their table, else 100 bytes each."""

    def __init__(self, blocks: Iterable[Block]):
        self.blocks = [block for block in blocks if len(block.names)]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Entries":
        """Raises ValueError for a digest that is none, TypeError for what is no text."""
        if isinstance(entries, Entries):
            return entries
        blocks, entries = [], iter(entries)
        while True:
            some = list(itertools.islice(entries, _AT_ONCE))
            if not some:
                return cls(blocks)
            for part, alike in itertools.groupby(some, lambda entry: entry.part):
                names, sha256, _, rois = zip(*alike)
                blocks.append(Block(part, packed(names), digests(sha256), digests(rois)))

    def __len__(self):
        return sum(len(block.names) for block in self.blocks)

    def __getitem__(self, index):
        for block in self.blocks:
            if 0 <= index < len(block.names):
                return next(_entries(block, index))
            index -= len(block.names)
        raise IndexError

    def __iter__(self):
        return itertools.chain.from_iterable(map(_entries, self.blocks))

    def __add__(self, other):
        return Entries(self.blocks + Entries.of(other).blocks)

    def __eq__(self, other):
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other))

    __hash__ = None

    def of_parts(self, parts) -> List[Block]:
        return [block for block in self.blocks if block.part in parts]


def _entries(block, start=0):
    """Its `Entry`s from `start` on."""
    for begin in range(start, len(block.names), _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        names, sha256, rois = unpacked(block.names[some]), block.sha256[some], block.roi_sha256[some]
        given = rois.any(axis=1).tolist()
        hexes, roi_hexes = sha256.tobytes().hex(), rois.tobytes().hex() if any(given) else ""
        for i, name in enumerate(names):
            at = slice(64 * i, 64 * i + 64)
            yield Entry(name, hexes[at], block.part, roi_hexes[at] if given[i] else None)


def digests(hexes: Sequence[Optional[str]]) -> np.ndarray:
    """(n, 32) uint8 of SHA-256, zeros for None. Raises ValueError for what is none."""
    if not any(hexes):
        return np.broadcast_to(_NONE, (len(hexes), 32))
    texts = [text or "0" * 64 for text in hexes]
    if set(map(len, texts)) != {64}:
        raise ValueError
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint8).reshape(-1, 32)
