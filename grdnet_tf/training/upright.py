"""Loose parts that a run turns upright by itself (`data.upright`): what it trains on, and what it is measured on.

    DIR/train/good  ->  RUN/upright, a data folder like another, on which the run trains; RUN/align.json turns what comes
    DIR/test        ->  RUN/upright-test, anew for each evaluation of pictures that lie as they came
"""
import logging
import os
import shutil
from typing import List, NamedTuple, Optional

from .. import config as configuration
from ..console import watched
from ..data import aligning, layout, shards, turning
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
    against = _against(config)
    if against is None and d.upright == "auto" and not config.station.align and not _loose(root):
        return configuration.replace(config, data__upright=False)
    if against is None:
        try:
            return _turned(config, folder)
        except _NoDirection as error:
            against = str(error)
    if d.upright is True and not aligning.beside(root):
        raise InputError(f"data.upright = true: {root}: {against}")
    return configuration.replace(config, data__upright=False)


class _NoDirection(InputError):
    """Too few parts are longer than wide."""


class Measured(NamedTuple):
    """The data folder that is measured on, whose parts lie upright, and the records of the pictures without any."""
    root: str
    lost: List[Record]


def measured_by_default(root: str, split: str) -> str:
    """The data folder of a run, or that of which RUN/upright was made, which holds no more than good pictures."""
    source = aligning.source(root) if is_there(root) and not has_split(root, split) else None
    return source or root


def measured(run: str, align: str, root: str, split: str) -> Measured:
    """The parts of `root` as the run's align.json turns them, RUN/upright-test or -train, unless they lie upright already.

    Raises: InputError where what is there was turned otherwise, or cannot be.
    """
    if _against_folder(root) is None:
        records = inspect(list_mvtec(root, split)).records
        alignment = aligning.read(align)
        if read_picture(records[0].image).shape[:2] != alignment.size:
            out = os.path.join(run, f"{run_folder.UPRIGHT}-{split}")
            shutil.rmtree(out, ignore_errors=True)
            lost = turning.turn({split: records}, alignment, out, root, _watched)
            logger.info("%s: turned upright, as the run's parts are, into %s", root, out)
            return Measured(out, lost)
    aligning.check(align, list_mvtec(root, split), root)
    return Measured(root, [])


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
    if lost:
        logger.warning("warning: left out of the training are %d of %d pictures in which no part is found, the first is %s",
                       len(lost), len(inspection.records), printable(lost[0].image))
    return configuration.replace(config, data__upright=True, data__root=out, data__image_size=alignment.size,
                                 data__crop=d.crop and alignment.window(d.crop))


def _against(config) -> Optional[str]:
    """Why the run cannot turn its pictures; None if it can."""
    against = [what for what, holds in (
        ("folders are added to it (data.add_good): turn all of them by grdnet align", bool(config.data.add_good)),
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
    some = evenly(list_mvtec(root, "train"), aligning.LOOKED_AT)
    try:
        return aligning.warning(inspect(some, "skip", 1.0).records) is not None
    except InputError:
        return False


def _watched(records, what):
    return watched(records, what, len(records))
