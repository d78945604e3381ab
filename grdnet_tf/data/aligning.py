"""Loose parts on plain ground, each in any direction: turned to lie alike, cut out, at one scale.

A network that sees every part in the same pose learns what belongs where; it has more pixels on the part, and one region
of interest holds for all pictures. How a part lies: the middle of its extent, the axis of its largest second moment
(`foreground.find` says what is part), and of the two directions the one that looks more like the mean of the good parts.

    pictures -> Alignment (size, scale, that mean), kept as align.json -> matrix of a picture -> upright, and back
"""
from __future__ import annotations

import base64
import json
import os
from typing import Iterable, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from ..errors import InputError
from ..storage import write_text, writing
from . import foreground
from .files import BadImage, read_picture
from .records import evenly
from .stored import Stored, exists, join, read_file

FILE = "align.json"
MARGIN = 1.08     # the canvas by the largest part that was seen: what sticks out of a defective one must be seen too
MULTIPLE = 32     # pixels of the canvas' sides: what the networks' strides ask for
LARGEST = 8192    # of those sides
SHORTEST = 0.75   # of the largest part that was seen: less is a part that the picture's rim cuts, or something else
LONGEST = 1.3     # a part's length by its width at least: a round one has no direction
FEWEST = 0.8      # of the pictures in which a part must be found
LOOKED_AT, LEVEL = 24, 0.9  # to see how parts lie: pictures, and the cosine of an upright part's axis at least
INSIDE = 0.5      # of the good parts that cover a pixel of the region
CLOSED = 0.08     # of the shorter side: gaps in the region that are closed


class Pose(NamedTuple):
    """In pixels (x, y): the middle of the part's extent, unit vectors along and across, length and width."""
    middle: np.ndarray
    along: np.ndarray
    length: float
    width: float


