"""Pictures in shards: TFRecord files beside an index that says where in them each picture's bytes lie.

    SHARDS/index.json                      splits, counts, digests of all other files, what the inspection found
    SHARDS/train-00000-of-00012.tfrecord   tf.train.Example: image, mask, roi (bytes), path, split, defect, sha256
    SHARDS/train-00000-of-00012.json       in columns: names, sizes, digests, offsets of its pictures
    SHARDS/roi.png or roi.json             the region that all pictures share, if they do; align.json as in the folder

A picture in a shard is a `Stored`: a path, by which it is named and sorted as in its folder, that also knows where its
bytes are. Whatever reads files by `files` reads it too. Written by `shard_writing`. A path with :// goes through
tf.io.gfile, any other needs no TensorFlow.
"""
from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import InputError
from ..storage import remote
from .record import Records, packed, unpacked
from .shard_columns import NUMBERS, PARTS, columns_of, folder_of, is_digest, read_columns, whole  # noqa: F401
from .stored import Reader, Stored, exists, file_digest, file_size, join, read_file

INDEX = "index.json"
PROGRESS = ".grdnet-shards"  # what is done already, while a set is written
_KEY, _VERSION = "grdnet_shards", 1
_NAME = re.compile(r"(train|test)-\d{5,}-of-\d{5,}\.tfrecord")


class Table:
    """One split of a set, its columns as arrays: a row a picture, in the order of their names."""

    def __init__(self, root: str, split: str, entries: Sequence[dict], resized: bool = False):
        self.root, self.split, self.resized = root, split, resized  # resized: before they were stored
        self.files = [join(root, entry["file"]) for entry in entries]
        self._reader, self._expected = Reader(), -1
        pieces = _each(root, lambda entry: read_columns(root, split, entry), entries)
        shard = np.repeat(np.arange(len(pieces), dtype=np.int32), [len(piece["names"]) for piece in pieces])
        names = np.concatenate([piece.pop("names") for piece in pieces])
        # As folders are listed: one after the other.
        folders = () if split == "train" else (packed([folder_of(split, name) for name in unpacked(names)]),)
        order = np.lexsort((names, *folders))
        self.texts, self.shard = names[order], shard[order]  # texts: of the names, `packed`
        twice = np.flatnonzero(self.texts[1:] == self.texts[:-1])
        if len(twice):
            raise InputError(f"{join(root, INDEX)}: {self.name(twice[0])} is in the set twice")

        def column(name):
            values = [piece.pop(name) for piece in pieces]
            if all((part == values[0][0]).all() for part in values):  # as the size, or that there is no mask: no room
                return np.broadcast_to(values[0][0], (len(order), *values[0].shape[1:]))
            return np.concatenate(values)[order]

        self.columns = {name: column(name) for name, *_ in NUMBERS[:-len(PARTS)]}
        self.places = {part: column(part) for part in PARTS}               # (n, 3): offset, length, CRC-32
        self.digests = {part: column(part + "_sha256") for part in PARTS}  # (n, 32) uint8

    def __len__(self):
        return len(self.texts)

    def name(self, row: int) -> str:
        """The path below the set, as in the folder that it was made of."""
        return unpacked(self.texts[row:row + 1])[0]

    @property
    def names(self) -> List[str]:
        """Of all, made when asked for."""
        return unpacked(self.texts)

    def path(self, row: int, part: str) -> Optional[Stored]:
        """None where the picture has no such part."""
        if not self.places[part][row, 1]:
            return None
        return Stored(join(self.root, self.name(row)), self, row, part)

    def kind(self, row: int) -> Tuple[Tuple[int, int], int, int, int]:
        """((height, width), channels, bits, highest value) of the stored picture."""
        return tuple(self.columns["sizes"][row].tolist()), *(int(self.columns[name][row])
                                                             for name in ("channels", "depths", "peaks"))

    def defect(self, row: int) -> str:
        """The folder that the picture is of."""
        return folder_of(self.split, self.name(row))

    def read(self, row: int, part: str) -> bytes:
        """Raises stored.Unreadable."""
        return self._reader.read(self.files[self.shard[row]], *self.places[part][row].tolist())

    def expect(self, row: int) -> None:
        """The shard of `row` will be read soon."""
        if self._expected != self.shard[row]:  # asked with every picture
            self._expected = self.shard[row]
            self._reader.expect(self.files[self._expected])


# Sets ----------------------------------------------------------------------------------------------------------------


