"""How far good pictures are turned and mirrored: turns and flips by which a picture stays one of them.

Augmentation beyond them shows pictures that never come (a vial upside down), and what is one, the network no longer
finds. Where it lies in the picture plays no part; nor does a ROI. No TensorFlow: some seconds before a run.
"""
from __future__ import annotations

import math
from typing import NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from . import likeness
from .files import read_picture
from .records import evenly

PICTURES = 64     # looked at, evenly out of all
FEWEST = 8        # of which nothing can be said with less
NEIGHBOURS = 5    # a picture belongs to the good ones as much as it is like the nearest of them
TOLD_APART = 0.9  # AUROC from which changed pictures count as no longer among the good ones
ANGLES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, math.pi / 2, 2.2, math.pi)  # rad
_LONG = 96  # pixels of the long side: turned at this, compared at `likeness.COARSE`, where no turn blurs
_BORDERS = {"reflect": cv2.BORDER_REFLECT, "constant": cv2.BORDER_CONSTANT, "nearest": cv2.BORDER_REPLICATE,
            "wrap": cv2.BORDER_WRAP}


class Orientation(NamedTuple):
    """What augmentation may do: `rotation` is the largest turn each way, in rad."""
    rotation: float
    flip_horizontal: bool
    flip_vertical: bool


def measure(records: Sequence, image_size: Tuple[int, int], limits: Orientation, border="reflect") -> Orientation:
    """As much of `limits` as good pictures vary by themselves; `limits` where `records` are fewer than `FEWEST`.

    The likeness of a picture to another one is their highest correlation over all shifts; to the good ones, its mean
    over the `NEIGHBOURS` most alike, the picture's own original left out. A change may be made if the AUROC of telling
    changed pictures from good ones by it is at most `TOLD_APART`; 0.5 is no difference. So turns go from half as far to
    twice as far as the product's own, the less the pictures differ otherwise the shorter. Each change is judged alone.
    `border` is that of the augmentation. Raises BadImage.
    """
    if len(records) < FEWEST:
        return limits
    pictures = np.stack([likeness.small(read_picture(record.image), image_size, _LONG)
                         for record in evenly(records, PICTURES)])
    good = likeness.spectra(pictures)
    own = _likeness(pictures, good)

    def natural(changed):
        other = _likeness(changed, good)
        return (own[:, None] > other).mean() + 0.5 * (own[:, None] == other).mean() <= TOLD_APART

    rotation = 0.0
    for angle in sorted({limits.rotation, *(a for a in ANGLES if a < limits.rotation)}):
        if not (natural(_turned(pictures, angle, border)) and natural(_turned(pictures, -angle, border))):
            break
        rotation = angle
    return Orientation(rotation, limits.flip_horizontal and bool(natural(pictures[:, :, ::-1])),
                       limits.flip_vertical and bool(natural(pictures[:, ::-1])))


def _likeness(pictures, good):
    """(N,): of each picture to the good ones but the one at its own place; `good` are their spectra."""
    side = likeness.sides(pictures.shape[1:3], likeness.COARSE)
    found = np.stack([likeness.correlations(one, good, side) for one in likeness.spectra(pictures)])
    np.fill_diagonal(found, -np.inf)
    return np.sort(found, axis=1)[:, -NEIGHBOURS:].mean(axis=1)


def _turned(pictures, angle, border):
    height, width = pictures.shape[1:3]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), math.degrees(angle), 1.0)
    turned = [cv2.warpAffine(p, turn, (width, height), borderMode=_BORDERS[border]) for p in pictures]
    return np.stack(turned).reshape(pictures.shape)
