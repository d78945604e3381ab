"""Read one image file as it is stored, or say why it cannot be used.

OpenCV on the host. `pipeline` decodes PNG, JPEG and BMP with TensorFlow's ops instead, which a server can run too; the
checks here refuse what the two would read differently, so that no pixel is lost without a word.
"""
from __future__ import annotations

import os

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a damaged file is reported once, by us; read when cv2 is imported

import cv2  # noqa: E402
import numpy as np  # noqa: E402

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
MAX_PIXELS = 50_000_000  # of a picture that a server decodes: 600 MB while it is resized
_MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}


class BadImage(Exception):
    """One file is unusable: `path` and `reason`."""

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def read_picture(path: str) -> np.ndarray:
    """The pixels of a picture as stored, (H, W, 1 or 3) uint8 or uint16, RGB. Raises BadImage."""
    contents, kind = _contents(path)
    reason = _HEADER_CHECKS[kind](contents)
    if reason:
        raise BadImage(path, reason)
    pixels = _decode(path, contents)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise BadImage(path, f"has {pixels.dtype} pixels, expected 8 or 16 bit")
    if pixels.ndim == 2:
        return pixels[..., None]
    if pixels.shape[2] != 3:
        raise BadImage(path, "has an alpha or fourth channel, expected grey or RGB")
    return pixels[..., ::-1]  # OpenCV's order is BGR


def read_region(path: str) -> np.ndarray:
    """The pixels of a mask or ROI, (H, W) uint8 in {0, 1}: 1 where any colour channel is not 0. Raises BadImage."""
    pixels = _decode(path, _contents(path)[0])
    if pixels.ndim == 3:
        pixels = pixels[..., :3].max(axis=2)
    high = pixels.max()
    if not np.logical_or(pixels == 0, pixels == high).all():
        raise BadImage(path, "is not binary, expected 0 and one other value (save it as PNG, not as JPEG)")
    return (pixels != 0).astype(np.uint8)


def _contents(path):
    """(bytes, format) of a file whose content is what its extension says."""
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError as error:
        raise BadImage(path, f"cannot be read: {error.strerror}") from None
    if not contents:
        raise BadImage(path, "is empty (0 bytes)")
    kind = next((kind for magic, kind in _MAGIC.items() if contents.startswith(magic)), None)
    wanted = FORMATS.get(os.path.splitext(path)[1].lower())
    if kind != wanted:
        raise BadImage(path, f"wrong extension: the content is {kind or 'no PNG, JPEG, BMP or TIFF'}, not {wanted}")
    return contents, kind


def _decode(path, contents):
    # A JPEG may hold a thumbnail with an end marker of its own, so the end must follow the last scan's start.
    cut = contents.startswith(b"\xff\xd8") and contents.rfind(b"\xff\xd9") < contents.rfind(b"\xff\xda")
    try:
        pixels = None if cut else cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise BadImage(path, "cannot be decoded: truncated or damaged")
    return pixels


# Each returns the reason for which TensorFlow or OpenCV would silently read something else than the picture.


def _png_reason(contents):
    if contents[25:26] in (b"\4", b"\6") or b"tRNS" in contents[:max(contents.find(b"IDAT"), 0)]:
        return "has an alpha channel, expected grey or RGB"
    return None


def _jpeg_reason(contents):
    position = 2
    while position + 9 < len(contents) and contents[position] == 0xFF:
        marker = contents[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            components = contents[position + 9]
            return None if components in (1, 3) else f"has {components} colour components (CMYK), expected grey or RGB"
        length = int.from_bytes(contents[position + 2:position + 4], "big")
        position += 1 if marker == 0xFF else 2 + length  # 0xFF may pad a marker
    return None  # damaged: decoding will say so


def _bmp_reason(contents):
    start, bits = 14 + int.from_bytes(contents[14:18], "little"), int.from_bytes(contents[28:30], "little")
    if bits not in (8, 24) or contents[30:34] != b"\0\0\0\0":
        return f"is a BMP of {bits} bit or compressed, expected 8 bit grey or 24 bit RGB, not compressed"
    palette = np.frombuffer(contents[start:int.from_bytes(contents[10:14], "little")], np.uint8)
    if bits == 8:
        palette = palette[:len(palette) // 4 * 4].reshape(-1, 4)[:, :3]
        if (palette != np.arange(len(palette), dtype=np.uint8)[:, None]).any():
            return "is a BMP with a colour palette, expected 8 bit grey or 24 bit RGB"
    return None


def _tiff_reason(contents):
    order = "little" if contents.startswith(b"II") else "big"
    first = int.from_bytes(contents[4:8], order)
    entries = int.from_bytes(contents[first:first + 2], order)
    following = first + 2 + 12 * entries
    if int.from_bytes(contents[following:following + 4], order):
        return "is a TIFF of several pages, expected one"
    return None


_HEADER_CHECKS = {"PNG": _png_reason, "JPEG": _jpeg_reason, "BMP": _bmp_reason, "TIFF": _tiff_reason}
