"""What a run trained on and what it held out: written once into RUN/data.json, read ever after. No TensorFlow.

A picture is known by the SHA-256 of its file, wherever it lies today. One that is not recorded is new; one that stands
under a recorded name with other contents has changed, and is refused.
"""
import hashlib
import itertools
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..data import roi as rois
from ..data.files import sha256_of, size_of
from ..data.record import Record, Records, chosen, packed, unpacked
from ..data.shards import dealt
from ..data.stored import Stored
from ..errors import InputError
from ..storage import absolute, read_json, write_file
from .entries import Block, Entries, Entry, Rows, digests

logger = logging.getLogger(__name__)

FILE = "data.json"
TRAINED, HELD_OUT, SKIPPED = "trained", "held_out", "skipped"
NOISE = "noise"    # defects that the training noise was cut from
BEFORE = "before"  # what the run that this one began from had learnt
LEARNT = (TRAINED, NOISE, BEFORE)
_BEGIN, _END = '"pictures": [\n', "\n]}\n"
_AT_ONCE = 4096  # lines


class Recorded(NamedTuple):
    """The data folder (absolute), its pictures in the order of the run, and what they have in common.

    `order`: of pictures to train on that lie in several shards, which is in which, as of `shards.dealt`; else "".
    """
    root: str
    channels: int
    depth: int
    entries: Sequence[Entry]
    order: str = ""

    @property
    def fingerprint(self) -> str:
        """Of names, contents and parts: a run must not go on with other data."""
        lines = (f"{e.part} {e.name} {e.sha256} {e.roi_sha256}" for e in self.entries if e.part != SKIPPED)
        found, between = hashlib.sha256(), ""
        for line in itertools.chain(lines, [self.order] * bool(self.order)):
            found.update((between + line).encode("utf-8", "surrogateescape"))
            between = "\n"
        return found.hexdigest()

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
    blocks = [_block(part, records, root) for part, records in parts.items()]
    return Recorded(absolute(root), channels, depth, Entries(blocks), dealt(parts.get(TRAINED, ())))


def _block(part, records, root):
    if isinstance(records, Records) and records.table.root == root:
        table = records.table
        columns = table.texts, table.digests["image"], table.digests["roi"]
        return Block(part, *(Rows(column, records.rows) for column in columns))
    sources = list({one.roi: None for one in records if one.roi})  # most often one file, or drawing, serves all
    regions = {None: None, **dict(zip(sources, _digests(sources)))}
    return Block(part, packed([_name(one.image, root) for one in records]),
                 digests(_digests([one.image for one in records])), digests([regions[one.roi] for one in records]))


def write(folder: str, recorded: Recorded) -> None:
    """Write RUN/data.json, one picture a line."""
    head = json.dumps({"root": recorded.root, "channels": recorded.channels, "depth": recorded.depth,
                       **({"order": recorded.order} if recorded.order else {})})
    def put(stream):
        between = f'{head[:-1]}, {_BEGIN}'
        for entry in recorded.entries:
            stream.write((between + json.dumps(entry)).encode())
            between = ",\n"
        stream.write(((between if not recorded.entries else "") + _END).encode())

    write_file(os.path.join(folder, FILE), put)


