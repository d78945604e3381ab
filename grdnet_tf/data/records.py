"""Which pictures are there, and can they be used: a data folder -> checked list of `Record`.

    where pictures, masks and ROIs lie: `layout`; in shards: `shards`
    <root>/roi.json or roi.xml: drawings, for the folders that have no ROI pictures; `roi`

Pure Python and OpenCV, no TensorFlow: a folder is judged in a fraction of the time that TensorFlow takes to import.
"""
from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..console import Progress
from ..errors import InputError, printable
from . import layout, shards
from . import roi as rois
from .files import FORMATS, BadImage, examine_region, read_picture, sha256_of, size_of
from .record import Kind, Record, Records, chosen, evenly, having, kinds_of  # noqa: F401
from .stored import Stored

logger = logging.getLogger(__name__)

_CHUNK = 512  # records handed to the threads at once: a million futures would cost a gigabyte


class Inspection(NamedTuple):
    """The usable `records`, what all of them share, and (path, reason) of what was left out."""

    records: Sequence[Record]
    channels: int  # 1 or 3
    depth: int     # 8 or 16 bit: the deepest picture's
    skipped: List[Tuple[str, str]]
    peak: int = 0  # the highest value of a pixel in the pictures of that depth
    notes: List[str] = []  # what was read in a way that one should know of
    sizes: Tuple[Tuple[int, int], ...] = ()  # (height, width) of the pictures, each once

    @property
    def words(self) -> str:
        """"320 pictures, 0 with a ROI, 512 x 512, grey, 8 bit, values up to 255"."""
        (first, *_, last) = sorted(self.sizes) * 2
        size = "{1} x {0}".format(*first) + ("" if first == last else " to {1} x {0}".format(*last))
        return (f"{len(self.records)} pictures, {having(self.records, 'roi')} with a ROI, {size}, "
                f"{_colour(self.channels)}, {self.depth} bit, values up to {self.peak}")


# Listing -------------------------------------------------------------------------------------------------------------


