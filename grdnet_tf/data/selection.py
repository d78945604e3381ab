"""Which pictures a command reads, under which ROI: to train on, to report on, to fit thresholds on, to cut from."""
from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, Sequence, Tuple, Union

from ..errors import InputError
from ..options import Data
from . import following, layout, shards
from . import roi as rois
from .files import FORMATS, read_picture
from .record import Records, having
from .records import Record, duplicates, inspect, list_mvtec, list_pictures
from .stored import Stored

logger = logging.getLogger(__name__)


def test_records(root: str, split: str, data: Data, roi: str = "auto") -> List[Record]:
    """The checked records of a split. `roi`: "auto" as the data has it, "none", a file for all, or a folder.

    Raises: InputError naming the file or folder that cannot be used by a run with the options `data`, channels known.
    """
    return checked(with_roi(list_mvtec(root, split), root, roi), data)


def training_records(root: str, added: Sequence[str] = (), once: bool = True) -> Sequence[Record]:
    """The good pictures of a data folder and of folders `added` to it, each as of `good_folder`.

    An added picture without a ROI has the one that all pictures of `root` share, if there is one. With `once` an added
    picture that is there already, by the bytes of its file, is left out, with a warning.
    """
    records = list_mvtec(root, "train")
    shared = rois.for_all(root) if added else None
    for folder in added:
        more = good_folder(folder)
        if shared:
            more = [one if one.roi else own for one, own in zip(more, with_roi(more, folder, shared))]
        elif having(records, "roi") and having(more, "roi") < len(more):
            logger.warning("warning: --add-good %s: no region of interest; everywhere counts in its pictures", folder)
        records = records + (_without_copies(more, records) if once else more)
    return records


def _without_copies(more, records):
    """Those of `more` whose files are none of `records`, nor of each other."""
    known, kept, twice = {}, [], []
    for ours, theirs in [*duplicates(more, records), *duplicates(more, more)]:
        if ours != theirs:
            known.setdefault(ours, []).append(theirs)
    own = {one.image for one in more}
    for one in more:
        others = [path for path in known.get(one.image, ()) if path not in own or path < one.image]
        if others:
            twice.append((one.image, others[0]))
        else:
            kept.append(one)
    if twice:
        logger.warning("warning: --add-good: %d pictures are there already and are used once, the first is %s, "
                       "which is %s", len(twice), *twice[0])
    return kept


def real_defects(root: str, data: Data) -> List[Record]:
    """The checked records of all defects in a data folder, with their masks: a source of the training noise.

    Raises: InputError naming a folder without a defect or without masks, or a file that cannot be used.
    """
    found = [record._replace(roi=None) for record in list_mvtec(root, "test") if record.label]
    if not found:
        raise InputError(f"noise.real = {root}: no defects, expected test/<defect>/ and ground_truth/<defect>/ in it")
    for record in found:
        if record.mask is None:
            raise InputError(f"noise.real: {record.image} has no mask, expected "
                             f"{os.path.join(root, 'ground_truth', record.defect)} with one for each picture")
    return checked(found, data)


def good_folder(folder: str) -> List[Record]:
    """The good pictures of a data folder, of its train/good or good, or of a folder of pictures, its subfolders too."""
    if shards.is_set(folder) or os.path.isdir(os.path.join(folder, "train")) or layout.find_train(folder):
        return list_mvtec(folder, "train")
    return list_pictures(folder)


def checked(records: Sequence[Record], data: Data) -> List[Record]:
    """The records, once every file of them has been read and is what a run with these options (channels known) takes."""
    if not records:
        return []
    inspection = inspect(records, white=data.white)
    for note in inspection.notes:
        logger.warning("warning: %s", note)
    if inspection.channels > int(data.channels):
        raise InputError(f"{inspection.records[0].image}: a colour picture, but the run was trained on grey ones")
    unfound = following.lost(inspection.records)
    if unfound:
        logger.warning("warning: the part is not found in %d of %d pictures, where the region stays as it was drawn; "
                       "the first is %s", len(unfound), len(records), unfound[0].image)
    return inspection.records


def with_roi(records: Sequence[Record], root: str, roi: Union[str, following.Choice]) -> Sequence[Record]:
    """The records with another ROI: "auto" leaves them as they are, "none" takes it away, a file serves all of them.

    A file is a picture or a drawing (.json, .xml). In a folder the ROI of DATA/test/crack/7.png is
    FOLDER/test/crack/7.*, FOLDER/crack/7.* or FOLDER/7.*. A `following.Choice` moves its file's region with the part.
    """
    if isinstance(roi, following.Choice):
        return [record._replace(roi=following.Following(record.roi, roi.reference, record.image))
                for record in with_roi(records, root, roi.roi)]
    if roi == "auto":
        return records[:]
    if roi == "none":
        return [record._replace(roi=None) for record in records]
    if os.path.isfile(roi) and roi.lower().endswith(rois.DRAWN):
        drawn = rois.assign(rois.read(roi), root, [record.image for record in records])
        if not drawn:
            raise InputError(f"--roi {roi}: no shape in it is for pictures such as {records[0].image}")
        return [record._replace(roi=drawn[record.image]) for record in records]
    if os.path.isfile(roi):
        return [record._replace(roi=roi) for record in records]
    if not os.path.isdir(roi):
        raise InputError(f"--roi {roi}: neither auto, none, a file nor a folder")
    return [record._replace(roi=_find(record.image, root, roi)) for record in records]


def check_apart(calibration: Sequence[Record], reported: Sequence[Record]) -> None:
    """InputError if a picture would both set a threshold and be judged by it: the same file, or the same bytes."""
    for ours, theirs in duplicates(calibration, reported):
        raise InputError(f"--thresholds: {ours} would be fitted on and reported on" +
                         (f", as {theirs}" if os.path.realpath(ours) != os.path.realpath(theirs) else ""))


def picture_sizes(records: Sequence[Record]) -> Dict[str, Tuple[int, int]]:
    """{path of the picture: its own (height, width)}, of one that was resized into a shard those it has there."""
    def size(record):
        if isinstance(record.image, Stored):
            return record.image.table.kind(record.image.row)[0]
        return read_picture(record.image).shape[:2]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip((record.image for record in records), pool.map(size, records)))


def resized_before(records: Sequence[Record]) -> bool:
    """Whether any picture was resized when it was stored in a shard: what its pixels measure is not known."""
    if isinstance(records, Records):
        return records.table.resized
    return any(isinstance(record.image, Stored) and record.image.table.resized for record in records)


def _find(image: str, root: str, folder: str) -> rois.Source:
    parts = os.path.splitext(os.path.relpath(image, root))[0].split(os.sep)
    for start in range(len(parts)):
        stem = os.path.join(folder, *parts[start:])
        for extension in (*FORMATS, ".json"):
            if os.path.isfile(stem + extension):
                return rois.of_picture(stem + extension)
    raise InputError(f"{image}: no ROI of its own, expected {os.path.join(folder, *parts)}.png")