def read(folder: str) -> Optional[Recorded]:
    """What `write` wrote; None for a run from before there was such a file. InputError if it is damaged."""
    path = os.path.join(folder, FILE)
    if not os.path.isfile(path):
        return None
    try:
        content, rows = _opened(path)
        entries = Entries.of(_entry(row) for row in rows)
        return Recorded(content["root"], content["channels"], content["depth"], entries, content.get("order", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path}: damaged; the run no longer says what it trained on") from None


def _opened(path):
    """(what stands before the pictures, their rows); the rows come line by line where the file is as `write` has it."""
    with open(path, encoding="utf-8") as stream:
        first = stream.readline()
    if not first.endswith(_BEGIN):
        content = read_json(path)
        return content, content["pictures"]
    return json.loads(first + "]}"), _rows(path)


def _rows(path):
    with open(path, encoding="utf-8") as stream:
        stream.readline()
        while True:
            lines = list(itertools.islice(stream, _AT_ONCE))
            last = "".join(lines[-1:]) == _END[1:]
            yield from json.loads("[" + "".join(lines[:-1] if last else lines).rstrip().rstrip(",") + "]")
            if last or not lines:
                break
    if not last:
        raise ValueError("cut off")


def _entry(row):
    entry = Entry(*row)
    if not all(isinstance(value, str) for value in entry[:3]):
        raise ValueError
    return entry


def sort_out(recorded: Recorded, records: Sequence[Record], root: Optional[str] = None) -> Sorted:
    """Which of today's `records` the run trained on, held out, or never saw, by their contents.

    Raises: InputError naming a picture whose contents are not those of its name in the record, where `root` is the
        folder that was recorded, or holds a picture of it; of another folder, and without `root`, names say nothing.
    """
    parts = {entry.sha256: entry.part for entry in recorded.entries}
    parts.update(recorded.learnt)  # of equal pictures
    found, digests = Sorted([], [], []), list(_digests([one.image for one in records]))
    home = root is not None and (os.path.realpath(root) == os.path.realpath(recorded.root)
                                 or not parts.keys().isdisjoint(digests))
    names = set(recorded.names(TRAINED) + recorded.names(HELD_OUT)) if home else ()
    for one, sha256 in zip(records, digests):
        if sha256 not in parts:
            if home and _name(one.image, root) in names:
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
    today, entries = _block("", records, root), Entries.of(recorded.entries)
    names, wanted = today.names[:], entries.of_parts((TRAINED, HELD_OUT, NOISE))
    order = np.argsort(names, kind="stable")
    found = {TRAINED: [], HELD_OUT: [], NOISE: []}
    for block in wanted:
        at = np.searchsorted(names, block.names[:], sorter=order)
        indices = order[np.minimum(at, len(order) - 1)]
        gone = np.flatnonzero(names[indices] != block.names[:])
        if len(gone):
            raise InputError(f"{os.path.join(root, unpacked(block.names[:][gone[:1]])[0])}: gone; the run cannot go on "
                             "without it")
        found[block.part].append(indices)
    found = {part: np.concatenate(each or [np.array([], int)]) for part, each in found.items()}
    for part, indices in found.items():
        _check_same([block for block in wanted if block.part == part], today, indices, root)
    left_out = unpacked(np.setdiff1d(names, np.concatenate([block.names[:] for block in entries.blocks])))
    if left_out:
        logger.warning("warning: %d pictures have come since the run began and are left out, the first is %s",
                       len(left_out), left_out[0])
    parts = {part: chosen(records, indices) for part, indices in found.items()}
    if dealt(parts[TRAINED]) != recorded.order:
        raise InputError(f"{root}: the same pictures, but in other shards than those that the run began with: they "
                         "would come in another order")
    return parts


def _check_same(blocks, today, indices, root):
    """InputError naming a picture of the `blocks`, or its region, that is not the one of `today` at its index."""
    for block in blocks:
        own, indices = np.split(indices, [len(block.names)])
        for what in ("sha256", "roi_sha256"):
            now, then = getattr(today, what), getattr(block, what)[:]
            now = Rows(now.array, now.rows[own])[:] if isinstance(now, Rows) else now[own]
            other = np.flatnonzero((now != then).any(axis=1))
            if len(other):
                region = "its mask" if block.part == NOISE else "its ROI"
                raise InputError(f"{os.path.join(root, unpacked(block.names[:][other[:1]])[0])}: "
                                 f"{'the picture' if what == 'sha256' else region} is not the one that the run began "
                                 "with")


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
        return path.table.name(path.row)
    path, root = absolute(path), absolute(root)
    inside = path.startswith(os.path.join(root, ""))
    return (os.path.relpath(path, root) if inside else path).replace(os.sep, "/")