class Alignment(NamedTuple):
    """`size` (H, W) of the upright pictures, how many of their pixels one of a file is, and the mean of the good ones."""
    size: Tuple[int, int]
    scale: float
    template: np.ndarray  # (H, W) uint8

    def matrix(self, picture: np.ndarray) -> Optional[np.ndarray]:
        """(2, 3), upright pixels (x, y) -> those of `picture` (h, w, C), 8 or 16 bit. None where no whole part is found."""
        pose = find(picture)
        return None if pose is None else self.lying(pose, picture)

    def lying(self, pose: "Pose", picture: np.ndarray) -> Optional[np.ndarray]:
        """The same, of a part whose pose is known but for which of the two directions along its axis is meant."""
        if pose.length * self.scale < SHORTEST * self.size[1] / MARGIN:
            return None
        matrix = _matrix(pose, 1, self.size, self.scale)
        seen = warped(_grey(picture), matrix, self.size, self.scale)  # the other way round it is seen turned by half
        turned = _likeness(seen[::-1, ::-1], self.template) > _likeness(seen, self.template)
        return _matrix(pose, -1, self.size, self.scale) if turned else matrix

    def upright(self, pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """(h, w, C) of a file -> (H, W, C) of the same type; what lies outside of the file repeats its rim."""
        return warped(pixels, matrix, self.size, self.scale).reshape(*self.size, -1)

    def region(self, region: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """(h, w) {0, 1} of a mask or ROI -> (H, W) uint8 {0, 1}; one that is not empty stays so, if it is within."""
        soft = warped((region > 0).astype(np.float32), matrix, self.size, self.scale, outside=0.0)
        return (soft >= min(0.5, max(soft.max() / 2, 1e-6))).astype(np.uint8)

    def window(self, crop: Tuple[int, int]) -> Tuple[int, int]:
        """(h, w) to train on, of about as many pixels as `crop` has, and no higher."""
        height = min(self.size[0], MULTIPLE * max(1, crop[0] // MULTIPLE))
        return height, min(self.size[1], MULTIPLE * max(1, round(crop[0] * crop[1] / height / MULTIPLE)))

    def back(self, values: np.ndarray, matrix: np.ndarray, shape: Tuple[int, int]) -> np.ndarray:
        """A map (h, w) float32 of an upright picture as the file of `shape` lies, at the map's scale, 0 outside."""
        stretch = np.array(values.shape[::-1]) / self.size[::-1]  # of the map by the upright picture, (x, y)
        share = self.scale * float(np.sqrt(stretch.prod()))
        size = [max(1, round(side * share)) for side in shape]
        # Pixels' middles lie at whole numbers on either side.
        turn, shift = matrix[:, :2] / stretch, matrix[:, 2] + matrix[:, :2] @ (0.5 / stretch - 0.5)
        grow = np.array(size[::-1]) / shape[::-1]
        forward = np.column_stack([turn * grow[:, None], grow * (shift + 0.5) - 0.5])
        return cv2.warpAffine(np.ascontiguousarray(values), forward, tuple(size[::-1]), flags=cv2.INTER_LINEAR)


def find(picture: np.ndarray) -> Optional[Pose]:
    """How the part lies in (h, w, C) of 8 or 16 bit; None without one on plain ground, or where it has no direction."""
    found = foreground.find(picture)
    if found is None:
        return None
    rows, columns = np.nonzero(found.solid if found.solid.any() else found.region)
    points = np.column_stack([columns, rows]).astype(np.float64)
    if len(points) < 2:  # no direction
        return None
    centre = points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((points - centre).T))
    along = axes[:, 1]
    ends, sides = ((points - centre) @ axis for axis in (along, _across(along)))
    (low, high), (left, right) = (np.percentile(values, [0.5, 99.5]) for values in (ends, sides))  # a speck is no end
    if high - low < LONGEST * (right - left):
        return None
    middle = centre + along * (low + high) / 2 + _across(along) * (left + right) / 2
    if (ends ** 3).mean() < 0:  # the heavier end lies behind; the template judges where there is one
        along = -along
    return Pose(middle, along, high - low, right - left)


def learn(pictures: Sequence, read, side: int, most: Optional[int] = None, progress=lambda pictures: pictures) -> Alignment:
    """The alignment of good parts: canvas and scale for the largest, `side` pixels long; their mean, found in two passes.

    Args:
      pictures: what `read` takes, for the (h, w, C) of each.
      most: pixels of the canvas: the sides are shorter where it would have more.
      progress: is given them once, and gives them back one by one.

    Raises: InputError where no part lies on plain ground in most pictures, or they are about as wide as long.
    """
    poses = [find(read(picture)) for picture in progress(pictures)]
    found = [(picture, pose) for picture, pose in zip(pictures, poses) if pose is not None]
    if len(found) < max(1, FEWEST * len(pictures)):
        raise InputError(f"in {len(pictures) - len(found)} of {len(pictures)} pictures no part longer than wide lies on "
                         "plain ground: there is nothing to turn upright")
    length, width = (MARGIN * max(getattr(pose, name) for _, pose in found) for name in ("length", "width"))
    side = next((one for one in range(side, MULTIPLE, -MULTIPLE)
                 if not most or np.prod(_canvas(length, width, one)) <= most), MULTIPLE)
    size, scale = _canvas(length, width, side), side / length
    matrices = [_matrix(pose, 1, size, scale) for _, pose in found]
    template = _mean(warped(_grey(read(picture)), matrix, size, scale) for (picture, _), matrix in zip(found, matrices))
    alignment = Alignment(size, scale, template)

    def towards():  # also what lay the wrong way round
        for picture, pose in found:
            pixels = read(picture)
            matrix = alignment.lying(pose, pixels)
            if matrix is not None:
                yield warped(_grey(pixels), matrix, size, scale)

    return alignment._replace(template=_mean(towards()))


def covered(uprights: Iterable[np.ndarray]) -> Optional[np.ndarray]:
    """(H, W) uint8 {0, 1}: where most of the upright parts (H, W, C) lie; None where none is found in any.

    Without holes: what shines like the ground is part of the part.
    """
    from scipy.ndimage import binary_fill_holes  # not at the top: `grdnet train --help` would wait for it

    regions = [found.region for found in map(foreground.find, uprights) if found is not None]
    if not regions:
        return None
    most = (np.mean(regions, axis=0) > INSIDE).astype(np.uint8)
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(CLOSED * min(most.shape) / 2)) + 1,) * 2)
    closed = cv2.morphologyEx(np.pad(most, window.shape[0]), cv2.MORPH_CLOSE, window)
    inner = slice(window.shape[0], -window.shape[0])
    return binary_fill_holes(closed[inner, inner]).astype(np.uint8)


def write(path: str, alignment: Alignment) -> None:
    """Write align.json, the template within it. InputError if it cannot be written."""
    picture = base64.b64encode(cv2.imencode(".png", alignment.template)[1].tobytes()).decode()
    with writing(path):
        write_text(path, json.dumps({"size": list(alignment.size), "scale": alignment.scale, "template": picture}) + "\n")


