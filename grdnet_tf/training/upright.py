"""Loose parts that a run turns upright by itself (`data.upright`): what it trains on, and what it is measured on.

    DIR/train/good       ->  RUN/upright, a data folder like another, on which the run trains; RUN/align.json turns what comes
    --add-good DIR       ->  RUN/upright-added-0-DIGEST, ... of a run that goes on from one whose parts were turned
    evaluate --data DIR  ->  RUN/upright-test-DIGEST, of DIR as it is; made anew where DIR has changed
    --good DIR           ->  RUN/upright-good-DIGEST, the same for thresholds
"""
import hashlib
import logging
import os
import shutil
from typing import NamedTuple, Optional, Sequence

from .. import config as configuration
from ..console import watched
from ..data import aligning, layout, lying, selection, shards, turning
from ..data.files import read_picture
from ..data.records import evenly, has_split, inspect, is_there, list_mvtec
from ..errors import InputError, printable
from . import prepare, run_folder

SIDE = 320  # pixels of the largest part's length, with its margin, where data.image_size leaves room for as many
logger = logging.getLogger(__name__)


class Decided(NamedTuple):
    """A configuration with data.upright true or false, and the [file, why] that are left out on the way."""
    config: configuration.Config
    skipped: Sequence = ()


def decided(config, folder: str) -> Decided:
    """`config` of a new run in `folder` with data.upright decided, its parts turned into RUN/upright if that is true.

    Then data.root is that folder, and image_size and crop are of its pictures. Turned by station.align, where that is
    given, else by what the good parts show. Raises: InputError where data.upright is true and they cannot be turned.
    """
    d, root = config.data, config.data.root
    if not d.upright:
        return Decided(config)
    if aligning.beside(root):
        return Decided(_with_added(_of_canvas(config), folder))
    against = _against(config)
    if against is None and d.upright == "auto" and not config.station.align and not _loose(root):
        return Decided(configuration.replace(config, data__upright=False))
    if against is None:
        try:
            config, skipped = _turned(config, folder)
            return Decided(_with_added(config, folder), skipped)
        except turning.CannotTurn as error:
            against = str(error)
    if d.upright is True:
        raise InputError(f"data.upright = true: {against}")
    if _loose(root):
        logger.warning("warning: the parts lie in all directions, but are not turned upright: %s", against)
    return Decided(configuration.replace(config, data__upright=False))


def measured_by_default(root: str, split: str) -> str:
    """The data folder of a run, or that of which RUN/upright was made, which holds no more than good pictures."""
    source = turning.source(root) if is_there(root) and not has_split(root, split) else None
    return source or root


def measured(run: str, align: str, root: str, split: str) -> turning.Turned:
    """The parts of `root` as the run's align.json turns them, unless they lie so already.

    Raises: InputError where what is there was turned otherwise, or cannot be.
    """
    return _alike(align, root, os.path.join(run, f"{run_folder.UPRIGHT}-{split}"), split, list_mvtec(root, split))


def good(run: str, align: str, folder: str) -> str:
    """The same of a folder of good pictures, as of `selection.good_folder`."""
    found = _alike(align, folder, os.path.join(run, f"{run_folder.UPRIGHT}-good"), "train", selection.good_folder(folder))
    if found.lost:
        logger.warning("warning: %s: %d pictures count for no threshold, and grdnet predict calls none of them good: %s; the "
                       "first is %s", folder, len(found.lost), found.lost[0][1], printable(found.lost[0][0]))
    return found.root


def tell_if_gone(config) -> None:
    """Say that the good pictures of a run that had turned them are gone, and with them those that it held out."""
    root = config.data.root
    if config.data.upright and root and not is_there(root):
        logger.warning("warning: %s is gone, and with it the good pictures that the run held out: thresholds can be fitted on "
                       "those of --good DIR alone", root)


def _alike(align, folder, into, split, records) -> turning.Turned:
    """`folder`, or what was made of it in `into`-DIGEST."""
    alignment = aligning.read(align)
    if _against_folder(folder) is not None or not aligning.lying_otherwise(records, alignment):
        aligning.check(align, records, folder)
        return turning.Turned(folder)
    records = inspect(records).records
    out = os.path.abspath(f"{into}-{_digest(folder, records, align)}")
    if turning.is_made(out):
        return turning.made(out)
    above, begin = os.path.split(os.path.abspath(into))
    for name in os.listdir(above) if os.path.isdir(above) else ():  # of that folder before it changed
        older = os.path.join(above, name)
        if name.startswith(f"{begin}-") and turning.source(older) == os.path.abspath(folder):
            shutil.rmtree(older, ignore_errors=True)
    try:
        found = turning.turn({split: records}, alignment, out, folder, _watched, region=False)
    except InputError:
        if not turning.is_made(out):  # by another command at the same time
            raise
        return turning.made(out)
    logger.info("%s: turned upright, as the run's parts are, into %s", folder, out)
    return found


