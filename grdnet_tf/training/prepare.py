"""What does this run train on? A configuration and its data folder, checked, split and measured. No TensorFlow."""
import json
import logging
import os
from typing import NamedTuple, Optional, Sequence

import numpy as np

from .. import config as configuration
from ..data import aligning, lying, orientation, selection
from ..data.holding_out import MOST, hold_out, parts_shown, whole_parts
from ..data.records import Record, duplicates, evenly, has_split, inspect, list_mvtec
from ..errors import InputError
from ..options import READ
from ..storage import absolute
from . import memory
from . import recorded as records_of
from .recorded import HELD_OUT, NOISE, SKIPPED, TRAINED, Recorded

logger = logging.getLogger(__name__)


class Data(NamedTuple):
    """What a run trains on, as often as it comes in a pass, what it validates on, and what was left out as unusable."""
    train: Sequence[Record]
    held_out: Sequence[Record]
    channels: int
    depth: int
    skipped: list
    recorded: Recorded
    noise: list = []  # defects that the training noise is cut from


def training_data(config, recorded: Optional[Recorded] = None, parent: Optional[Recorded] = None) -> Data:
    """List, check and split the good pictures of `config.data`; a run that goes on keeps what it has `recorded`.

    `parent`: the record of the run whose weights this one begins with. What that trained on is trained on again, never
    held out; what it held out stays held out.
    Warns of pictures that are in test/ too, or that test/ cannot be read. Raises InputError naming the file or key.
    """
    root, d = config.data.root, config.data
    listed = selection.training_records(root, d.add_good, once=recorded is None)
    upright = alignment(config)
    if upright and recorded is None:
        aligning.check(upright, listed, root)  # whose pictures come first
        for folder in d.add_good:
            aligning.check(upright, selection.good_folder(folder), folder)
    inspection = inspect(listed, d.on_bad_image, d.max_skipped, d.white)
    for note in inspection.notes:
        logger.warning("warning: %s", note)
    for path, reason in inspection.skipped:
        logger.warning("skipped: %s: %s", path, reason)
    if d.channels == "1" and inspection.channels == 3:
        raise InputError(f"data.channels = 1, but the pictures in {root} are colour")
    warn_of_duplicates(root, inspection.records)
    channels = inspection.channels if d.channels == "auto" else int(d.channels)
    turned = lying.warning(inspection.records) if recorded is None else None
    if turned:
        logger.warning("warning: %s: %s", root, turned)
    defects = []
    if any(section.sources.get("real", 0) > 0 for section in (config.noise, config.validation)):
        defects = selection.real_defects(config.noise.real, d.replace(channels=str(channels)))
    masks = [one._replace(roi=one.mask) for one in defects]  # its digest stands where a good picture's ROI has its own
    if recorded is not None:
        parts = records_of.same_pictures(recorded, inspection.records + masks, root)
    else:
        try:
            parts = {**_split(inspection.records, d, config.train.seed, parent), NOISE: masks}
        except InputError as error:
            raise InputError(f"{root}: {error}") from None
        _warn_of_equal_ones(parts)
        unusable = [Record(path, None, None, 0, "good") for path, _ in inspection.skipped]
        found = records_of.record(root, channels, inspection.depth, {**parts, SKIPPED: unusable})
        recorded = records_of.from_before(found, parent)
    logger.info("%s: %s of %d; %d to train on, %d held out, %d left out", root, inspection.words,
                d.white or 2**inspection.depth - 1, len(parts[TRAINED]), len(parts[HELD_OUT]), len(inspection.skipped))
    if defects:
        logger.info("%s: %d real defects with masks, a source of the noise", config.noise.real, len(defects))
    train = parts[TRAINED]
    if d.add_repeat > 1:
        added = tuple(os.path.join(absolute(folder), "") for folder in d.add_good)
        train = train + (d.add_repeat - 1) * [one for one in train if absolute(one.image).startswith(added)]
    return Data(train, parts[HELD_OUT], channels, inspection.depth, inspection.skipped, recorded, defects)


def alignment(config) -> Optional[str]:
    """The align.json of a run to be: that of the station, or else of the data folder, if `grdnet align` made it."""
    return config.station.align or aligning.beside(config.data.root)


def _split(records, d, seed, parent):
    """{TRAINED: records, HELD_OUT: records}; `d` are the options of the data."""
    known = parent and records_of.sort_out(
        parent._replace(entries=[one._replace(name="") for one in parent.entries]), records, "")
    if not d.held_out:
        if known and known.held_out:
            logger.warning("warning: data.held_out = 0: trained on are %d pictures, too, that the run of --from held out",
                           len(known.held_out))
        return {TRAINED: records, HELD_OUT: []}
    if known is None:
        return dict(zip((TRAINED, HELD_OUT), hold_out(records, d.held_out, seed, _parts(records, d))))
    held = known.held_out + _held_out_of_new(known, records, d, seed)
    if not held:
        raise InputError(f"data.held_out: of the {len(records)} pictures the run of --from was trained on "
                         f"{len(known.trained)}, and {len(known.new)} new one(s) leave none to validate on")
    chosen = {one.image for one in held}
    found = {TRAINED: [one for one in records if one.image not in chosen],
             HELD_OUT: [one for one in records if one.image in chosen]}
    logger.info("of the pictures %d were trained on before, %d were held out before, %d are new: %d of these held out",
                len(known.trained), len(known.held_out), len(known.new), len(held) - len(known.held_out))
    if not found[TRAINED]:
        raise InputError("all pictures are ones that the run of --from held out; none is left to train on")
    return found


