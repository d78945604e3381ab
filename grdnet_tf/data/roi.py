"""Where do defects matter in a picture? DIR/roi.json, or another tool's file, as pixels of each picture.

Of the shapes that are for a picture, each comes over those before it in the file: it adds its area, or with `exclude`
takes it away. The region begins empty, or whole where the first of them excludes. Inside is a pixel whose centre is.
"""
from __future__ import annotations

import fnmatch
import functools
import glob
import hashlib
import os
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from ..errors import InputError
from . import layout
from .drawings import ALL, SHARE, Drawing, Shape, read
from .files import FORMATS, BadImage, read_region, sha256_of

FILE = "roi.json"
FILES = (FILE, "roi.xml")
DRAWN = (".json", ".xml")


class Region(NamedTuple):
    """What is drawn for one picture: the file that says so and its shapes for this picture, the last one on top."""
    path: str
    shapes: Tuple[Shape, ...]


Source = Union[str, Region]  # of a ROI: a picture file, or what is drawn


def read_roi(source: Source, size: Tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 in {0, 1} of a record's ROI, for its picture of `size` (H, W); not to be written to. BadImage.

    A source that is neither a file nor a drawing, as `following.Following`, reads itself.
    """
    if isinstance(source, str):
        return read_region(source)
    return raster(source, tuple(size)) if isinstance(source, Region) else source.read(tuple(size))


@functools.lru_cache(maxsize=32)  # most often one drawing serves all pictures
def raster(region: Region, size: Tuple[int, int]) -> np.ndarray:
    """`read_roi` of a region. BadImage where it was drawn on a picture of another size."""
    pixels = np.full(size, region.shapes[0].exclude, np.uint8)
    for shape in region.shapes:
        pixels[_inside(region, shape, size)] = not shape.exclude
    pixels.setflags(write=False)
    return pixels


def _inside(region, shape, size):
    """(rows, columns) of the pixels in one shape."""
    from skimage import draw  # 0.2 s, and most data folders have no drawing

    height, width = size
    scale = 1.0
    if shape.size == SHARE:
        scale = np.array([width, height], float)
    elif shape.size not in (None, (width, height)):
        raise BadImage(region.path, "the ROI is drawn on {} x {} pixels, a picture has ".format(*shape.size) +
                       f"{width} x {height}")
    if shape.kind == "circle":
        x, y = np.array(shape.numbers[:2]) * scale - 0.5  # skimage counts from the centre of the first pixel
        return draw.disk((y, x), shape.numbers[2] * np.ravel(scale)[0], shape=size)
    left, top, right, bottom = shape.numbers if shape.kind == "box" else (0,) * 4
    corners = shape.numbers if shape.kind == "polygon" else (left, top, right, top, right, bottom, left, bottom)
    points = np.reshape(corners, (-1, 2)) * scale - 0.5
    return draw.polygon(points[:, 1], points[:, 0], shape=size)


def find(root: str) -> Optional[Drawing]:
    """The drawing in the data folder `root`, or None. InputError for a bad one, or for two."""
    there = [path for path in (os.path.join(root, name) for name in FILES) if os.path.isfile(path)]
    if len(there) > 1:
        raise InputError(f"{there[1]}: there is {FILE} as well, expected one of them")
    if not there:
        return None
    drawing = read(there[0])
    wanted = {shape.pictures for shape in drawing.shapes} - {ALL}
    if wanted:
        _check_names(drawing, wanted, _pictures(root))
    return drawing


def for_all(root: str) -> Optional[str]:
    """The file of the one ROI that all pictures of the data folder share, if there is one."""
    picture = layout.roi_for_all(root)
    if picture:
        return picture
    drawing = find(root)
    if drawing is None or drawing.named or any(shape.pictures != ALL for shape in drawing.shapes):
        return None
    return drawing.path


def assign(drawing: Drawing, root: str, images: Sequence[str]) -> Dict[str, Region]:
    """{path: its region}: of all `images` of a folder below `root`, or {} where the drawing is for none of them.

    Raises: InputError for a picture left out among others, which would be looked at everywhere.
    """
    found = {}
    for image in images:
        shapes = _shapes(drawing, os.path.relpath(image, root).replace(os.sep, "/"))
        if shapes:
            found[image] = Region(drawing.path, shapes)
    if found and len(found) < len(images):
        missing = next(image for image in images if image not in found)
        raise InputError(f"{drawing.path}: no shape is for {missing}, but others there have one")
    return found


def in_shares(drawing: Drawing, root: str, size: Tuple[int, int]) -> List[Shape]:
    """The drawing's shapes in shares and for patterns; `size` (H, W): of a picture, for pixels of no stated one."""
    names = _pictures(root) if drawing.named else []
    found = []
    for shape in drawing.shapes:
        width, height = shape.size or size[::-1]
        units = (width, height, width) if shape.kind == "circle" else (width, height) * (len(shape.numbers) // 2)
        pattern = shape.pictures
        if drawing.named:
            pattern = glob.escape(next(name for name in names if f"/{name}".endswith(f"/{pattern}")))
        found.append(shape._replace(numbers=tuple(n / unit for n, unit in zip(shape.numbers, units)), size=SHARE,
                                    pictures=pattern))
    return found


def digest(source: Source) -> str:
    """SHA-256 of a ROI: of its file, or of what is drawn. Raises OSError."""
    if isinstance(source, str):
        return sha256_of(source)
    return hashlib.sha256(repr(source.shapes).encode()).hexdigest()


def of_picture(path: str) -> Source:
    """The ROI in one picture's own file: a picture, or its drawing."""
    return Region(path, read(path).shapes) if path.lower().endswith(DRAWN) else path


def _shapes(drawing, name):
    """The shapes for the picture at `name` below the data folder."""
    if drawing.named:
        by_name, parts = _by_name(drawing), name.split("/")
        return tuple(shape for i in range(len(parts)) for shape in by_name.get("/".join(parts[i:]), ()))
    return tuple(shape for shape in drawing.shapes if _matches(name, shape.pictures))


def _matches(name, pattern):
    return pattern == ALL or fnmatch.fnmatchcase(name, pattern)


@functools.lru_cache(maxsize=4)
def _by_name(drawing):
    found = {}
    for shape in drawing.shapes:
        found.setdefault(shape.pictures, []).append(shape)
    return found


def _check_names(drawing, wanted, pictures):
    """InputError for shapes that are for no picture, a slip of the pen; or, of a name, for several."""
    if not drawing.named:
        for pattern in sorted(wanted):
            if not any(_matches(name, pattern) for name in pictures):
                raise InputError(f"{drawing.path}: shapes for {pattern!r}, but no picture has such a name")
        return
    owners = {}
    for name in pictures:
        parts = name.split("/")
        for ending in ("/".join(parts[i:]) for i in range(len(parts))):
            if ending in wanted:
                owners.setdefault(ending, []).append(name)
    for name in sorted(wanted):
        if len(owners.get(name, ())) != 1:
            those = " and ".join(owners.get(name, ())[:2]) or "no picture"
            raise InputError(f"{drawing.path}: {name} is {those}, expected one; give names with their folders")


def _pictures(root):
    """Paths below `root`, with /, of the pictures to train on and to test with."""
    trained, found = layout.find_train(root), {}
    for top in [os.path.join(root, "train"), os.path.join(root, "test")] + [trained] * (trained is not None):
        for folder, _, names in os.walk(top):
            paths = [os.path.join(folder, name) for name in names if os.path.splitext(name)[1].lower() in FORMATS]
            found.update((os.path.relpath(path, root).replace(os.sep, "/"), None) for path in paths)
    return list(found)