def _digest(folder, records, align):
    """Changes with the folder's name and its files, by their sizes and times."""
    told = [os.path.abspath(folder)]
    for record in records:
        for file in (record.image, record.mask, record.roi):
            path = os.fspath(file) if isinstance(file, (str, os.PathLike)) else None
            told.append(f"{file} {os.stat(path).st_size} {os.stat(path).st_mtime_ns}" if path else repr(file))
    with open(align, "rb") as stream:
        return hashlib.sha256(stream.read() + "\n".join(told).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _with_added(config, folder):
    """`config` with the folders of --add-good turned as its data folder is."""
    added, align = [], config.station.align or aligning.beside(config.data.root)
    if config.data.add_good:
        run_folder.check_new(folder)
    for number, more in enumerate(config.data.add_good):
        found = _alike(align, more, os.path.join(folder, f"{run_folder.UPRIGHT}-added-{number}"), "train",
                       selection.good_folder(more))
        _tell_lost(found.lost, more)
        added.append(found.root)
    return configuration.replace(config, data__add_good=tuple(added)) if added else config


def _of_canvas(config):
    """`config` of parts that were turned before; of their pictures' sizes, unless it has such of the same shape."""
    alignment = aligning.read(aligning.beside(config.data.root))
    config = configuration.replace(config, data__upright=True)
    (height, width), size = config.data.image_size, alignment.size
    if height * size[1] == width * size[0]:
        return config
    logger.info("data.image_size: %d x %d, the pictures of upright parts in %s, instead of %d x %d", size[1], size[0],
                config.data.root, width, height)
    return _sized(config, alignment)


def _sized(config, alignment):
    crop = config.data.crop
    return configuration.replace(config, data__image_size=alignment.size, data__crop=crop and alignment.window(crop))


def _turned(config, folder):
    """(`config` of RUN/upright, which is made, [file, why] that are left out). Raises: CannotTurn."""
    d, root = config.data, config.data.root
    run_folder.check_new(folder)
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
            raise turning.CannotTurn(f"{root}: {error}") from None
    out = os.path.join(os.path.abspath(folder), run_folder.UPRIGHT)
    with run_folder.locked(folder):
        if turning.is_made(out):  # by a run that was cut off before it began
            shutil.rmtree(out)
        found = turning.turn({"train": inspection.records}, alignment, out, root, _watched, fewest=aligning.FEWEST)
    logger.info("%s: the parts are turned to lie alike, %d x %d, in %s; pictures to be judged are turned as they are, but for "
                "those that a server is sent", root, *alignment.size[::-1], out)
    _tell_lost(found.lost, root)
    prepare.warn_of_duplicates(root, inspection.records)
    config = configuration.replace(config, data__upright=True, data__root=out)
    return _sized(config, alignment), [*inspection.skipped, *found.lost]


def _tell_lost(lost, root):
    if lost:
        logger.warning("warning: %s: left out of the training are %d pictures: %s; the first is %s", root, len(lost),
                       lost[0][1], printable(lost[0][0]))


def _against(config) -> Optional[str]:
    """Why the run cannot turn its pictures; None if it can."""
    d = config.data
    against = [what for what, holds in (
        ("folders are added to it (data.add_good): turn all of them by grdnet align", d.add_good and not config.station.align),
        ("station.roi is drawn on pictures as they lie", config.station.roi and not config.station.align),
        ("station.follow looks for the part itself", config.station.follow), ("station.tiles are set", config.station.tiles),
        ("noise.real holds defects of parts as they lie", config.noise.real),
        ("several workers train on it: turn it first, by grdnet align", config.train.strategy == "multiworker")) if holds]
    return f"{d.root}: {against[0]}" if against else _against_folder(d.root)


def _against_folder(root) -> Optional[str]:
    if shards.remote(root) or shards.is_set(root):
        return f"{root}: only a data folder's pictures are turned: grdnet align and then grdnet shards do so for a set"
    return f"{root}: it holds parts that were turned already" if aligning.beside(root) else None


def _loose(root) -> bool:
    """Whether the good parts lie in all directions on plain ground. Files that cannot be read are judged by others."""
    if _against_folder(root) or not layout.find_train(root):
        return False
    some = evenly(list_mvtec(root, "train"), lying.LOOKED_AT)
    try:
        return lying.in_all_directions(inspect(some, "skip", 1.0).records)
    except InputError:
        return False


def _watched(records, what):
    return watched(records, what, len(records))
