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
from .stored import Reader, Stored, exists, file_digest, file_size, join, read_file

INDEX = "index.json"
PROGRESS = ".grdnet-shards"  # what is done already, while a set is written
PARTS = ("image", "mask", "roi")
# Columns of whole numbers: name, shape of one picture's, type in memory, of which there may be 10^6 rows.
_NUMBERS = (("sizes", (2,), np.int32), ("depths", (), np.uint8), ("channels", (), np.uint8), ("peaks", (), np.uint16),
            ("file_bytes", (), np.int64), *((part, (3,), np.int64) for part in PARTS))
_KEY, _VERSION = "grdnet_shards", 1
_IMPROPER = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\0")  # a path's parts that lead elsewhere, or nowhere
_NAME = re.compile(r"(train|test)-\d{5,}-of-\d{5,}\.tfrecord")


class Table:
    """One split of a set, its columns as arrays: a row a picture, in the order of their names."""

    def __init__(self, root: str, split: str, entries: Sequence[dict], resized: bool = False):
        self.root, self.split, self.resized = root, split, resized  # resized: before they were stored
        self.files = [join(root, entry["file"]) for entry in entries]
        self._reader, self._expected = Reader(), -1
        pieces = _each(root, lambda entry: _piece(root, split, entry), entries)
        shard = np.repeat(np.arange(len(pieces), dtype=np.int32), [len(piece["names"]) for piece in pieces])
        names = [name for piece in pieces for name in piece["names"]]
        # As folders are listed: one after the other.
        keys = names if split == "train" else [(_defect(split, name), name) for name in names]
        order = np.array(sorted(range(len(names)), key=keys.__getitem__))
        self.names, self.shard = [names[i] for i in order], shard[order]
        twice = next((a for a, b in zip(self.names, self.names[1:]) if a == b), None)
        if twice is not None:
            raise InputError(f"{join(root, INDEX)}: {twice} is in the set twice")

        def column(name):
            values = np.concatenate([piece.pop(name) for piece in pieces])
            # What none of them has, as masks to train on, takes no room.
            return values[order] if values.any() else np.broadcast_to(values[0], values.shape)

        self.columns = {name: column(name) for name, *_ in _NUMBERS[:-len(PARTS)]}
        self.places = {part: column(part) for part in PARTS}               # (n, 3): offset, length, CRC-32
        self.digests = {part: column(part + "_sha256") for part in PARTS}  # (n, 32) uint8

    def __len__(self):
        return len(self.names)

    def path(self, row: int, part: str) -> Optional[Stored]:
        """None where the picture has no such part."""
        if not self.places[part][row, 1]:
            return None
        return Stored(join(self.root, self.names[row]), self, row, part)

    def kind(self, row: int) -> Tuple[Tuple[int, int], int, int, int]:
        """((height, width), channels, bits, highest value) of the stored picture."""
        return tuple(self.columns["sizes"][row].tolist()), *(int(self.columns[name][row])
                                                             for name in ("channels", "depths", "peaks"))

    def defect(self, row: int) -> str:
        """The folder that the picture is of."""
        return _defect(self.split, self.names[row])

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
        if found["resize"] is not None and not _whole([found["resize"]], 2):
            raise ValueError
        for split, each in found["splits"].items():
            if split not in ("train", "test") or not each["shards"]:
                raise ValueError
            for entry in each["shards"]:
                name = _NAME.fullmatch(entry["file"])
                if not (name and name[1] == split and _whole([[entry["pictures"], entry["bytes"]]], 2)
                        and _hex(entry["sha256"]) and _hex(entry["columns_sha256"])):
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


def columns_of(file: str) -> str:
    """The name of the file with the columns of a shard."""
    return file[:-len(".tfrecord")] + ".json"


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


def groups(paths: Sequence[str]) -> np.ndarray:
    """(n,) int64: the number of the shard that each path lies in, in the order of their coming; files are one group."""
    numbers: Dict[object, int] = {}
    keys = ((path.table.root, path.table.split, int(path.table.shard[path.row])) if isinstance(path, Stored) else None
            for path in paths)
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(paths))


def dealt(paths: Sequence[str]) -> str:
    """What the order of training depends on besides the pictures: a digest of `groups`; "" where there is one group."""
    found = groups(paths)
    return hashlib.sha256(found.astype("<i8").tobytes()).hexdigest() if len(found) and found.max() else ""


def _defect(split, name):
    return "good" if split == "train" else name.split("/")[1]


def _piece(root, split, entry):
    """The columns of one shard, checked. InputError."""
    columns = join(root, columns_of(entry["file"]))
    try:
        contents = read_file(columns)
    except OSError as error:
        raise InputError(f"{columns}: {error.strerror or error}") from None
    if hashlib.sha256(contents).hexdigest() != entry["columns_sha256"]:
        raise InputError(f"{columns}: not as it was written: its SHA-256 is another")
    try:
        return _columns(json.loads(contents.decode("utf-8")), split, entry)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InputError(f"{columns}: damaged") from None


def _columns(found, split, entry):
    names, n = found["names"], entry["pictures"]
    if len(names) != n or not all(map(_proper, names)):
        raise ValueError
    if split == "test" and not all(name.startswith("test/") and name.count("/") > 1 for name in names):
        raise ValueError
    piece = {"names": names}
    for name, shape, dtype in _NUMBERS:
        values = np.array(found[name] or np.zeros((n, *shape), int) if name in PARTS[1:] else found[name])
        if values.dtype.kind != "i" or values.shape != (n, *shape) or values.min() < 0:
            raise ValueError
        if values.max() > np.iinfo(dtype).max:
            raise ValueError
        piece[name] = values.astype(dtype)
    for part in PARTS:
        digests = found[part + "_sha256"] or ["0" * 64] * n
        text = "".join(digests)
        if set(map(len, digests)) != {64} or len(digests) != n or not text.isalnum():
            raise ValueError
        piece[part + "_sha256"] = np.frombuffer(bytes.fromhex(text), np.uint8).reshape(n, 32)
        if (piece[part][:, :2].sum(axis=1) > entry["bytes"]).any():
            raise ValueError
    if not (piece["image"][:, 1].all() and piece["sizes"].all() and set(piece["channels"].tolist()) <= {1, 3}
            and set(piece["depths"].tolist()) <= {8, 16}):
        raise ValueError
    return piece


def _proper(name):
    """Whether it is a path that stays below the set, in no other spelling than its plain one."""
    return isinstance(name, str) and not _IMPROPER.search(name)


def _whole(rows, width):
    """Whether all are whole numbers, from 0 to 2^62; lists of `width` of them where that is not 0."""
    if width:
        if not all(type(row) is list and len(row) == width for row in rows):
            return False
        rows = [number for row in rows for number in row]
    return set(map(type, rows)) <= {int} and (not rows or 0 <= min(rows) and max(rows) < 2**62)


def _hex(text):
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


