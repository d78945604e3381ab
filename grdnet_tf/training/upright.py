"""Loose parts that a run turns upright by itself (`data.upright`): what it trains on, and what it is measured on.

    DIR/train/good       ->  RUN/upright, a data folder like another, on which the run trains; RUN/align.json turns what comes
    --add-good DIR       ->  RUN/upright-added-0, -1, ... of a run that goes on from one whose parts were turned
    evaluate --data DIR  ->  RUN/upright-test, anew for each evaluation of pictures that lie as they came
    --good DIR           ->  RUN/upright-good, the same for thresholds
"""
import logging
import os
import shutil
from typing import List, NamedTuple, Optional

from .. import config as configuration
from ..console import watched
from ..data import aligning, layout, lying, selection, shards, turning
from ..data.files import read_picture
from ..data.record import Record
from ..data.records import evenly, has_split, inspect, is_there, list_mvtec
from ..errors import InputError, printable
from . import run_folder

SIDE = 320  # pixels of the largest part's length, with its margin, where data.image_size leaves room for as many
logger = logging.getLogger(__name__)


def decided(config, folder: str):
    """`config` of a new run in `folder` with data.upright decided, its parts turned into RUN/upright if that is true.

    Then data.root is that folder, and image_size and crop are of its pictures. Turned by station.align, where that is
    given, else by what the good parts show. Raises: InputError where data.upright is true and they cannot be turned.
    """
    d, root = config.data, config.data.root
    if not d.upright:
        return config
    if aligning.beside(root):
        return _with_added(config, folder) if d.upright is True else configuration.replace(config, data__upright=False)
    against = _against(config)
    if against is None and d.upright == "auto" and not config.station.align and not _loose(root):
        return configuration.replace(config, data__upright=False)
    if against is None:
        try:
            return _with_added(_turned(config, folder), folder)
        except _NoDirection as error:
            against = str(error)
    if d.upright is True:
        raise InputError(f"data.upright = true: {root}: {against}")
    return configuration.replace(config, data__upright=False)


class _NoDirection(InputError):
    """Too few parts are longer than wide."""


class Turned(NamedTuple):
    """A data folder whose parts lie upright, and the records of the pictures in which none was found."""
    root: str
    lost: List[Record]


def measured_by_default(root: str, split: str) -> str:
    """The data folder of a run, or that of which RUN/upright was made, which holds no more than good pictures."""
    source = aligning.source(root) if is_there(root) and not has_split(root, split) else None
    return source or root


def measured(run: str, align: str, root: str, split: str) -> Turned:
    """The parts of `root` as the run's align.json turns them, in RUN/upright-test or -train, unless they lie so already.

    Raises: InputError where what is there was turned otherwise, or cannot be.
    """
    return _alike(align, root, os.path.join(run, f"{run_folder.UPRIGHT}-{split}"), split, list_mvtec(root, split))


def good(run: str, align: str, folder: str) -> str:
    """The same of a folder of good pictures, as of `selection.good_folder`, in RUN/upright-good."""
    return _alike(align, folder, os.path.join(run, f"{run_folder.UPRIGHT}-good"), "train",
                  selection.good_folder(folder)).root


def _alike(align, folder, out, split, records) -> Turned:
    alignment = aligning.read(align)
    if _against_folder(folder) is None:
        records = inspect(records).records
        if read_picture(records[0].image).shape[:2] != alignment.size:
            shutil.rmtree(out, ignore_errors=True)
            lost = turning.turn({split: records}, alignment, out, folder, _watched, region=False)
            logger.info("%s: turned upright, as the run's parts are, into %s", folder, out)
            return Turned(out, lost)
    aligning.check(align, records, folder)
    return Turned(folder, [])


def _with_added(config, folder):
    """`config` with the folders of --add-good turned as its data folder is."""
    added, align = [], config.station.align or aligning.beside(config.data.root)
    for number, more in enumerate(config.data.add_good):
        out = os.path.join(os.path.abspath(folder), f"{run_folder.UPRIGHT}-added-{number}")
        found = _alike(align, more, out, "train", selection.good_folder(more))
        _tell_lost(found.lost, more)
        added.append(found.root)
    return configuration.replace(config, data__add_good=tuple(added)) if added else config


def _turned(config, folder):
    d, root = config.data, config.data.root
    inspection = inspect(list_mvtec(root, "train"), d.on_bad_image, d.max_skipped, d.white)
    for path, reason in inspection.skipped:
        logger.warning("skipped: %s: %s", path, reason)
    if config.station.align:
        alignment = aligning.read(config.station.align)
    else:
        height, width = d.image_size
        try:
            alignment = aligning.learn(inspection.records, lambda record: read_picture(record.image), SIDE,
                                       height * width, lambda records: _watched(records, "parts looked for"))
        except InputError as error:
            raise _NoDirection(str(error)) from None
    run_folder.check_new(folder)
    out = os.path.join(os.path.abspath(folder), run_folder.UPRIGHT)
    shutil.rmtree(out, ignore_errors=True)  # of a run that was cut off before it began
    lost = turning.turn({"train": inspection.records}, alignment, out, root, _watched)
    logger.info("%s: the parts are turned to lie alike, %d x %d, in %s; pictures to be judged are turned as they are, but for "
                "those that a server is sent", root, *alignment.size[::-1], out)
    _tell_lost(lost, root)
    return configuration.replace(config, data__upright=True, data__root=out, data__image_size=alignment.size,
                                 data__crop=d.crop and alignment.window(d.crop))


def _tell_lost(lost, root):
    if lost:
        logger.warning("warning: %s: left out of the training are %d pictures in which no part is found, the first is %s",
                       root, len(lost), printable(lost[0].image))


def _against(config) -> Optional[str]:
    """Why the run cannot turn its pictures; None if it can."""
    against = [what for what, holds in (
        ("folders are added to it (data.add_good): turn all of them by grdnet align",
         config.data.add_good and not config.station.align),
        ("station.roi is drawn on pictures as they lie", config.station.roi and not config.station.align),
        ("station.follow looks for the part itself", config.station.follow), ("station.tiles are set", config.station.tiles),
        ("several workers train on it: turn it first, by grdnet align", config.train.strategy == "multiworker")) if holds]
    return against[0] if against else _against_folder(config.data.root)


def _against_folder(root) -> Optional[str]:
    if shards.remote(root) or shards.is_set(root):
        return "only a data folder's pictures are turned: grdnet align and then grdnet shards do so for a set"
    if aligning.beside(root):
        return "it holds parts that were turned already"
    return None


def _loose(root) -> bool:
    """Whether the good parts lie in all directions on plain ground. Files that cannot be read are judged by others."""
    if not layout.find_train(root):
        return False
    some = evenly(list_mvtec(root, "train"), lying.LOOKED_AT)
    try:
        return lying.in_all_directions(inspect(some, "skip", 1.0).records)
    except InputError:
        return False


def _watched(records, what):
    return watched(records, what, len(records))
