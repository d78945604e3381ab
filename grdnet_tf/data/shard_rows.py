"""One picture as it is stored in a shard: its tf.train.Example, and what the columns of the index say of it."""
from __future__ import annotations

import hashlib
import os
import zlib
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np
import tensorflow as tf

from ..errors import InputError
from . import roi as rois
from .decoding import resize
from .files import BadImage, sha256_of
from .records import Kind, Record, examine
from .regions import resized
from .stored import Stored, Unreadable, read_file

FRAME = 12, 4  # bytes of a TFRecord before and after each example


class Wanted(NamedTuple):
    """What is asked for: `resize` (H, W) or None; about how many bytes make a shard; whether bad ones are left out."""
    resize: Optional[Tuple[int, int]] = None
    size: int = 150_000_000
    skip_bad: bool = False


class Row(NamedTuple):
    """One picture as it is stored: its Example, its columns but for the places, {part: its bytes}."""
    example: bytes
    columns: dict
    parts: dict
    kind: Kind


def name_of(path: str, root: str) -> str:
    """The path below `root`, with "/"."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def row(record: Record, root: str, split: str, wanted: Wanted, channels: Optional[int], first: Record):
    """A `Row`, or the BadImage that the record is. InputError for another colour than the `channels` of the `first`."""
    try:
        pixels = examine(record)
        contents, sha256, size = _as_it_was(record.image)
    except BadImage as bad:
        return bad
    kind = pixels.kind
    if channels not in (None, kind.channels):
        what = {1: "grey", 3: "colour"}
        raise InputError(f"{record.image}: {what[kind.channels]}, but {first.image} is {what[channels]}; expected all "
                         "pictures alike")
    image, regions = pixels.image, (pixels.mask, pixels.roi)
    if wanted.resize:
        with tf.device("CPU:0"):
            image = resize(tf.cast(image, tf.float32), wanted.resize, kind.channels).numpy().astype(image.dtype)
        regions = [None if region is None else resized(region, wanted.resize) for region in regions]
        contents, kind = _encoded(image), kind._replace(size=tuple(wanted.resize))
    mask, roi = (b"" if region is None else cv2.imencode(".png", 255 * region)[1].tobytes() for region in regions)
    name = name_of(record.image, root)
    columns = {"names": name, "sizes": list(kind.size), "depths": kind.depth, "channels": kind.channels,
               "peaks": kind.peak, "file_bytes": size, "image_sha256": sha256,
               "mask_sha256": sha256_of(record.mask) if record.mask else "0" * 64,
               "roi_sha256": rois.digest(record.roi) if record.roi else "0" * 64}
    texts = {"path": os.fsencode(name), "split": split.encode(), "defect": os.fsencode(record.defect),
             "sha256": sha256.encode()}
    example = tf.train.Example(features=tf.train.Features(feature={
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value] if value else []))
        for key, value in {"image": contents, "mask": mask, "roi": roi, **texts}.items()}))
    return Row(example.SerializeToString(deterministic=True), columns, {"image": contents, "mask": mask, "roi": roi},
                kind)


def _as_it_was(path):
    """(bytes to store, SHA-256 and bytes of the file that it is or was). BadImage."""
    try:
        if isinstance(path, Stored):
            return path.read(), path.sha256, path.size
        contents = read_file(path)
        return contents, hashlib.sha256(contents).hexdigest(), len(contents)
    except (OSError, Unreadable) as error:
        raise BadImage(path, f"cannot be read: {error}") from None


def _encoded(image):
    """The bytes of a picture that is quick to read: BMP, or of 16 bit a PNG that is hardly compressed."""
    stored = image[..., ::-1] if image.shape[2] == 3 else image
    kind = [".bmp"] if image.itemsize == 1 else [".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]]
    return cv2.imencode(kind[0], np.ascontiguousarray(stored), *kind[1:])[1].tobytes()


def place(example: bytes, contents: bytes, position: int):
    """[offset in the shard, length, CRC-32] of a part's `contents`, if the example's frame begins at `position`."""
    if not contents:
        return [0, 0, 0]
    return [position + FRAME[0] + example.index(contents), len(contents), zlib.crc32(contents)]
