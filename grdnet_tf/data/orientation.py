"""How far good pictures are turned and mirrored: turns and flips by which a picture stays one of them.

Augmentation beyond them shows pictures that never come (a vial upside down), and what is one, the network no longer
finds. Where it lies in the picture plays no part; nor does a ROI. No TensorFlow: some seconds before a run.
"""
from __future__ import annotations

import math
from typing import NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from .files import read_picture
from .records import evenly

PICTURES = 64     # looked at, evenly out of all
FEWEST = 8        # of which nothing can be said with less
NEIGHBOURS = 5    # a picture belongs to the good ones as much as it is like the nearest of them
TOLD_APART = 0.9  # AUROC from which changed pictures count as no longer among the good ones
ANGLES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, math.pi / 2, 2.2, math.pi)  # rad
BLANK = 1e-3      # deviation of a picture in [0, 1] below which there is nothing to see
_LONG, _COARSE = 96, 32  # pixels of the long side: turned at the first, compared at the second, where no turn blurs
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
    pictures = np.stack([_small(read_picture(record.image), image_size) for record in evenly(records, PICTURES)])
    good = np.fft.rfft2(_standardised(pictures))
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
    spectra, side = np.fft.rfft2(_standardised(pictures)), _sides(pictures.shape[1:3], _COARSE)
    found = np.empty((len(pictures), len(good)))
    for i, spectrum in enumerate(spectra):
        found[i] = np.fft.irfft2((spectrum.conj() * good).sum(axis=1), s=side).max(axis=(1, 2))
    np.fill_diagonal(found, -np.inf)
    return np.sort(found, axis=1)[:, -NEIGHBOURS:].mean(axis=1)


def _small(pixels, image_size):
    """(h, w, C) float32 in [0, 1] of the aspect that `image_size` (H, W) has."""
    height, width = _sides(image_size, _LONG)
    small = cv2.resize(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max, (width, height),
                       interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, -1)


def _sides(size, longest):
    return [max(1, round(side * longest / max(size))) for side in size]


def _standardised(pictures):
    """(N, C, h, w): coarse, each colour of mean 0, each picture of length 1: a product of two is their correlation."""
    height, width = _sides(pictures.shape[1:3], _COARSE)
    coarse = np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)
                       for p in pictures]).transpose(0, 3, 1, 2)
    coarse = coarse - coarse.mean(axis=(2, 3), keepdims=True)
    length = np.sqrt(np.square(coarse).sum(axis=(1, 2, 3), keepdims=True))
    return coarse / np.maximum(length, BLANK * math.sqrt(coarse[0].size))


def _turned(pictures, angle, border):
    height, width = pictures.shape[1:3]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), math.degrees(angle), 1.0)
    turned = [cv2.warpAffine(p, turn, (width, height), borderMode=_BORDERS[border]) for p in pictures]
    return np.stack(turned).reshape(pictures.shape)
