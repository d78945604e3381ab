"""What a run trained on and what it held out: written once into RUN/data.json, read ever after. No TensorFlow.

A picture is known by the SHA-256 of its file, wherever it lies today. One that is not recorded is new; one that stands
under a recorded name with other contents has changed, and is refused.
"""
import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..data import roi as rois
from ..data.files import sha256_of, size_of
from ..data.records import Record
from ..data.shards import dealt
from ..data.stored import Stored
from ..errors import InputError
from ..storage import absolute, read_json, write_text

logger = logging.getLogger(__name__)

FILE = "data.json"
TRAINED, HELD_OUT, SKIPPED = "trained", "held_out", "skipped"
NOISE = "noise"    # defects that the training noise was cut from
BEFORE = "before"  # what the run that this one began from had learnt
LEARNT = (TRAINED, NOISE, BEFORE)


class Entry(NamedTuple):
    """A picture's path, with "/"; its file's SHA-256; what became of it; its ROI's, of a defect its mask's.

    The path is relative to the data folder, of a picture that lies outside absolute.
    """
    name: str
    sha256: str
    part: str
    roi_sha256: Optional[str] = None


class Recorded(NamedTuple):
    """The data folder (absolute), its pictures in the order of the run, and what they have in common.

    `order`: of pictures to train on that lie in several shards, which is in which, as of `shards.dealt`; else "".
    """
    root: str
    channels: int
    depth: int
    entries: List[Entry]
    order: str = ""

    @property
    def fingerprint(self) -> str:
        """Of names, contents and parts: a run must not go on with other data."""
        lines = [f"{e.part} {e.name} {e.sha256} {e.roi_sha256}" for e in self.entries if e.part != SKIPPED]
        lines += [self.order] * bool(self.order)
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def learnt(self) -> Dict[str, str]:
        """{SHA-256: part} of all pictures that shaped the weights."""
        return {entry.sha256: entry.part for entry in self.entries if entry.part in LEARNT}

    def names(self, part) -> List[str]:
        return [entry.name for entry in self.entries if entry.part == part]


class Sorted(NamedTuple):
    """Today's pictures as the run knows them, each list in today's order."""
    trained: List[Record]
    held_out: List[Record]
    new: List[Record]


def record(root: str, channels: int, depth: int, parts: Dict[str, Sequence[Record]]) -> Recorded:
    """The record of {part: pictures}. InputError for a file that has vanished."""
    flat = [(one, part) for part, records in parts.items() for one in records]
    sources = list({one.roi: None for one, _ in flat if one.roi})  # most often one file, or drawing, serves all
    regions = {None: None, **dict(zip(sources, _digests(sources)))}
    return Recorded(absolute(root), channels, depth, [
        Entry(_name(one.image, root), sha256, part, regions[one.roi])
        for (one, part), sha256 in zip(flat, _digests([one.image for one, _ in flat]))],
        dealt([one.image for one in parts.get(TRAINED, ())]))


def write(folder: str, recorded: Recorded) -> None:
    """Write RUN/data.json, one picture a line."""
    head = json.dumps({"root": recorded.root, "channels": recorded.channels, "depth": recorded.depth,
                       **({"order": recorded.order} if recorded.order else {})})
    lines = ",\n".join(json.dumps(list(entry)) for entry in recorded.entries)
    write_text(os.path.join(folder, FILE), f'{head[:-1]}, "pictures": [\n{lines}\n]}}\n')


def read(folder: str) -> Optional[Recorded]:
    """What `write` wrote; None for a run from before there was such a file. InputError if it is damaged."""
    path = os.path.join(folder, FILE)
    if not os.path.isfile(path):
        return None
    try:
        content = read_json(path)
        entries = [Entry(*entry) for entry in content["pictures"]]
        if not all(isinstance(value, str) for entry in entries for value in entry[:3]):
            raise ValueError
        return Recorded(content["root"], content["channels"], content["depth"], entries, content.get("order", ""))
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; the run no longer says what it trained on") from None