def list_mvtec(root: str, split: str) -> Sequence[Record]:
    """Records of `split`, sorted by path: "train" are the good pictures, "test" is every folder of test/.

    Masks, and likewise ROIs, are there for all pictures of a folder or for none of them: one missing among others is
    a slip that would silently count a defect as good.

    Raises: InputError naming the path: missing or empty folder, picture without its mask or ROI, mask or ROI without
        its picture, two pictures of one stem.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}, expected 'train' or 'test'")
    root = os.fspath(root)
    if shards.is_set(root):
        return Records(shards.table(root, split))
    folders = {"good": layout.train_folder(root)} if split == "train" else layout.test_folders(root)
    truth, drawing, records = os.path.join(root, "ground_truth"), rois.find(root), []
    for parent in [os.path.join(root, "roi", split)] + [truth] * (split == "test"):
        for stranger in layout.strangers(parent, folders):
            raise InputError(f"{os.path.join(parent, stranger)}: there are no pictures in "
                             f"{os.path.join(root, split, stranger)} that this belongs to")
    shared = layout.roi_for_all(root)
    ours = [os.path.join(root, "align.json"), *([drawing.path] if drawing else [])]  # in a folder of pictures alone
    for defect, folder in folders.items():
        images, masks = layout.pictures(folder, beside=ours), {}
        images = [path for path in images if path != shared]  # in a folder of pictures alone
        if split == "test":
            masks = layout.companions(images, folder, os.path.join(truth, defect), ("_mask", ""), "mask")
        if shared:
            roi = dict.fromkeys(images, shared)
        else:
            regions = os.path.join(root, "roi", os.path.relpath(folder, root))
            own = layout.companions(images, folder, regions, ("",), "ROI", (*FORMATS, ".json"))
            if drawing and own:
                logger.info("%s: %s has ROIs of its own, which come first", drawing.path, folder)
            roi = ({image: rois.of_picture(path) for image, path in own.items()} if own or not drawing else
                   rois.assign(drawing, root, images))
        records += [Record(image, masks.get(image), roi.get(image), int(defect != "good"), defect) for image in images]
    return records


def is_there(root: str) -> bool:
    """Whether `root` is a folder, or a set of shards."""
    return shards.exists(shards.join(root, shards.INDEX)) if shards.remote(root) else os.path.isdir(root)


def has_split(root: str, split: str) -> bool:
    """Whether there is anything that `list_mvtec` could list. InputError for shards that cannot be read."""
    if shards.is_set(root):
        return split in shards.splits(root)
    return os.path.isdir(os.path.join(root, "test")) if split == "test" else layout.find_train(root) is not None


def list_pictures(folder: str) -> List[Record]:
    """Records of all pictures in `folder`, as good ones without mask or ROI. InputError if there are none."""
    return [Record(image, None, None, 0, "good") for image in layout.pictures(os.fspath(folder))]


def duplicates(a: Sequence[Record], b: Sequence[Record]) -> List[Tuple[str, str]]:
    """Byte-identical pictures across two splits, as (path in a, path in b): they would be tested on what was learnt."""
    ours, theirs = _file_sizes(a), _file_sizes(b)
    both = np.intersect1d(ours, theirs)  # cheaper than any hash
    found: Dict[str, List[str]] = {}
    for record in chosen(b, np.flatnonzero(np.isin(theirs, both))):
        found.setdefault(sha256_of(record.image), []).append(record.image)
    return [(record.image, other) for record in chosen(a, np.flatnonzero(np.isin(ours, both)))
            for other in found.get(sha256_of(record.image), [])]


def _file_sizes(records):
    if isinstance(records, Records):
        return records.table.columns["file_bytes"][records.rows]
    return np.fromiter((size_of(record.image) for record in records), np.int64, len(records))


# Inspection ----------------------------------------------------------------------------------------------------------


def inspect(records: Sequence[Record], on_bad_image: str = "error", max_skipped: float = 0.05,
            white: int = 0) -> Inspection:
    """Reads every file of `records` once, in threads, and keeps the records whose files can all be used.

    Those in shards were read when they were stored: the index says what was found.

    Bad are: unreadable, empty, truncated or damaged files; content that is not what the extension says; alpha or CMYK
    colour, palettes that TensorFlow would misread, several pages, more than `headers.MAX_PIXELS`; 8 bit where `white`
    (data.white) is above 255; a mask or ROI of another size than its picture, or of several values that are no soft edge;
    an empty ROI; a mask that contradicts the label.

    Raises: InputError naming the file: the first bad one with `on_bad_image` "error"; with "skip", more than
        `max_skipped` of all records bad. Always: grey and colour pictures mixed, nothing left.
    """
    if on_bad_image not in ("error", "skip"):
        raise InputError(f"data.on_bad_image is {on_bad_image!r}, expected error or skip")
    if isinstance(records, Records):
        kinds = kinds_of(records, white)
        if kinds:
            return _found(records, kinds, [], white)
    kept, kinds, skipped = [], [], []
    progress = Progress("pictures looked at")
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets go of Python's lock
        for start in range(0, len(records), _CHUNK):
            progress(start, len(records))
            chunk = records[start:start + _CHUNK]
            for record, (kind, bad) in zip(chunk, _examined(pool, chunk, white)):
                if bad is None:
                    kept.append(record)
                    kinds.append(kind)
                elif on_bad_image == "error":
                    raise InputError(str(bad))
                else:
                    skipped.append((bad.path, bad.reason))
    progress(len(records), len(records))
    if len(skipped) > max_skipped * len(records):
        raise InputError(f"{len(skipped)} of {len(records)} pictures are bad, more than data.max_skipped = "
                         f"{max_skipped} allows; the first is {skipped[0][0]}: {skipped[0][1]}")
    if not kept:
        raise InputError("no picture to work with: the list is empty")
    return _found(kept, kinds, skipped, white)


def summed(kinds: Sequence[Kind]):
    """(depth, highest value of that depth, notes on masks and ROIs, sizes) of all."""
    depth, soft = max(kind.depth for kind in kinds), {}
    for path in (path for kind in kinds for path in kind.soft):
        soft.setdefault(os.path.dirname(path), []).append(path)
    notes = [f"{folder}: {len(paths)} masks or ROIs with soft edges or of JPEG, of which what is above half counts; the "
             f"first is {min(paths)}" for folder, paths in sorted(soft.items())]
    return (depth, max(kind.peak for kind in kinds if kind.depth == depth), notes,
            tuple(sorted({kind.size for kind in kinds})))


def _found(kept, kinds, skipped, white):
    """The `Inspection` of usable records."""
    channels = [kind.channels for kind in kinds]
    if len(set(channels)) > 1:
        odd = next(i for i, c in enumerate(channels) if c != channels[0])
        raise InputError(f"{kept[odd].image}: {_colour(channels[odd])}, but {kept[0].image} is {_colour(channels[0])}; "
                         "expected all pictures alike")
    depth, peak, notes, sizes = summed(kinds)
    if depth == 16 and not white and peak < 2**13:
        notes.append(f"{kept[0].image} and the others have 16 bit, of which they use 0 to {peak}: the network would see "
                     f"{peak / 65535:.3f} at most; set data.white, to {2**max(8, peak.bit_length()) - 1} for a camera of "
                     f"{max(8, peak.bit_length())} bit")
    return Inspection(kept, channels[0], depth, skipped, peak, [printable(note) for note in notes], sizes)


class Pixels(NamedTuple):
    """One usable record: the picture (h, w, 1 or 3) uint8 or uint16, mask and ROI (h, w) uint8 {0, 1} or None."""
    image: np.ndarray
    mask: Optional[np.ndarray]
    roi: Optional[np.ndarray]
    kind: Kind


def examine(record: Record, white: int = 0) -> Pixels:
    """Reads the files of a record. Raises BadImage for what `inspect` calls bad."""
    pixels, soft, regions = read_picture(record.image), [], []
    if white > 255 and pixels.itemsize == 1:
        raise BadImage(record.image, f"has 8 bit, but data.white is {white}")
    for source, kind in ((record.mask, "mask"), (record.roi, "ROI")):
        if source is None:
            regions.append(None)
            continue
        path = source if isinstance(source, str) else source.path
        if isinstance(source, str):
            region, is_soft = examine_region(source)
            soft += [path] if is_soft else []
        else:
            region = rois.read_roi(source, pixels.shape[:2])
        if region.shape != pixels.shape[:2]:
            raise BadImage(path, f"{kind} is {region.shape[1]} x {region.shape[0]}, its picture {record.image} is "
                                 f"{pixels.shape[1]} x {pixels.shape[0]}")
        if kind == "ROI" and not region.any():
            raise BadImage(path, "ROI is empty: nothing in the picture would be looked at")
        if kind == "mask" and region.any() != bool(record.label):
            raise BadImage(path, f"mask is {'not empty' if region.any() else 'empty'}, but its picture is listed "
                                 f"as {record.defect}")
        regions.append(region)
    kind = Kind(pixels.shape[:2], pixels.shape[2], 8 * pixels.itemsize, int(pixels.max()), soft)
    return Pixels(pixels, *regions, kind)


def _examined(pool, records, white):
    """(Kind, None) of each usable record, (None, BadImage) of another."""
    if all(_known(record) for record in records):  # without the threads, which cost more than looking it up
        return map(lambda record: _judged(record, white), records)
    return pool.map(lambda record: _judged(record, white), records)


def _judged(record, white):
    try:
        if not _known(record):
            return examine(record, white).kind, None
        kind = Kind(*record.image.table.kind(record.image.row), [])
        if white > 255 and kind.depth == 8:
            raise BadImage(record.image, f"has 8 bit, but data.white is {white}")
        if white and record.image.table.resized and kind.peak > white:
            raise BadImage(record.image, f"was resized before values above data.white = {white} were cut off; make the "
                                         "shards with --resize none")
        return kind, None
    except BadImage as bad:
        return None, bad


def _known(record):
    """Whether all its files are as they were when they came into a shard."""
    return isinstance(record.image, Stored) and (record.roi is None or isinstance(record.roi, Stored))


def _colour(channels):
    return "grey" if channels == 1 else "colour"
