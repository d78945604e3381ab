"""Which good pictures are held out of training: a share drawn at random, or of whole parts.

Of a part that was photographed several times, a picture held out has its likes among those trained on: whatever
learns good pictures by heart knows it, and a threshold fitted on it promises too much for parts that are new. No
TensorFlow.
"""
from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Optional, Sequence, Tuple

import numpy as np

from ..console import Progress
from ..errors import InputError
from . import likeness
from .files import read_picture
from .record import Record, chosen

SAME_PART = 0.15  # of the usual distance between two good pictures: nearer ones show one part
MOST = 2000       # pictures, above which each is not compared with every other


def hold_out(records: Sequence[Record], share: float, seed: int,
             parts: Optional[np.ndarray] = None) -> Tuple[Sequence[Record], Sequence[Record]]:
    """Splits off `share` of `records` for validation: (train, held_out), each in the given order.

    A pure function of the number of records, `share`, `seed` and `parts` (hashes, not a generator whose stream may
    change with a version), so that a run on another machine holds out the same pictures. At least one is held out and
    at least one is left.

    `parts` (N,), as of `parts_shown`: whole ones are held out, as of `whole_parts`; where there are none to speak of,
    pictures are drawn as without.
    """
    if not 0 < share < 1:
        raise InputError(f"share of held-out pictures is {share}, expected more than 0 and less than 1")
    if len(records) < 2:
        raise InputError(f"{len(records)} training picture(s): at least 2 are needed, one of them to validate on")
    held = np.zeros(len(records), bool) if parts is None else whole_parts(parts, share, seed)
    if not held.any():
        held[_drawn(len(records), seed)[:_wanted(len(records), share)]] = True
    return chosen(records, np.flatnonzero(~held)), chosen(records, np.flatnonzero(held))


def whole_parts(parts: np.ndarray, share: float, seed: int) -> np.ndarray:
    """(N,) bool: the pictures of the `parts` (N,) to hold out, in the order in which their first pictures are drawn, as
    long as they fit into the `share`. None where those that fit make less than half of it."""
    held, count = np.zeros(len(parts), bool), _wanted(len(parts), share)
    sizes, left = np.bincount(parts, minlength=1), count
    for part in dict.fromkeys(parts[_drawn(len(parts), seed)].tolist()):
        if sizes[part] <= left:
            held[parts == part] = True
            left -= sizes[part]
    return held if left <= count / 2 else np.zeros(len(parts), bool)


def _wanted(count, share):
    return min(max(1, round(share * count)), count - 1)


def _drawn(count, seed):
    """(N,): 0 to N - 1 in an order that `seed` says."""
    digests = bytearray()
    for i in range(count):
        digests += hashlib.sha256(f"{seed}:{i}".encode()).digest()[:16]  # no two alike
    return np.lexsort(np.frombuffer(digests, ">u8").reshape(-1, 2).T[::-1])


def parts_shown(records: Sequence[Record], image_size: Tuple[int, int]) -> Optional[np.ndarray]:
    """(N,) whole numbers from 0: which part each good picture shows, as far as their likeness tells.

    The distance of two pictures is 1 less their correlation (`likeness`); pictures nearer than `SAME_PART` of the
    median distance show one part, and so does a chain of them. A product that lies at any angle is one long chain, and
    none of its pictures is stranger than the others; one whose pictures differ as much as they are alike has as many
    parts as pictures. With N pictures N^2 / 2 comparisons, 5 s for 800 and 36 s for 2,000. None above `MOST` pictures.
    Raises BadImage.
    """
    if len(records) > MOST:
        return None
    if len(records) < 2:
        return np.zeros(len(records), int)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pictures = np.stack(list(pool.map(lambda one: likeness.small(read_picture(one.image), image_size), records)))
    spectra, side = likeness.spectra(pictures), pictures.shape[1:3]
    progress = Progress("pictures compared with all others")
    distances = np.zeros((len(records), len(records)), np.float32)
    for i, spectrum in enumerate(spectra[:-1]):
        distances[i, i + 1:] = 1 - likeness.correlations(spectrum, spectra[i + 1:], side)
        progress(i + 1, len(records) - 1)
    usual = np.median(distances[np.triu_indices(len(records), 1)])
    near = (distances + distances.T) < SAME_PART * usual
    return _chains(near)


def _chains(near):
    """(N,): number of the connected component of each of N that are `near` (N, N) each other."""
    number = np.full(len(near), -1)
    for first in range(len(near)):
        reached = [first] if number[first] < 0 else []
        label = number.max() + 1
        while reached:
            one = reached.pop()
            if number[one] < 0:
                number[one] = label
                reached.extend(np.flatnonzero(near[one] & (number < 0)))
    return number
