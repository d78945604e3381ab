"""What does this run train on? A configuration and its data folder, checked, split and measured. No TensorFlow."""
import logging
import os
from typing import NamedTuple, Optional

from .. import config as configuration
from ..data import orientation
from ..data.records import Record, duplicates, hold_out, inspect, list_mvtec
from ..errors import InputError
from .recorded import HELD_OUT, SKIPPED, TRAINED, Recorded, record, same_pictures

logger = logging.getLogger(__name__)


class Data(NamedTuple):
    """What a run trains on and what it validates on (both out of train/good), and what was left out as unusable."""
    train: list
    held_out: list
    channels: int
    depth: int
    skipped: list
    recorded: Recorded


def training_data(config, recorded: Optional[Recorded] = None) -> Data:
    """List, check and split train/good of `config.data.root`; a run that goes on keeps what it has `recorded`.

    Warns of pictures that are in test/ too, or that test/ cannot be read. Raises InputError naming the file or key.
    """
    root, d = config.data.root, config.data
    inspection = inspect(list_mvtec(root, "train"), d.on_bad_image, d.max_skipped, d.white)
    for note in inspection.notes:
        logger.warning("warning: %s", note)
    for path, reason in inspection.skipped:
        logger.warning("skipped: %s: %s", path, reason)
    if d.channels == "1" and inspection.channels == 3:
        raise InputError(f"data.channels = 1, but the pictures in {root} are colour")
    _warn_of_duplicates(root, inspection.records)
    channels = inspection.channels if d.channels == "auto" else int(d.channels)
    if recorded is not None:
        parts = same_pictures(recorded, inspection.records, root)
    else:
        parts = {TRAINED: inspection.records, HELD_OUT: []}
        if d.held_out:
            parts = dict(zip(parts, hold_out(inspection.records, d.held_out, config.train.seed)))
        unusable = [Record(path, None, None, 0, "good") for path, _ in inspection.skipped]
        recorded = record(root, channels, inspection.depth, {**parts, SKIPPED: unusable})
    logger.info("%s: %s of %d; %d to train on, %d held out, %d left out", root, inspection.words,
                d.white or 2**inspection.depth - 1, len(parts[TRAINED]), len(parts[HELD_OUT]), len(inspection.skipped))
    return Data(parts[TRAINED], parts[HELD_OUT], channels, inspection.depth, inspection.skipped, recorded)


def _warn_of_duplicates(root, records):
    """What lies in test/ is not trained on: nothing there stops a run."""
    if not os.path.isdir(os.path.join(root, "test")):
        return
    try:
        tested = list_mvtec(root, "test")
    except InputError as error:
        logger.warning("warning: an evaluation will refuse this: %s", error)
        return
    for ours, theirs in duplicates(records, tested):
        logger.warning("warning: the same picture is in training and test: %s, %s", ours, theirs)


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
    """What stands in a run's configuration and in no file that it was made from, as section.key=value.

    What `oriented` found, if it was asked to; the discriminator's blocks, which older runs do not name.
    """
    blocks = config.network.discriminator_blocks
    found = [] if blocks is None else [f"network.discriminator_blocks={blocks}"]
    if config.data.orientation != "measured":
        return found
    return found + [f"data.{name}={getattr(config.data, name)}" for name in orientation.Orientation._fields]
