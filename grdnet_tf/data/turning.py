"""Loose parts turned upright, as files: DIR, whose parts lie in any direction, becomes OUT, where they all lie alike.

    OUT/train/good, test/DEFECT, ground_truth, roi     the pictures of the splits, masks and ROIs with them
    OUT/roi.png                                        where most good parts lie, unless DIR has ROIs
    OUT/align.json                                     by which they were turned
    OUT/turned.json                                    of which DIR, of which of its files, and what was left out
"""
import collections
import json
import os
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from ..errors import InputError
from ..storage import aside, read_json, sync_tree, writing
from . import aligning
from .files import read_picture, read_region
from .record import Record
from .roi import read_roi

MADE = "turned.json"


class CannotTurn(InputError):
    """The pictures are none whose parts could be turned."""


class Turned(NamedTuple):
    """A folder whose parts lie upright, {its picture: the file that it was made of}, and [file left out, why]."""
    root: str
    files: Dict[str, str] = {}
    lost: Sequence[Tuple[str, str]] = ()


def turn(splits: Dict[str, Sequence[Record]], alignment: aligning.Alignment, out: str, source: str,
         watched: Callable = lambda records, what: records, region=True, fewest=0.0) -> Turned:
    """Make the folder `out` of the records of each split; those in which no whole part is found are left out.

    Args:
      splits: {"train": records, "test": records} or some of it.
      source: the data folder that they are of.
      watched: is given the records of a split and what is done, and gives them back one by one.
      region: whether OUT/roi.png is made of the good parts.
      fewest: the share of a split that must not be left out.

    Raises: CannotTurn where all of a split would be left out, or more than that; InputError where nothing can be written.
    """
    above, files, lost = os.path.dirname(os.path.abspath(out)), {}, []
    with writing(out):
        os.makedirs(above, exist_ok=True)
    with writing(out), aside(above) as fresh:
        for split, records in splits.items():
            names, gone = _names(records), []
            for record in watched(records, f"{split}: pictures turned"):
                why = _put(fresh, split, record, names[record.image], alignment)
                if why:
                    gone.append((str(record.image), why))
                else:
                    files[os.path.join(split, record.defect, names[record.image])] = str(record.image)
            if len(gone) == len(records) or len(gone) > (1 - fewest) * len(records) > 0:
                raise CannotTurn(f"{source}: in {len(gone)} of {len(records)} {'good ' * (split == 'train')}pictures "
                                 f"{gone[0][1]}, the first is {gone[0][0]}")
            lost += gone
        if region and "train" in splits and not any(record.roi for records in splits.values() for record in records):
            folder = os.path.join(fresh, "train", "good")
            covered = aligning.covered(read_picture(os.path.join(folder, name)) for name in sorted(os.listdir(folder)))
            if covered is not None:
                _save(os.path.join(fresh, "roi.png"), covered * 255)
        aligning.write(os.path.join(fresh, aligning.FILE), alignment)
        with open(os.path.join(fresh, MADE), "x", encoding="utf-8") as stream:
            json.dump({"of": os.path.abspath(source), "files": files, "lost": lost}, stream, indent=1)
        sync_tree(fresh)
        os.rename(fresh, out)
    return made(out)


def made(root: str) -> Turned:
    """What `turn` made of itself in the folder `root`. InputError if it is damaged."""
    path = os.path.join(root, MADE)
    try:
        told = read_json(path)
        return Turned(root, {os.path.join(root, name): file for name, file in told["files"].items()},
                      [tuple(entry) for entry in told["lost"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: missing or damaged; the folder can be removed, it is made anew") from None


def is_made(root: str) -> bool:
    """Whether the folder `root` was made by `turn`."""
    return os.path.isfile(os.path.join(root, MADE))


def source(root: str) -> Optional[str]:
    """The data folder of which `root` was made; None where it was not."""
    try:
        return read_json(os.path.join(root, MADE))["of"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _put(root, split, record, name, alignment) -> Optional[str]:
    """Write the record's files upright; or why none of them is."""
    picture = read_picture(record.image)
    matrix = alignment.matrix(picture)
    if matrix is None:
        return "no part on plain ground is found of three quarters of the largest one's length"
    mask = None if not record.mask else alignment.region(read_region(record.mask), matrix)
    region = None if not record.roi else alignment.region(np.asarray(read_roi(record.roi, picture.shape[:2])), matrix)
    for part, what in ((mask, "the defect"), (region, "the region of interest")):
        if part is not None and not part.any():
            return f"{what} lies beside the part"
    _save(os.path.join(root, split, record.defect, name), alignment.upright(picture, matrix))
    if mask is not None:
        _save(os.path.join(root, "ground_truth", record.defect, f"{os.path.splitext(name)[0]}_mask.png"), mask * 255)
    if region is not None:
        _save(os.path.join(root, "roi", split, record.defect, name), region * 255)
    return None


def _names(records):
    """{picture: a name within its folder that no other has}, .png; of those below one another with their folders' names."""
    found, taken = {}, collections.defaultdict(set)
    for record in records:
        parts, stem = os.path.split(os.path.splitext(record.image)[0])
        while stem.casefold() in taken[record.defect]:
            parts, above = os.path.split(parts)
            stem = f"{above}-{stem}"
        taken[record.defect].add(stem.casefold())
        found[record.image] = f"{stem}.png"
    return found


def _save(path, pixels):
    """(H, W[, 1 or 3]) of 8 or 16 bit as PNG."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = pixels[..., ::-1] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels
    with open(path, "xb") as stream:
        stream.write(cv2.imencode(".png", pixels)[1].tobytes())
