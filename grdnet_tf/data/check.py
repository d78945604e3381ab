"""A look at a data folder before hours of training: what is there, what is wrong, what will not survive the resize.

Every picture, mask and ROI is read up to three times; nothing is written.
"""
import os
from concurrent.futures import ThreadPoolExecutor
from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from skimage.measure import label

from ..errors import InputError
from . import lying, shards
from .files import read_picture, read_region
from .holding_out import parts_shown
from .records import duplicates, has_split, inspect, is_there, list_mvtec
from .roi import read_roi

SHOWN = 10  # files named of a kind; the others are counted


class Check(NamedTuple):
    """`facts`: a table, its heading first. `errors`: what stops training or evaluation. `warnings`: what misleads."""
    facts: List[List[str]]
    errors: List[str]
    warnings: List[str]


class Facts(NamedTuple):
    """Of one record: size of the picture, channels, bits, highest value; area of the smallest defect in its own pixels and in
    those of the resized picture, share of the picture that the ROI covers: None where there is no mask or ROI."""
    size: Tuple[int, int]
    channels: int
    depth: int
    peak: int
    smallest: Optional[int]
    resized: Optional[float]
    roi: Optional[float]


def check(root, image_size=(256, 256)) -> Check:
    """Look at `root` (MVTec layout, or shards) for training at `image_size`. InputError if it is no folder at all."""
    if not is_there(root):
        raise InputError(f"{root}: folder not found")
    facts, errors, warnings, splits = [], [], [], {}
    if shards.is_set(root):
        errors += shards.verify(root)
        for split in shards.describe(root)["splits"].values():
            warnings += split["notes"] + _shortened([f"{name}: left out: {why}" for name, why in split["skipped"]])
    for split in ("train", "test"):
        if split == "test" and not has_split(root, split):
            warnings.append("no test folder: a run can be trained, but not evaluated")
            continue
        try:
            records = list_mvtec(root, split)
        except InputError as error:
            errors.append(str(error))
            continue
        splits[split] = _usable(records, errors, warnings)
    facts.append(["folder", "images", "size", "channels", "bits", "up to", "masks", "smallest defect", "ROI covers"])
    for split, records in splits.items():
        for folder in sorted({record.defect for record in records}):
            chosen = [record for record in records if record.defect == folder]
            facts.append(_describe(f"{split}/{folder}", chosen, image_size, warnings))
    if not errors:
        warnings += _parts(splits.get("train", []), image_size)
    _compare(splits, errors, warnings)
    return Check(facts, errors, warnings)


def measure(record, image_size) -> Facts:
    """Raises BadImage."""
    pixels = read_picture(record.image)
    smallest = left = roi = None
    if record.mask:
        mask = read_region(record.mask)
        smallest = _smallest(label(mask, connectivity=2))
        left = smallest * image_size[0] * image_size[1] / mask.size
    if record.roi:
        roi = float(read_roi(record.roi, pixels.shape[:2]).mean())
    return Facts(pixels.shape[:2], pixels.shape[2], 8 * pixels.itemsize, int(pixels.max()), smallest, left, roi)


def _usable(records, errors, warnings):
    """The records whose files can be used; the others are named in `errors`, what is to be known in `warnings`."""
    try:
        inspection = inspect(records, "skip", 1.0)
        usable, bad = inspection.records, [f"{path}: {reason}" for path, reason in inspection.skipped]
        warnings += inspection.notes
    except InputError as whole:  # colour and grey mixed, or nothing is left: then one by one
        usable, bad = [], []
        for record in records:
            try:
                usable += inspect([record]).records
            except InputError as error:
                bad.append(str(error))
        if usable:
            errors.append(str(whole))
    errors += _shortened(bad)
    return usable


def _describe(name, records, image_size, warnings):
    """One line of the table; warns of defects that are less than a pixel."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda record: measure(record, image_size), records))
    tiny, size = [r.mask for r, fact in zip(records, found) if (fact.resized or 1) < 1], " x ".join(map(str, image_size))
    warnings += _shortened([f"{path}: its smallest defect is less than a pixel at {size}" for path in tiny])
    sizes = sorted({fact.size for fact in found})
    shown = "{1} x {0}".format(*sizes[0])
    if len(sizes) > 1:
        shown = f"{len(sizes)} sizes, {shown} to " + "{1} x {0}".format(*sizes[-1])
    masks = [fact for fact in found if fact.smallest is not None]
    rois = [fact.roi for fact in found if fact.roi is not None]
    return [name, str(len(found)), shown, "/".join(sorted({str(fact.channels) for fact in found})),
            "/".join(sorted({str(fact.depth) for fact in found})), str(max(fact.peak for fact in found)),
            str(len(masks)) if masks else "-",
            f"{min(fact.smallest for fact in masks)} px" if masks else "-",
            f"{min(rois):.0%} to {max(rois):.0%}" if rois else "-"]


def _parts(train, image_size):
    """Whether parts come several times: fewer of them are known than pictures."""
    parts = parts_shown(train, image_size) if len(train) > 1 else None
    if parts is None:
        return []
    sizes = np.bincount(parts)
    if sizes.max() > len(train) / 2 or len(sizes) > len(train) / 2:  # one lies at any angle, or few come twice
        return []
    return [f"train/good shows some {len(sizes)} parts in {len(train)} pictures, by their likeness: what is held out "
            "must be other parts (data.held_out_by: part)"]


def _compare(splits, errors, warnings):
    """What one split lets expect of the other."""
    train, test = splits.get("train", []), splits.get("test", [])
    loose = lying.warning(train)
    if loose:
        warnings.append(loose)
    if train and test:
        if read_picture(train[0].image).shape[2] < read_picture(test[0].image).shape[2]:
            errors.append(f"{test[0].image}: a colour picture, but those to train on are grey: no evaluation takes it")
        warnings += _shortened([f"{ours} and {theirs} are the same picture: in training and test"
                                for ours, theirs in duplicates(train, test)])
        with_roi = [name for name, records in splits.items() if any(record.roi for record in records)]
        if len(with_roi) == 1:
            warnings.append(f"only {with_roi[0]} has ROIs")
    if len(train) == 1:
        warnings.append("train/good holds one picture: none can be held out to validate on")
    if test:
        labels = {record.label for record in test}
        if len(labels) == 1:
            kind = "defective" if 1 in labels else "good"
            warnings.append(f"test holds {kind} pictures only: no AUROC can be given")
        for defect in sorted({record.defect for record in test if record.label and not record.mask}):
            warnings.append(f"test/{defect} has no masks: it is left out of the pixel figures")


def _smallest(labels):
    areas = np.bincount(labels.ravel())[1:]
    return int(areas.min()) if len(areas) else 0


def _shortened(lines):
    return lines[:SHOWN] + ([f"... and {len(lines) - SHOWN} more of this kind"] if len(lines) > SHOWN else [])
