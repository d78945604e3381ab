"""roi.html: one file in which a region of interest is drawn over good pictures. And a sheet that shows one."""
import math
import os
from html import escape
from typing import List, Sequence

import cv2
import numpy as np

from ..data.drawings import Shape
from ..data.files import read_picture
from ..data.proposal import PICTURES, measure, shown
from ..data.records import evenly
from ..data.roi import read_roi
from .page import HERE, fill, in_script
from .shots import jpeg

TEMPLATE = os.path.join(HERE, "roi_page.html")
GOOD, OTHERS = 16, 8  # pictures in the page, out of train/good and of the test folders
_SIDE = 800           # pixels of a picture in the page at most, some 60 kB each
_TILE, _TILES = 240, 24
_BLUE = (40, 90, 255)


def build(root: str, good: Sequence, others: Sequence, shapes: Sequence[Shape]) -> str:
    """The page for the data folder `root`. `good`, `others`: records; `shapes`: what it begins with, in shares."""
    measured = evenly(good, PICTURES)
    found = measure(measured, _SIDE)
    spread = (found.spread * 255 / max(found.spread.max(), 1e-6)).astype(np.uint8)
    pictures = []
    for record in [*evenly(good, GOOD), *evenly(others, OTHERS)]:
        pixels = read_picture(record.image)
        height, width = pixels.shape[:2]
        pictures.append({"name": name_below(root, record), "width": width, "height": height,
                         "picture": jpeg(_rgb(pixels, _SIDE))})
    plain = [{"kind": s.kind, "numbers": list(s.numbers), "exclude": s.exclude, "pictures": s.pictures} for s in shapes]
    data = {"pictures": pictures, "shapes": plain, "mean": jpeg(_bytes(found.mean)),
            "spread": jpeg(cv2.applyColorMap(spread, cv2.COLORMAP_VIRIDIS)[..., ::-1])}
    facts = (f"{len(pictures)} pictures of <code>{escape(os.path.abspath(root))}</code>; mean and spread of "
             f"{len(measured)} good ones.")
    return fill(TEMPLATE, {"title": escape(os.path.basename(os.path.abspath(root))), "facts": facts,
                           "folder": escape(os.path.abspath(root)), "data": in_script(data)})


def sheet(records: Sequence) -> np.ndarray:
    """(H, W, 3) uint8 RGB: pictures side by side, dark outside their ROI, its outline blue."""
    tiles: List[np.ndarray] = []
    for record in evenly(records, _TILES):
        pixels = read_picture(record.image)
        scale = _TILE / max(pixels.shape[:2])
        picture = _bytes(shown(pixels, tuple(max(1, round(side * scale)) for side in pixels.shape[:2])))
        inside = read_roi(record.roi, pixels.shape[:2])
        inside = cv2.resize(inside, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        picture = np.where(inside[..., None] > 0, picture, picture // 3)
        outline, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, _BLUE, 1)
        down, across = (_TILE + 8 - side for side in picture.shape[:2])
        tiles.append(cv2.copyMakeBorder(picture, down // 2, down - down // 2, across // 2, across - across // 2,
                                        cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    columns = round(math.sqrt(1.5 * len(tiles)))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i:i + columns]) for i in range(0, len(tiles), columns)])


def name_below(root: str, record) -> str:
    """The picture's path below the data folder, with /: what patterns are matched with."""
    return os.path.relpath(record.image, root).replace(os.sep, "/")


def _rgb(pixels, side):
    """(h, w, 3) uint8 with a long side of `side` at most."""
    scale = min(1.0, side / max(pixels.shape[:2]))
    return _bytes(shown(pixels, tuple(max(1, round(length * scale)) for length in pixels.shape[:2])))


def _bytes(picture):
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