def sort_out(recorded: Recorded, records: Sequence[Record], root: str) -> Sorted:
    """Which of today's `records` in `root` the run trained on, held out, or never saw.

    Raises: InputError naming a picture whose contents are not those of its name in the record.
    """
    names = set(recorded.names(TRAINED) + recorded.names(HELD_OUT))
    parts = {entry.sha256: entry.part for entry in recorded.entries}
    parts.update(recorded.learnt)  # of equal pictures
    found = Sorted([], [], [])
    for one, sha256 in zip(records, _digests([one.image for one in records])):
        if sha256 not in parts:
            if _name(one.image, root) in names:
                raise InputError(f"{one.image}: has changed since the run recorded it in {FILE}; put the old picture "
                                 "back, or give the new one another name")
            found.new.append(one)
        elif parts[sha256] != SKIPPED:
            (found.trained if parts[sha256] in LEARNT else found.held_out).append(one)
    return found


def same_pictures(recorded: Recorded, records: Sequence[Record], root: str) -> Dict[str, List[Record]]:
    """{part: today's records} of a run that goes on, in its own order. What has come since is left out, with a warning.

    Raises: InputError naming a picture or ROI that is gone or has changed.
    """
    today = {_name(one.image, root): one for one in records}
    wanted = [entry for entry in recorded.entries if entry.part not in (SKIPPED, BEFORE)]
    for entry in wanted:
        if entry.name not in today:
            raise InputError(f"{os.path.join(root, entry.name)}: gone; the run cannot go on without it")
    now = record(root, recorded.channels, recorded.depth, {"": [today[entry.name] for entry in wanted]}).entries
    for then, entry in zip(wanted, now):
        if then.sha256 != entry.sha256 or then.roi_sha256 != entry.roi_sha256:
            region = "its mask" if then.part == NOISE else "its ROI"
            what = "the picture" if then.sha256 != entry.sha256 else region
            raise InputError(f"{os.path.join(root, then.name)}: {what} is not the one that the run began with")
    left_out = sorted(set(today) - {entry.name for entry in recorded.entries})
    if left_out:
        logger.warning("warning: %d pictures have come since the run began and are left out, the first is %s",
                       len(left_out), left_out[0])
    found = {part: [today[name] for name in recorded.names(part)] for part in (TRAINED, HELD_OUT, NOISE)}
    if dealt([one.image for one in found[TRAINED]]) != recorded.order:
        raise InputError(f"{root}: the same pictures, but in other shards than those that the run began with: they "
                         "would come in another order")
    return found


def from_before(recorded: Recorded, parent: Optional[Recorded]) -> Recorded:
    """`recorded` with what the run that this one began from had learnt, but for pictures that are in it anyway."""
    if parent is None:
        return recorded
    known = {entry.sha256 for entry in recorded.entries if entry.part != SKIPPED}
    return recorded._replace(entries=recorded.entries + [
        Entry(os.path.join(parent.root, entry.name).replace(os.sep, "/"), entry.sha256, BEFORE)
        for entry in parent.entries if entry.part in LEARNT and entry.sha256 not in known])


def seen(recorded: Optional[Recorded], records: Sequence[Record]) -> List[Tuple[Record, str, str]]:
    """(record, its part, its file's SHA-256) of those `records` that the run has learnt from."""
    learnt = recorded.learnt if recorded else {}
    digests = _digests([one.image for one in records]) if learnt else []
    return [(one, learnt[sha256], sha256) for one, sha256 in zip(records, digests) if sha256 in learnt]


def legacy_fingerprint(root: str, records: Sequence[Record]) -> str:
    """Of names and sizes alone, in the folder's order: what checkpoints held before there was a data.json."""
    names = "\n".join(f"{os.path.relpath(one.image, root)} {size_of(one.image)}"
                      for one in sorted(records, key=lambda one: one.image))
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()


def _digests(sources):
    """SHA-256 of each file; of a ROI that is drawn, of its shapes."""
    def digest(source):
        try:
            return rois.digest(source)
        except OSError as error:
            raise InputError(f"{source}: cannot be read: {error.strerror}") from None

    if all(isinstance(source, Stored) for source in sources):  # known without a thread each
        return list(map(sha256_of, sources))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets go of Python's lock
        return list(pool.map(digest, sources))


def _name(path, root):
    if isinstance(path, Stored) and path.table.root == root:
        return path.table.names[path.row]
    path, root = absolute(path), absolute(root)
    inside = path.startswith(os.path.join(root, ""))
    return (os.path.relpath(path, root) if inside else path).replace(os.sep, "/")
