"""What the index says of each picture in a shard, in columns: read, and believed only where it can be."""
from __future__ import annotations

import hashlib
import json
import re

import numpy as np

from ..errors import InputError
from .record import packed
from .stored import join, read_file

PARTS = ("image", "mask", "roi")
# Columns of whole numbers: name, shape of one picture's, type in memory, of which there may be 10^6 rows.
NUMBERS = (("sizes", (2,), np.int32), ("depths", (), np.uint8), ("channels", (), np.uint8), ("peaks", (), np.uint16),
            ("file_bytes", (), np.uint32), *((part, (3,), np.uint32) for part in PARTS))
_IMPROPER = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\0")  # a path's parts that lead elsewhere, or nowhere


def columns_of(file: str) -> str:
    """The name of the file with the columns of a shard."""
    return file[:-len(".tfrecord")] + ".json"


def folder_of(split: str, name: str) -> str:
    """The folder that a picture of this name is of, "good" of those to train on."""
    return "good" if split == "train" else name.split("/")[1]


def read_columns(root: str, split: str, entry: dict) -> dict:
    """The columns of one shard, checked, as arrays. InputError."""
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
    piece = {"names": packed(names)}
    for name, shape, dtype in NUMBERS:
        if name in PARTS[1:] and not found[name]:  # no picture has such a part
            piece[name] = np.broadcast_to(dtype(0), (n, *shape))
            continue
        values = np.array(found[name])
        if values.dtype.kind != "i" or values.shape != (n, *shape) or values.min() < 0:
            raise ValueError
        if values.max() > np.iinfo(dtype).max:
            if dtype is not np.uint32:
                raise ValueError
            dtype = np.int64  # a shard of more than 4 GB
        piece[name] = values.astype(dtype)
    for part in PARTS:
        digests = found[part + "_sha256"]
        if not digests and part != "image":
            piece[part + "_sha256"] = np.broadcast_to(np.uint8(0), (n, 32))
            continue
        text = "".join(digests).encode("ascii")
        if set(map(len, digests)) != {64} or len(digests) != n or not text.isalnum():
            raise ValueError
        piece[part + "_sha256"] = np.frombuffer(bytes.fromhex(text.decode()), np.uint8).reshape(n, 32)
    for part in PARTS:
        if (piece[part][:, :2].sum(axis=1) > entry["bytes"]).any():
            raise ValueError
    if not (piece["image"][:, 1].all() and piece["sizes"].all() and set(piece["channels"].tolist()) <= {1, 3}
            and set(piece["depths"].tolist()) <= {8, 16}):
        raise ValueError
    return piece


def _proper(name):
    """Whether it is a path that stays below the set, in no other spelling than its plain one."""
    return isinstance(name, str) and not _IMPROPER.search(name)


def whole(rows: list, width: int) -> bool:
    """Whether all are whole numbers, from 0 to 2^62; lists of `width` of them where that is not 0."""
    if width:
        if not all(type(row) is list and len(row) == width for row in rows):
            return False
        rows = [number for row in rows for number in row]
    return set(map(type, rows)) <= {int} and (not rows or 0 <= min(rows) and max(rows) < 2**62)


def is_digest(text) -> bool:
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None
