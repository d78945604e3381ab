"""Read one image file as a viewer shows it, or say why it cannot be used.

On the host, for inspection, training and evaluation alike, whether it is a file of its own or lies in a shard
(`stored`); `decoding` has the rules once more in the operations of a served graph. What the two would read differently
is refused, so that no pixel is lost without a word. A picture that carries an EXIF orientation is turned upright: that
is how people saw it when they drew its mask.
"""
from __future__ import annotations

import io
import os
from typing import NamedTuple

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from ..errors import printable
from ..storage import file_sha256
from . import headers, tiff
from .headers import MAX_PIXELS  # noqa: F401
from .stored import Stored, Unreadable

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
_MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF",
          b"II+\0": "TIFF", b"MM\0+": "TIFF"}


class BadImage(Exception):
    """One file is unusable: `path` and `reason`."""

    def __init__(self, path, reason):
        super().__init__(f"{printable(path)}: {reason}")
        self.path, self.reason = path, reason


class Region(NamedTuple):
    """`pixels` (H, W) uint8 in {0, 1}; `soft`: they are what was above half, for there were values in between."""
    pixels: np.ndarray
    soft: bool


def read_picture(path: str) -> np.ndarray:
    """The pixels of a picture, upright, (H, W, 1 or 3) uint8 or uint16, RGB. Raises BadImage."""
    header, pixels, _ = _read(path)
    if header.alpha:
        raise BadImage(path, "has an alpha channel, expected grey or RGB")
    return np.ascontiguousarray(headers.upright(pixels[..., None] if pixels.ndim == 2 else pixels, header.orientation))


def read_region(path: str) -> np.ndarray:
    """The pixels of a mask or ROI, (H, W) uint8 in {0, 1}. Raises BadImage."""
    return examine_region(path).pixels


def examine_region(path: str) -> Region:
    """`read_region`, and whether the file held more than two values.

    1 is what is not 0 in any colour; in the alpha channel where that, and not the colour, has the drawing. Of soft edges
    and of JPEG, whose values are never exact, what is above half. Other files of more than two values are refused: they
    may be numbers of classes.
    """
    header, pixels, kind = _read(path)
    peak = np.iinfo(pixels.dtype).max
    colour = pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        alpha = pixels[..., 3]
        if alpha.min() < alpha.max():
            colour = alpha if colour.min() == colour.max() else np.minimum(colour, alpha)
    high, lossy = colour.max(), kind == "JPEG"
    soft = not np.logical_or(colour == 0, colour == high).all()
    if soft and not lossy and high <= peak // 2:
        raise BadImage(path, f"is not binary: several values up to {high}, expected 0 and one other value")
    chosen = colour > peak // 2 if soft or lossy else colour > 0
    return Region(np.ascontiguousarray(headers.upright(chosen.astype(np.uint8), header.orientation)), soft)


def sha256_of(path: str) -> str:
    """SHA-256 of a picture's file, of one in a shard as it was before. Raises OSError."""
    return path.sha256 if isinstance(path, Stored) else file_sha256(path)


def size_of(path: str) -> int:
    """Bytes of a picture's file, of one in a shard as it was before. Raises OSError."""
    return path.size if isinstance(path, Stored) else os.path.getsize(path)


def _read(path):
    """(Header, pixels as stored, RGB, kind of file)."""
    contents, kind = _contents(path)
    try:
        if kind == "TIFF":
            return (*tiff.read(contents), kind)
        if kind == "JPEG":
            layout = headers.jpeg_layout(contents)
            header = headers.jpeg_header(contents, layout)
            contents = contents[:layout.end] + headers.EOI
        else:
            header = {"PNG": headers.png, "BMP": headers.bmp}[kind](contents)
        pixels = _jpeg(contents) if kind == "JPEG" else _decode(contents)
        if pixels is None or pixels.shape[:2] != (header.height, header.width):
            raise ValueError(headers.DAMAGED)
        # What is in a shard has been looked at before it came there, and has not changed since.
        if kind == "JPEG" and not isinstance(path, Stored) and headers.suspicious(contents, layout, pixels):
            reason = headers.scan_reason(contents, layout, _grey)
            if reason:
                raise ValueError(reason)
    except ValueError as error:
        raise BadImage(path, str(error)) from None
    return header, pixels, kind


def _contents(path):
    """(bytes, format) of a file whose content is what its extension says; in a shard it may be another."""
    try:
        longer = False
        if isinstance(path, Stored):
            contents = path.read()
        else:
            with open(path, "rb") as file:
                longer = os.fstat(file.fileno()).st_size > headers.most_bytes("PNG")
                contents = file.read(16 if longer else -1)
    except Unreadable as error:
        raise BadImage(path, str(error)) from None
    except OSError as error:
        broken = os.path.islink(path) and not os.path.exists(path)
        raise BadImage(path, "is a broken link" if broken else f"cannot be read: {error.strerror}") from None
    if not contents:
        raise BadImage(path, "is empty (0 bytes)")
    kind = next((kind for magic, kind in _MAGIC.items() if contents.startswith(magic)), None)
    wanted = FORMATS.get(os.path.splitext(path)[1].lower())
    if kind is None or kind != wanted and not isinstance(path, Stored):
        raise BadImage(path, f"wrong extension: the content is {kind or 'no PNG, JPEG, BMP or TIFF'}, not {wanted}")
    if longer or len(contents) > headers.most_bytes(kind):
        raise BadImage(path, f"is longer than the {headers.most_bytes(kind)} bytes that a {kind} may have")
    return contents, kind


def _jpeg(contents, mode=None):
    """Pixels of a JPEG, None of one that cannot be decoded. By Pillow, whose libjpeg is that of OpenCV, which prints a
    line of its own to the error stream for a damaged one."""
    try:
        with JpegImageFile(io.BytesIO(contents)) as picture:
            picture.draft(mode, picture.size)
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError):
        return None


def _grey(contents):
    return _jpeg(contents, "L")  # brightness alone, as it is coded


def _decode(contents):
    try:
        pixels = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if pixels is None or pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