def is_set(root: str) -> bool:
    """Whether `root` is a set of shards, finished or not, and no folder of pictures. A remote path always is."""
    if remote(root):
        return True
    try:
        with os.scandir(root) as entries:
            names = {entry.name for entry in entries if entry.name in (INDEX, PROGRESS, "train", "good")
                     or is_shard(entry.name)}
        if names == {INDEX}:  # of somebody else, beside pictures; or of a set that has lost its shards
            with open(os.path.join(root, INDEX), "rb") as stream:
                return _KEY.encode() in stream.read(4096)
    except OSError:
        return False
    return bool(names) and not names & {"train", "good"}


def describe(root: str) -> dict:
    """index.json of a set. InputError for one that is not finished, damaged or no set at all."""
    path = join(root, INDEX)
    try:
        contents = read_file(path)
    except OSError as error:
        if exists(join(root, PROGRESS)):
            raise InputError(f"{path}: not there yet: grdnet shards has not finished this set; the same command goes "
                             "on with it") from None
        raise InputError(f"{path}: {error.strerror or error}; expected a set that grdnet shards wrote") from None
    return _described(path, contents)


@functools.lru_cache(maxsize=8)
def _described(path, contents):
    try:
        found = json.loads(contents.decode("utf-8"))
        if not isinstance(found, dict) or _KEY not in found:
            raise InputError(f"{path}: not the index of a set that grdnet shards wrote")
        if found[_KEY] != _VERSION:
            raise InputError(f"{path}: of version {found[_KEY]!r}, this program reads version {_VERSION}")
        rest = {name: value for name, value in found.items() if name != "sha256"}
        if found["sha256"] != digest_of(rest):
            raise InputError(f"{path}: damaged: its SHA-256 is not the one that it was written with")
        if found["resize"] is not None and not whole([found["resize"]], 2):
            raise ValueError
        for split, each in found["splits"].items():
            if split not in ("train", "test") or not each["shards"]:
                raise ValueError
            for entry in each["shards"]:
                name = _NAME.fullmatch(entry["file"])
                if not (name and name[1] == split and whole([[entry["pictures"], entry["bytes"]]], 2)
                        and is_digest(entry["sha256"]) and is_digest(entry["columns_sha256"])):
                    raise ValueError
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path}: damaged") from None
    return found


def is_shard(name: str) -> bool:
    """Whether a file of this name is a shard."""
    return _NAME.fullmatch(name) is not None


def digest_of(index: dict) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def splits(root: str) -> Tuple[str, ...]:
    return tuple(describe(root)["splits"])


def table(root: str, split: str) -> Table:
    """The pictures of a split. InputError naming what is missing, truncated or not as it was written."""
    index = describe(root)
    if split not in index["splits"]:
        raise InputError(f"{root}: holds no split {split}, only {', '.join(index['splits'])}")
    entries = index["splits"][split]["shards"]
    _each(root, lambda entry: _check_size(join(root, entry["file"]), entry["bytes"]), entries)
    return _table(root, split, index["sha256"])


def _each(root, action, entries):
    """`action` of each entry; where a request takes its time, of several at once."""
    if not remote(root):
        return [action(entry) for entry in entries]
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(action, entries))


def _check_size(path, expected):
    try:
        found = file_size(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    if found != expected:
        what = "truncated" if found < expected else "not as it was written"
        raise InputError(f"{path}: {what}: {found} bytes, expected {expected}")


@functools.lru_cache(maxsize=4)
def _table(root, split, sha256):
    index = describe(root)
    return Table(root, split, index["splits"][split]["shards"], index["resize"] is not None)


def verify(root: str) -> List[str]:
    """What is wrong with a set's shards, a line each: every byte is read."""
    wrong = []
    for split in describe(root)["splits"].values():
        for entry in split["shards"]:
            path = join(root, entry["file"])
            try:
                if file_digest(path) != entry["sha256"]:
                    wrong.append(f"{path}: not as it was written: its SHA-256 is another")
            except OSError as error:
                wrong.append(f"{path}: {error.strerror or error}")
    return wrong


def groups(records: Sequence) -> np.ndarray:
    """(n,) int32: the number of the shard that each one's picture lies in, in the order of their coming; files are one
    group."""
    if isinstance(records, Records):
        shard = records.table.shard[records.rows]
        first = np.full(len(records.table.files), len(shard))
        first[shard[::-1]] = np.arange(len(shard))[::-1]  # of a shard that is named again the last one stays
        return np.argsort(np.argsort(first)).astype(np.int32)[shard]
    numbers: Dict[object, int] = {}
    keys = ((path.table.root, path.table.split, int(path.table.shard[path.row])) if isinstance(path, Stored) else None
            for path in (record.image for record in records))
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int32, len(records))


def dealt(records: Sequence) -> str:
    """What the order of training depends on besides the pictures: a digest of `groups`; "" where there is one group."""
    found = groups(records)
    return hashlib.sha256(found.astype("<i8").tobytes()).hexdigest() if len(found) and found.max() else ""
