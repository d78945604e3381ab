"""Where has the part gone? Shift and turn of a picture against the one on which the ROI was drawn; the ROI moved so.

The reference, cut to the region and what is close around it, is turned in steps and searched for by its correlation
(OpenCV's matchTemplate), on small pictures; the best place is refined to parts of a pixel (findTransformECC, of
Evangelidis and Psarakis 2008). Neither minds another brightness or contrast. What agrees too little is not believed,
and the region stays where it was drawn. Measured by benchmarks/following.py.
"""
from __future__ import annotations

import functools
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np

from .files import BadImage, read_picture
from .roi import Source, read_roi

MOST_TURN, STEP = 30, 5  # degrees, each way, that are searched
COARSE, FINE = 96, 256   # pixels of the longer side, of the search and of the refinement
AROUND = 0.04            # of the longer side: how much around the region is looked at, for its outline
LEAST = 0.6              # correlation that is believed: the demo's strip has 0.76 and more, other things up to 0.35
ITERATIONS, CLOSE = 100, 1e-5


class Motion(NamedTuple):
    """From a picture's pixels to the reference's, 2 x 3; by how much the region went, and how well it agrees.

    `shift` (x, y) in pixels of its middle, `turn` in degrees clockwise as seen, `correlation` up to 1.
    """
    matrix: Tuple[Tuple[float, ...], ...]
    shift: Tuple[float, float]
    turn: float
    correlation: float


class Choice(NamedTuple):
    """Of a station: the file of the ROI for all pictures, and the picture on which it was drawn."""
    roi: str
    reference: str


class Following(NamedTuple):
    """A ROI that goes with the part: drawn as `source` on the picture `reference`, for the picture file `image`."""
    source: Source
    reference: str
    image: str

    @property
    def path(self) -> str:
        return self.source if isinstance(self.source, str) else self.source.path

    @property
    def shapes(self):
        """What tells two of them apart."""
        return (self.reference, self.image, self.source if isinstance(self.source, str) else self.source.shapes)

    def read(self, size: Tuple[int, int]) -> np.ndarray:
        """(H, W) {0, 1}: the moved ROI; as it was drawn if the part is not found. BadImage."""
        region, motion = read_roi(self.source, size), motion_of(self)
        return region if motion is None else moved(region, motion.matrix)


def find(reference: np.ndarray, region: np.ndarray, picture: np.ndarray) -> Optional[Motion]:
    """How the part in `picture` lies against `reference`, both (H, W, C) of one size; None where that is not clear.

    region: (H, W) {0, 1}, of the reference.
    """
    if reference.shape[:2] != picture.shape[:2] or not region.any():
        return None
    start, agrees = _searched(*(_small(part, COARSE) for part in (reference, region, picture)))
    if start is None:
        return None
    ours, mask, theirs = (_small(part, FINE) for part in (reference, region, picture))
    scale = [_scaling(region.shape, part.shape) for part in (_small(region, COARSE), mask)]
    warp = (scale[1] @ np.linalg.inv(scale[0]) @ start @ scale[0] @ np.linalg.inv(scale[1]))[:2].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, CLOSE)
    try:
        agrees, warp = cv2.findTransformECC(theirs, ours, warp, cv2.MOTION_EUCLIDEAN, criteria, _widened(mask), 5)
    except cv2.error:  # it does not converge
        return None
    whole = np.linalg.inv(scale[1]) @ _square(warp) @ scale[1]
    turn = float(np.degrees(np.arctan2(whole[0, 1], whole[0, 0])))
    if agrees < LEAST or abs(turn) > MOST_TURN + STEP:
        return None
    matrix = tuple(tuple(float(value) for value in row) for row in whole[:2])
    if 2 * moved(region, matrix).sum() < region.sum():  # most of it would lie outside of the picture
        return None
    middle = np.append(np.argwhere(region).mean(0)[::-1], 1.0)
    went = (np.linalg.inv(whole) @ middle - middle)[:2]
    return Motion(matrix, (float(went[0]), float(went[1])), turn, float(agrees))


