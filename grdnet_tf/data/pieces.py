"""Pieces of real defects, cut out by their masks, as the noise pastes them: `defects.real`."""
from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np

from ..errors import InputError
from .decoding import load_image
from .files import BadImage, read_region
from .records import Record
from .regions import resized

MARGIN = 3  # pixels around the mask, for edges that are blurred


def load(records: Sequence[Record], image_size: Tuple[int, int], channels: int, depth: int,
         white: int = 0) -> np.ndarray:
    """(N, s, s, channels + 1) of `records` with masks: pictures, and in the last channel 0 or the highest value.

    Each is resized to `image_size`, as the pictures to train on are, and cut to its mask with a margin; s, odd, is what
    the largest needs. `depth` 8 gives uint8, 16 uint16. Raises: InputError naming a file that cannot be read.
    """
    dtype, cut = {8: np.uint8, 16: np.uint16}[depth], []
    peak = np.iinfo(dtype).max
    for record in records:
        try:
            mask = resized(read_region(record.mask), image_size)
        except BadImage as bad:
            raise InputError(str(bad)) from None
        picture = load_image(record.image, image_size, channels, white).numpy()
        spans = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
        box = tuple(slice(max(0, span[0] - MARGIN), span[-1] + 1 + MARGIN) for span in spans)
        cut.append((np.rint(picture[box] * peak).astype(dtype), mask[box].astype(dtype)[..., None] * dtype(peak)))
    side = max(max(mask.shape) for _, mask in cut) | 1
    pieces = np.empty((len(cut), side, side, channels + 1), dtype)
    for row, (picture, mask) in zip(pieces, cut):
        missing = [((side - length) // 2, (side - length + 1) // 2) for length in mask.shape[:2]] + [(0, 0)]
        row[...] = np.concatenate([np.pad(picture, missing, "edge"), np.pad(mask, missing)], -1)
    return pieces
