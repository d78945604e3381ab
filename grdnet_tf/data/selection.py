"""Which pictures an evaluation reads: those it reports on, the ROI it applies, the good ones it fits thresholds on."""
from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, Optional, Sequence, Tuple

from ..errors import InputError
from .files import FORMATS, read_picture
from .records import Record, duplicates, hold_out, inspect, list_mvtec


def test_records(root: str, split: str, roi: str = "auto", white: int = 0) -> List[Record]:
    """The checked records of a split. `roi`: "auto" as the data has it, "none", a file for all, or a folder.

    Raises: InputError naming the file or folder that cannot be used.
    """
    records = with_roi(list_mvtec(root, split), root, roi)
    return inspect(records, white=white).records


def held_out_records(root: str, share: float, seed: int, skipped: Sequence[str] = (),
                     roi: str = "auto", white: int = 0) -> List[Record]:
    """The part of train/good that a run with this `share` and `seed` did not train on; `skipped` files it left out.

    Empty where nothing was held out or `root` has no train/good any more.
    """
    if not share or not os.path.isdir(os.path.join(root, "train", "good")):
        return []
    records = [record for record in list_mvtec(root, "train") if record.image not in set(skipped)]
    return inspect(with_roi(hold_out(records, share, seed)[1], root, roi), white=white).records


def with_roi(records: Sequence[Record], root: str, roi: str) -> List[Record]:
    """The records with another ROI: "auto" leaves them as they are, "none" takes it away, a file serves all of them.

    In a folder the ROI of DATA/test/crack/7.png is FOLDER/test/crack/7.*, FOLDER/crack/7.* or FOLDER/7.*.
    """
    if roi == "auto":
        return list(records)
    if roi == "none":
        return [record._replace(roi=None) for record in records]
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
    """{path of the picture: its own (height, width)}."""
    def size(record):
        return read_picture(record.image).shape[:2]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip((record.image for record in records), pool.map(size, records)))


def _find(image: str, root: str, folder: str) -> Optional[str]:
    parts = os.path.splitext(os.path.relpath(image, root))[0].split(os.sep)
    for start in range(len(parts)):
        stem = os.path.join(folder, *parts[start:])
        for extension in FORMATS:
            if os.path.isfile(stem + extension):
                return stem + extension
    raise InputError(f"{image}: no ROI of its own, expected {os.path.join(folder, *parts)}.png")
