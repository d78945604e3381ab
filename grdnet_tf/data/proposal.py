"""Where does the product lie? Proposed from the good pictures: where they agree on structure and the ground does not.

The mean of many good pictures keeps what lies in the same place in each, the product's outline, and loses the ground's
texture. So the outline is where the mean varies over a few pixels, if the single pictures vary there in the same way.
Assumes that the product lies in about one place; says so where it does not. No TensorFlow, some seconds.
"""
from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np
from scipy import ndimage

from . import foreground
from .drawings import Shape
from .files import read_picture
from .records import evenly

PICTURES = 64     # looked at, evenly out of all
FEWEST = 8        # of which nothing can be said with less
AGREEMENT = 0.14 # of the outline's variance at least so much must be that of the mean: 1 is the same in each picture
GROUND = 0.12    # of the outline's variance that the mean may have on the ground
LARGEST = 0.9     # of the picture; a product that fills it needs no ROI
FRAME = 0.5       # of the picture's frame that the product may cross
_LONG, _WINDOW = 256, 2.0   # pixels of the long side; deviation of the window that variance is measured in
_GAP = 8          # of an outline, in pixels to each side, that is closed
_PART = 0.05      # of the largest part: smaller ones are dirt
_TOLERANCE = 1.5  # pixels at `_LONG` by which the polygon may leave the outline


class NoProposal(Exception):
    """Why no region can be proposed, in one line."""


class Spread(NamedTuple):
    """Of good pictures at one size: `mean` (h, w, 3) and `spread` (h, w), the standard deviation, float32 in [0, 1].

    `kept` (h, w): variance of the mean within a window about each pixel, `varied`: of the single pictures, on average.
    `aspects`: height by width of the flattest and of the tallest picture.
    """
    mean: np.ndarray
    spread: np.ndarray
    kept: np.ndarray
    varied: np.ndarray
    aspects: Tuple[float, float]


def shown(pixels: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """A picture as stored -> (*size, 3) float32 in [0, 1]; 16 bit by `foreground.levels`."""
    grey = foreground.levels(pixels) / 255
    if size != grey.shape[:2]:
        grey = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA)
    return np.broadcast_to(grey.reshape(*size, -1), (*size, 3))


def measure(records: Sequence, long_side: int = _LONG) -> Spread:
    """Mean and spread of good pictures, in the first one's aspect. Raises BadImage."""
    height, width = read_picture(records[0].image).shape[:2]
    scale = long_side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))

    def one(record):
        pixels = read_picture(record.image)
        picture = shown(pixels, size)
        return pixels.shape[0] / pixels.shape[1], picture, picture * picture, _variance(picture)

    aspects, sums = [], [0.0, 0.0, 0.0]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for aspect, *parts in pool.map(one, records):
            sums = [total + part for total, part in zip(sums, parts)]
            aspects.append(aspect)
    mean, square, varied = (total / len(aspects) for total in sums)
    spread = np.sqrt(np.maximum(square - mean * mean, 0).mean(axis=2))
    return Spread(mean, spread, _variance(mean), varied, (min(aspects), max(aspects)))


def propose(records: Sequence) -> List[Shape]:
    """Polygons, in shares of the picture, about the product that the good `records` show.

    Raises: NoProposal; BadImage.
    """
    if len(records) < FEWEST:
        raise NoProposal(f"{len(records)} good pictures, at least {FEWEST} are needed")
    chosen = evenly(records, PICTURES)
    found = measure(chosen)
    flattest, tallest = found.aspects
    if tallest > 1.05 * flattest:
        raise NoProposal(f"the good pictures differ in shape: {flattest:.2f} to {tallest:.2f} times as high as wide")
    inside = region(found)
    share, frame = inside.mean(), np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]]).mean()
    if share > LARGEST or frame > FRAME:
        raise NoProposal(f"the product seems to fill the picture ({share:.0%} of it): none is needed")
    edge = ndimage.binary_dilation(inside, iterations=2) & ~ndimage.binary_erosion(inside, iterations=2)
    ground = ~ndimage.binary_dilation(inside, iterations=int(3 * _WINDOW))
    agreement = found.kept[edge].sum() / max(found.varied[edge].sum(), 1e-12)
    agreement = (agreement - 1 / len(chosen)) / (1 - 1 / len(chosen))  # pictures that have nothing in common: 1 / n
    if not inside.any() or agreement < AGREEMENT:
        raise NoProposal(f"the good pictures do not agree on where the product lies (agreement {agreement:.2f} of "
                         f"{AGREEMENT}): it moves or turns, or shows no outline")
    if not ground.any() or found.kept[ground].mean() > GROUND * found.kept[edge].mean():
        raise NoProposal("the good pictures look alike beside the product as well: it fills the picture, or lies on "
                         "ground with marks of its own")
    return [Shape("polygon", tuple(points.ravel().tolist())) for points in polygons(inside)]


def region(found: Spread) -> np.ndarray:
    """(h, w) bool: what the closed outlines of the mean enclose, smoothed."""
    from skimage.filters import sobel, threshold_otsu
    from skimage.segmentation import watershed

    contrast = np.sqrt(found.kept)
    edges = contrast > threshold_otsu(contrast)
    edges = ndimage.binary_closing(np.pad(edges, _GAP), iterations=_GAP)[_GAP:-_GAP, _GAP:-_GAP]
    filled = ndimage.binary_opening(ndimage.binary_fill_holes(edges), iterations=2)
    labels, count = ndimage.label(filled)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    filled = (areas >= _PART * areas.max())[labels] & filled
    # The window widens the outline to both sides: between what is surely in and surely out, the steepest slope decides.
    reach = int(2 * _WINDOW)
    markers = np.where(ndimage.binary_erosion(filled, iterations=reach, border_value=1), 2, 0)
    markers[~ndimage.binary_dilation(filled, iterations=reach)] = 1
    slope = np.max([sobel(found.mean[..., channel]) for channel in range(3)], axis=0)
    inside = ndimage.binary_fill_holes(watershed(slope, markers) == 2) if markers.any() else filled
    return ndimage.gaussian_filter(inside.astype(np.float32), _WINDOW, mode="nearest") > 0.5


def polygons(inside: np.ndarray) -> List[np.ndarray]:
    """[(n, 2)] x, y in shares of the picture: the outer outlines of a (h, w) bool region, the largest first."""
    height, width = inside.shape
    big = np.kron(inside.astype(np.uint8), np.ones((4, 4), np.uint8))  # OpenCV's contour runs through pixels' centres
    contours, _ = cv2.findContours(big, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contours = sorted(contours, key=cv2.contourArea, reverse=True)
    found = [cv2.approxPolyDP(contour, 4 * _TOLERANCE, True)[:, 0] for contour in contours]
    return [(points + 0.5) / (4 * width, 4 * height) for points in found if len(points) > 2]


def _variance(picture):
    """(h, w, 3) -> (h, w): the variance within a window about each pixel, the colours' together."""
    mean, square = (cv2.GaussianBlur(part, (0, 0), _WINDOW) for part in (picture, picture * picture))
    return np.maximum(square - mean * mean, 0).sum(axis=2)