def read(path: str) -> Alignment:
    """What align.json says. InputError if it is missing or damaged."""
    if not exists(path) or os.path.isdir(path):
        raise InputError(f"{path}: no such file; `grdnet align` writes it")
    try:
        told = json.loads(read_file(path))
        size, scale = tuple(told["size"]), float(told["scale"])
        template = cv2.imdecode(np.frombuffer(base64.b64decode(told["template"], validate=True), np.uint8),
                                cv2.IMREAD_GRAYSCALE)
        if not (len(size) == 2 and all(type(side) is int and 0 < side <= LARGEST for side in size) and 0 < scale < 100
                and template is not None and template.shape == size):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, RecursionError, cv2.error):
        raise InputError(f"{path}: damaged; `grdnet align` writes it") from None
    return Alignment(size, scale, template)


def beside(root: Optional[str]) -> Optional[str]:
    """The align.json of a data folder or of shards, where `grdnet align` made it."""
    path = root and join(root, FILE)
    return path if path and exists(path) else None


def check(path: str, records: Sequence, root: Optional[str] = None) -> None:
    """InputError unless the records' pictures are upright already, by their size and by what `root` says of them.

    Args:
      path: of align.json.
      root: the data folder of the records; an align.json there says by which they were turned.
    """
    alignment, own = read(path), beside(root)
    if own and not _same(read(own), alignment):
        raise InputError(f"{root}: its parts were turned by another align.json than this run's, so they may lie "
                         f"otherwise; grdnet align DIR --like {path} --out OUT turns them alike")
    first = records[0].image if records else None
    if isinstance(first, Stored) and first.table.resized:  # into a set that says how they lay before
        kept = beside(first.table.root)
        lying = [] if kept is not None and _same(read(kept), alignment) else [first]
    else:
        lying = [] if own else lying_otherwise(records, alignment)
    if lying:
        (height, width), size = _shape(lying[0]), alignment.size
        raise InputError(f"{lying[0]}: {width} x {height}, but this run takes parts that lie upright, {size[1]} x {size[0]}: "
                         f"grdnet align DIR --like {path} --out OUT turns them; grdnet predict does so by itself")


def lying_otherwise(records: Sequence, alignment: Alignment) -> list:
    """Pictures of those looked at that have another size, or whose part lies otherwise, if these are most of them."""
    looked_at, others = 0, []
    for record in evenly(records, LOOKED_AT):
        try:
            picture = read_picture(record.image)
        except BadImage:  # which others judge
            continue
        looked_at += 1
        pose = find(picture) if picture.shape[:2] == alignment.size else None
        short = pose is not None and pose.length * MARGIN < SHORTEST * alignment.size[1]
        if picture.shape[:2] != alignment.size or pose is not None and (short or abs(pose.along[0]) < LEVEL):
            others.append(record.image)
    return others if 2 * len(others) > looked_at else []


def warped(pixels, matrix, size, scale, outside=None):
    """`pixels` (h, w[, C]) where `matrix` takes them; reduced ones are smoothed first, or a fine texture would alias."""
    if scale < 1:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 / scale)
    border = {"borderMode": cv2.BORDER_REPLICATE} if outside is None else {"borderValue": outside}
    return cv2.warpAffine(pixels, matrix, tuple(size[::-1]), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, **border)


def _shape(path):
    return read_picture(path).shape[:2]


def _same(one, other):
    return one[:2] == other[:2] and np.array_equal(one.template, other.template)


def _canvas(length, width, side):
    """(H, W) for parts of that length and width in a file, the length `side` pixels."""
    return MULTIPLE * -(-round(width * side / length) // MULTIPLE), MULTIPLE * -(-side // MULTIPLE)


def _across(along):
    return np.array([-along[1], along[0]])


def _matrix(pose, direction, size, scale):
    along = pose.along * direction
    turn = np.column_stack([along, _across(along)]) / scale
    return np.column_stack([turn, pose.middle - turn @ ((np.array(size[::-1]) - 1) / 2)])


def _grey(picture):
    pixels = foreground.levels(picture)
    return pixels.mean(axis=2) if pixels.ndim == 3 else pixels


def _mean(pictures):
    total, n = 0.0, 0
    for picture in pictures:
        total, n = total + picture, n + 1
    return np.rint(total / n).astype(np.uint8)


def _likeness(grey, template):
    """The correlation of the two, from -1 to 1."""
    ours, theirs = (np.asarray(one, np.float64) - np.mean(one) for one in (grey, template))
    scale = np.sqrt((ours ** 2).sum() * (theirs ** 2).sum())
    return (ours * theirs).sum() / scale if scale else 0.0
