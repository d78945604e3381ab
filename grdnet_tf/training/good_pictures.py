"""Which good pictures may a threshold of this run be fitted on? Those that it never trained on. No TensorFlow."""
import hashlib
import logging
import os
from typing import List, NamedTuple, Optional

from ..data import selection
from ..data.files import sha256_of
from ..data.holding_out import hold_out
from ..data.records import Record, has_split, is_there, list_mvtec
from ..errors import InputError
from ..storage import read_arrays
from . import recorded, run_folder

logger = logging.getLogger(__name__)


class Good(NamedTuple):
    """Good pictures that the run did not train on: those it held out, and those that it never saw.

    `keep`: whether a threshold fitted on them may be kept with the run: they are its own, or were named for it.
    """
    held_out: List[Record]
    new: List[Record]
    keep: bool

    @property
    def records(self) -> List[Record]:
        return self.held_out + self.new

    @property
    def words(self) -> str:
        """What they are: "12 good images that the run held out, 3 new ones"."""
        parts = [f"{len(self.held_out)} good images that the run held out"] if self.held_out else []
        if self.new:
            parts.append(f"{len(self.new)} " + ("new ones" if parts else "good images that the run never saw"))
        return ", ".join(parts)

    @property
    def sha256(self) -> str:
        """Of all their files, in no order."""
        return hashlib.sha256("".join(sorted(sha256_of(one.image) for one in self.records)).encode()).hexdigest()


def find(folder: str, config, data: Optional[str] = None, named: Optional[str] = None, roi: str = "auto") -> Good:
    """The good pictures for the run in `folder`.

    Args:
      data: the data folder that is evaluated, if the run's own is gone.
      named: a folder of good pictures that is named for this; its pictures join the run's own.
      roi: as of `selection.with_roi`.

    Raises: InputError naming a picture that has changed since the run recorded it, or one of `named` that the run
    trained on.
    """
    known = _known(folder, config)
    home = config.data.root if config.data.root and is_there(config.data.root) else data
    found = Good([], [], False)
    if home and has_split(home, "train"):
        if known is None:
            logger.warning("warning: %s does not say which pictures it held out, and its data folder is not as it was; "
                           "--good DIR names good pictures for a threshold", folder)
        else:
            records = selection.with_roi(_own(home, config.data.add_good), home, roi)
            today = recorded.sort_out(known, records, home)
            missing = len(known.names(recorded.HELD_OUT)) - len(today.held_out)
            if missing > 0 and today.held_out:
                logger.warning("warning: %d of the pictures that the run held out are gone", missing)
            own = bool(today.held_out) or os.path.realpath(home) == os.path.realpath(known.root)
            found = Good(today.held_out, today.new, own)
    if named:
        records = selection.with_roi(selection.good_folder(named), named, roi)
        if known is not None:
            today = recorded.sort_out(known, records)
            if today.trained:
                raise InputError(f"--good: {today.trained[0].image} is one of the pictures that the run was trained on")
            records = today.new
        found = Good(found.held_out, found.new + records, True)
    return Good(selection.checked(found.held_out, config.data), selection.checked(found.new, config.data), found.keep)


def _own(home, added):
    """The good pictures of the data folder and of those folders that were added to it which are still there."""
    there = [folder for folder in added if is_there(folder)]
    if len(there) < len(added):
        logger.warning("warning: --add-good %s: gone", next(folder for folder in added if folder not in there))
    return selection.training_records(home, there, once=False)


def _known(folder, config):
    """The run's record. Of a run without one: its pictures worked out again, if its checkpoints vouch for them."""
    known = recorded.read(folder)
    root, kept = config.data.root, os.path.join(folder, run_folder.CHECKPOINTS)
    if known is not None or not config.data.held_out or not (root and os.path.isdir(root) and os.path.isdir(kept)):
        return known
    skipped = set()
    if os.path.isfile(os.path.join(folder, run_folder.SUMMARY)):
        skipped = {path for path, _ in run_folder.read_summary(folder)["skipped"]}
    records = [one for one in list_mvtec(root, "train") if one.image not in skipped]
    for name in sorted(os.listdir(kept)):
        try:
            state = read_arrays(os.path.join(kept, name))[1]
        except InputError:
            continue
        if state.get("parts", {}).get("data", {}).get("fingerprint") == recorded.legacy_fingerprint(root, records):
            train, held_out = hold_out(records, config.data.held_out, config.train.seed)
            return recorded.record(root, int(config.data.channels), 8,
                                   {recorded.TRAINED: train, recorded.HELD_OUT: held_out})
    return None
