"""Loose parts turned upright, as files: DIR, whose parts lie in any direction, becomes OUT, where they all lie alike.

    OUT/train/good, test/DEFECT, ground_truth, roi     the pictures of the splits, masks and ROIs with them
    OUT/roi.png                                        where most good parts lie, unless DIR has ROIs
    OUT/align.json                                     by which they were turned, and of which DIR
"""
import collections
import os
from typing import Callable, Dict, List, Sequence

import cv2
import numpy as np

from ..errors import InputError
from ..storage import aside, sync_tree, writing
from . import aligning
from .files import read_picture, read_region
from .record import Record
from .roi import read_roi


def turn(splits: Dict[str, Sequence[Record]], alignment: aligning.Alignment, out: str, source: str,
         watched: Callable = lambda records, what: records, region=True) -> List[Record]:
    """Make the folder `out` of the records of each split; those in which no whole part is found are left out.

    Args:
      splits: {"train": records, "test": records} or some of it.
      source: the data folder that they are of.
      watched: is given the records of a split and what is done, and gives them back one by one.
      region: whether OUT/roi.png is made of the good parts.

    Returns: the records left out. Raises: InputError where no part is found in any of a split, or nothing can be written.
    """
    above, lost = os.path.dirname(os.path.abspath(out)), []
    with writing(out):
        os.makedirs(above, exist_ok=True)
    with writing(out), aside(above) as fresh:
        for split, records in splits.items():
            names = _names(records)
            gone = [record for record in watched(records, f"{split}: pictures turned")
                    if not _put(fresh, split, record, names[record.image], alignment)]
            if len(gone) == len(records):
                raise InputError(f"{source}: no part is found in any of the {'good ' * (split == 'train')}pictures, the "
                                 f"first is {records[0].image}")
            lost += gone
        if region and "train" in splits and not any(record.roi for records in splits.values() for record in records):
            folder = os.path.join(fresh, "train", "good")
            covered = aligning.covered(read_picture(os.path.join(folder, name)) for name in sorted(os.listdir(folder)))
            if covered is not None:
                _save(os.path.join(fresh, "roi.png"), covered * 255)
        aligning.write(os.path.join(fresh, aligning.FILE), alignment, source)
        sync_tree(fresh)
        os.rename(fresh, out)
    return lost


def _put(root, split, record, name, alignment) -> bool:
    """Write the record's files upright; False, and none of them, where no whole part is found in a picture."""
    picture = read_picture(record.image)
    matrix = alignment.matrix(picture)
    if matrix is None:
        return False
    _save(os.path.join(root, split, record.defect, name), alignment.upright(picture, matrix))
    if record.mask:
        path = os.path.join(root, "ground_truth", record.defect, f"{os.path.splitext(name)[0]}_mask.png")
        _save(path, alignment.region(read_region(record.mask), matrix) * 255)
    if record.roi:
        region = np.asarray(read_roi(record.roi, picture.shape[:2]))
        _save(os.path.join(root, "roi", split, record.defect, name), alignment.region(region, matrix) * 255)
    return True


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
