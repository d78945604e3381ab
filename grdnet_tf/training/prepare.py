"""What does this run train on? A configuration and its data folder, checked, split and measured. No TensorFlow."""
import hashlib
import logging
import os
from typing import NamedTuple

from .. import config as configuration
from ..data import orientation
from ..data.records import duplicates, hold_out, inspect, list_mvtec
from ..errors import InputError

logger = logging.getLogger(__name__)


class Data(NamedTuple):
    """What a run trains on and what it validates on (both out of train/good), and what was left out as unusable."""
    train: list
    held_out: list
    channels: int
    depth: int
    skipped: list
    fingerprint: str  # of the pictures' names and sizes: a run must not go on with other data


def training_data(config) -> Data:
    """List, check and split train/good of `config.data.root`; warn of pictures that are in test/ too. No TensorFlow."""
    root, d = config.data.root, config.data
    inspection = inspect(list_mvtec(root, "train"), d.on_bad_image, d.max_skipped, d.white)
    for note in inspection.notes:
        logger.warning("warning: %s", note)
    logger.info("values in use: 0 to %d of %d", inspection.peak, d.white or 2**inspection.depth - 1)
    for path, reason in inspection.skipped:
        logger.warning("skipped: %s: %s", path, reason)
    if d.channels == "1" and inspection.channels == 3:
        raise InputError(f"data.channels = 1, but the pictures in {root} are colour")
    if os.path.isdir(os.path.join(root, "test")):
        for ours, theirs in duplicates(inspection.records, list_mvtec(root, "test")):
            logger.warning("warning: the same picture is in training and test: %s, %s", ours, theirs)
    held_out = []
    records = inspection.records
    if d.held_out:
        records, held_out = hold_out(records, d.held_out, config.train.seed)
    names = "\n".join(f"{os.path.relpath(r.image, root)} {os.path.getsize(r.image)}" for r in inspection.records)
    channels = inspection.channels if d.channels == "auto" else int(d.channels)
    return Data(records, held_out, channels, inspection.depth, inspection.skipped,
                hashlib.sha256(os.fsencode(names)).hexdigest())


def oriented(config, data: Data):
    """`config` with the turns and flips that the product in `data` shows by itself, if data.orientation asks for it."""
    d, names = config.data, orientation.Orientation._fields
    if d.orientation != "measured":
        return config
    if len(data.train) < orientation.FEWEST:
        logger.warning("warning: data.orientation cannot be measured on %d pictures, fewer than %d: turns and flips as "
                       "the configuration has them", len(data.train), orientation.FEWEST)
        return config
    found = orientation.measure(data.train, d.image_size, orientation.Orientation(*(getattr(d, n) for n in names)),
                                d.border)
    flips = [way for way, flip in (("left-right", found.flip_horizontal), ("upside down", found.flip_vertical)) if flip]
    logger.info("orientation, measured on the good pictures: turned by up to %g rad, %s", found.rotation,
                "flipped " + " and ".join(flips) if flips else "not flipped")
    return configuration.replace(config, **{f"data__{name}": value for name, value in zip(names, found)})


def measured(config) -> list:
    """What `oriented` found for the run of this configuration, as section.key=value; empty if it was not asked to."""
    if config.data.orientation != "measured":
        return []
    return [f"data.{name}={getattr(config.data, name)}" for name in orientation.Orientation._fields]