def moved(region: np.ndarray, matrix) -> np.ndarray:
    """(H, W) uint8 {0, 1}: the region where the part is; nothing of it comes in from beyond the border."""
    return cv2.warpAffine(region.astype(np.uint8), np.array(matrix), region.shape[::-1],
                          flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)


@functools.lru_cache(maxsize=100_000)  # a motion is small, and each picture is asked about several times
def motion_of(following: Following) -> Optional[Motion]:
    """How the part in the picture file lies. BadImage for a file that cannot be read."""
    reference = read_reference(following.reference)
    return find(reference, drawn(following.source, following.reference, reference), read_picture(following.image))


def lost(records) -> list:
    """Those `records` whose region follows the part, but the part is not found."""
    return [one for one in records if isinstance(one.roi, Following) and motion_of(one.roi) is None]


def drawn(source: Source, name: str, reference: np.ndarray) -> np.ndarray:
    """(H, W) {0, 1} of the ROI on the `reference` of that name. BadImage where it has another size."""
    region = read_roi(source, reference.shape[:2])
    if region.shape != reference.shape[:2]:
        raise BadImage(name, f"is {reference.shape[1]} x {reference.shape[0]}, the ROI drawn on it is "
                             f"{region.shape[1]} x {region.shape[0]}")
    return region


@functools.lru_cache(maxsize=4)
def read_reference(path: str) -> np.ndarray:
    """(H, W, C), the picture on which the ROI was drawn. BadImage."""
    return read_picture(path)


def _searched(reference, region, picture):
    """(3 x 3 from the picture's pixels to the reference's, correlation) of the best place; (None, 0) without any."""
    middle = tuple(float(value) for value in np.argwhere(region).mean(0)[::-1])
    height, width = region.shape
    pad = max(height, width) // 3  # a part may reach over the border
    padded = cv2.copyMakeBorder(picture, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    best, place = 0.0, None
    for angle in range(-MOST_TURN, MOST_TURN + 1, STEP):
        turned = cv2.getRotationMatrix2D(middle, angle, 1.0)
        shown = cv2.warpAffine(reference, turned, (width, height), borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(_widened(region), turned, (width, height), flags=cv2.INTER_NEAREST)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            continue
        box = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        found = cv2.matchTemplate(padded, shown[box], cv2.TM_CCOEFF_NORMED, mask=mask[box].astype(np.float32))
        found[~np.isfinite(found) | (found > 1.001)] = -1.0
        _, value, _, at = cv2.minMaxLoc(found)
        if value > best:
            shift = np.eye(3)
            shift[:2, 2] = pad - at[0] + columns[0], pad - at[1] + rows[0]
            best, place = value, np.linalg.inv(_square(turned)) @ shift
    return place, best


def _small(pixels, side):
    """Grey float32, or a region as uint8, of at most `side` pixels; evened out a little."""
    scale = min(1.0, side / max(pixels.shape[:2]))
    size = tuple(max(1, round(length * scale)) for length in pixels.shape[1::-1])
    if pixels.ndim == 2:
        return cv2.resize(pixels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(pixels.astype(np.float32).mean(2), size, interpolation=cv2.INTER_AREA)


def _widened(region):
    reach = 2 * max(1, round(AROUND * max(region.shape))) + 1
    return cv2.dilate(region, np.ones((reach, reach), np.uint8))


def _scaling(size, small):
    """3 x 3 from the pixels of a picture of `size` (H, W) to those of its `small` form."""
    down, across = small[0] / size[0], small[1] / size[1]
    return np.array([[across, 0, 0.5 * across - 0.5], [0, down, 0.5 * down - 0.5], [0, 0, 1]])


def _square(matrix):
    return np.vstack([matrix, [0, 0, 1]]).astype(float)