def _held_out_of_new(known, records, d, seed):
    """Of the pictures that the parent never saw: all of parts that it held out, and a share of those of new parts.

    No new picture of a part that is trained on is held out, and no new part is divided, unless there were nothing to
    validate on otherwise: then a share of the new pictures is drawn one by one.
    """
    parts = _parts(records, d) if known.new else None
    if parts is not None:
        part = {one.image: number for one, number in zip(records, parts)}
        trained, held = ({part[one.image] for one in some} for some in (known.trained, known.held_out))
        again = [one for one in known.new if part[one.image] in held - trained]
        others = [one for one in known.new if part[one.image] not in held | trained]
        new = whole_parts(np.array([part[one.image] for one in others], int), d.held_out, seed)
        again += [one for one, held_out in zip(others, new) if held_out]
        if known.held_out or again:
            return again
    return hold_out(known.new, d.held_out, seed)[1] if len(known.new) > 1 else []


def _parts(records, d):
    """What `hold_out` takes whole; None where pictures are held out one by one."""
    if d.held_out_by != "part":
        return None
    parts = parts_shown(records, d.image_size)
    if parts is None:
        logger.warning("warning: data.held_out_by = part compares each picture with every other one, up to %d of them; "
                       "of these %d a share is held out at random", MOST, len(records))
    elif (shown := len(set(parts))) < len(records):
        logger.info("%d good pictures, %d parts by their likeness: held out are whole parts, as far as they fit into %g "
                    "%%", len(records), shown, 100 * d.held_out)
    return parts


def _warn_of_equal_ones(parts):
    """A threshold that is fitted on what was learnt by heart rejects what is only new."""
    equal = duplicates(parts[TRAINED], parts[HELD_OUT])
    if equal:
        logger.warning("warning: %d of the %d held-out pictures are trained on as well, as other files with the same "
                       "bytes, and count for no threshold; the first: %s, %s", len({held for _, held in equal}),
                       len(parts[HELD_OUT]), *equal[0])


def warn_of_duplicates(root, records):
    """What lies in test/ is not trained on: nothing there stops a run."""
    if not has_split(root, "test"):
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


def beside(config, data: Data):
    """`config` with features.fused: auto decided: may PaDiM judge beside GRD-Net? It knows places, not what moves.

    Where not, what only PaDiM reads goes back to its defaults.
    """
    if config.features.fused != "auto":
        return config
    strides, size = config.features.strides, config.data.image_size
    against = [what for what, holds in (
        ("pictures have regions of interest of their own", len({one.roi for one in evenly(data.train, 64)}) > 1),
        ("no pictures are held out", not data.held_out), ("station.tiles are set", config.station.tiles is not None),
        (f"data.image_size is not divisible by {max(strides)}", any(side % max(strides) for side in size)),
        ("PaDiM would need more memory than there is", not memory.enough(
            memory.needed(size, min(strides), config.features.channels or memory.NUMBERS, config.features.groups))))
        if holds]
    logger.info("features.fused: %s", f"GRD-Net alone: {against[0]}" if against else "GRD-Net and PaDiM judge together")
    return alone(config) if against else configuration.replace(config, features__fused=True)


def alone(config):
    """`config` with features.fused false, and all that only PaDiM reads as by default."""
    read, section = READ["grdnet"]["features"], type(config.features)
    return configuration.replace(config, features__fused=False, **{
        f"features__{key}": field.default for key, field in section.model_fields.items() if key not in read})


def measured(config) -> list:
    """What stands in a run's configuration and in no file that it was made from, as section.key=value.

    The folders of --add-good; whether its parts were turned, and their pictures' sizes then; what `oriented` found, if it
    was asked to; the discriminator's blocks, which older runs do not name.
    """
    blocks = config.network.discriminator_blocks
    turned = ("root", "upright", "image_size", "crop") if config.data.upright else ("upright",)
    found = [f"data.{name}={json.dumps(getattr(config.data, name))}" for name in turned]
    found += [] if blocks is None else [f"network.discriminator_blocks={blocks}"]
    found += [f"data.add_good={json.dumps(config.data.add_good)}"] if config.data.add_good else []
    if config.data.orientation != "measured":
        return found
    return found + [f"data.{name}={getattr(config.data, name)}" for name in orientation.Orientation._fields]
