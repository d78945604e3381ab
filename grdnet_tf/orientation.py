"""How a product lies, measured on its good pictures: the turns and flips that one could not tell from other good ones.

Augmentation beyond them shows pictures that never come (a vial upside down), and what is one, the network no longer
finds. No TensorFlow: a few seconds before a run.
"""
from __future__ import annotations

import math
from typing import NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from .image_files import read_picture

PICTURES = 64     # looked at, evenly out of all
FEWEST = 8        # of which a mean says something
TOLD_APART = 0.9  # share of the pairs (a picture as it is, a changed one) in which the first is more like the mean
ANGLES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, math.pi / 2, 2.2, math.pi)  # rad
_LONG, _COARSE = 96, 32  # pixels of the long side: turned at the first, compared at the second, where a turn's blur is none


class Orientation(NamedTuple):
    """What augmentation may do: `rotation` is the largest turn each way, in rad."""
    rotation: float
    flip_horizontal: bool
    flip_vertical: bool


def measure(records: Sequence, image_size: Tuple[int, int], limits: Orientation) -> Orientation:
    """As much of `limits` as the good pictures of `records` vary by themselves; `limits` where they are too few.

    A picture is like the mean of the others by the correlation of their greys. A change is natural if changed pictures
    are so little less like it than unchanged ones that the AUROC of telling the two apart is at most `TOLD_APART`.
    """
    if len(records) < FEWEST:
        return limits
    chosen = np.unique(np.linspace(0, len(records) - 1, PICTURES).astype(int))
    pictures = np.stack([_small(read_picture(records[i].image), image_size) for i in chosen])
    own = _standardised(pictures)
    total = own.sum(0)
    likeness = (own * (total - own)).sum(1)  # of each picture to the mean of the others

    def natural(changed):
        other = (_standardised(changed) * (total - own)).sum(1)
        return (likeness[:, None] > other).mean() + 0.5 * (likeness[:, None] == other).mean() <= TOLD_APART

    rotation = 0.0
    for angle in sorted({limits.rotation, *(a for a in ANGLES if a < limits.rotation)}):
        if not (natural(_turned(pictures, angle)) and natural(_turned(pictures, -angle))):
            break
        rotation = angle
    return Orientation(rotation, limits.flip_horizontal and bool(natural(pictures[:, :, ::-1])),
                       limits.flip_vertical and bool(natural(pictures[:, ::-1])))


def _small(pixels, image_size):
    """(h, w) float32, grey, of the aspect that `image_size` (H, W) has."""
    height, width = _sides(image_size, _LONG)
    return cv2.resize(pixels.astype(np.float32).mean(axis=2), (width, height), interpolation=cv2.INTER_AREA)


def _sides(size, longest):
    return [max(1, round(side * longest / max(size))) for side in size]


def _standardised(pictures):
    """(N, pixels): coarse greys of mean 0 and length 1, so that a product of two is their correlation."""
    height, width = _sides(pictures.shape[1:], _COARSE)
    flat = np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures])
    flat = flat.reshape(len(pictures), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _turned(pictures, angle):
    height, width = pictures.shape[1:]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), math.degrees(angle), 1.0)
    return np.stack([cv2.warpAffine(p, turn, (width, height), borderMode=cv2.BORDER_REFLECT) for p in pictures])
