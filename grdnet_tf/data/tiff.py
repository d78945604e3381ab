"""The pixels of a TIFF, in all of its layouts: strips, tiles, separate planes, BigTIFF, white as zero."""
from __future__ import annotations

import io
import logging

import cv2
import numpy as np

from .headers import DAMAGED, Header, _within

_NONE, _LZW, _DEFLATE, _PACKBITS = (1,), (5,), (8, 32946), (32773,)
_FAX = (2, 3, 4)  # of 1 bit
_SHRINKS = {1: 1, 5: 4096, 32773: 64}  # by how much at most; deflate and the codes of fax by more or less the first


def read(contents: bytes):
    """(Header, pixels (h, w), (h, w, 3 or 4) uint8 or uint16 as stored, RGB). Raises ValueError with the reason.

    OpenCV reads 16 bit in separate planes as random memory and white-is-zero as a negative, refuses small tiles, and
    takes damaged strips of 8 bit for sound. So what it is good at, compressed strips of 16 bit, is left to it, 8 bit goes to
    Pillow and the other layouts to tifffile: both come with scikit-image, and both fail where data is damaged.
    """
    header, page = _header(contents)
    try:
        pixels = _decode(_plain(contents, page), page)
    except Exception:  # whatever the readers throw at damaged data
        raise ValueError(DAMAGED) from None
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise ValueError(DAMAGED)
    return header, np.iinfo(pixels.dtype).max - pixels if page.photometric == 0 else pixels


def _header(contents):
    import tifffile  # 0.1 s: only where there is a TIFF

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # a damaged file is reported once, by us
    try:
        with tifffile.TiffFile(io.BytesIO(contents)) as file:
            pages, page = len(file.pages), file.pages[0]
        bits, kind, compression = page.bitspersample, page.sampleformat, int(page.compression)
        height, width, samples = map(int, (page.imagelength, page.imagewidth, page.samplesperpixel))
        ends = [at + size for at, size in zip(page.dataoffsets, page.databytecounts)]
        sizes, tag = page.databytecounts, page.tags.get(274)
        page.photometric, page.planarconfig, page.predictor = (int(n) for n in (
            page.photometric, page.planarconfig, page.predictor))
    except Exception:
        raise ValueError(DAMAGED) from None
    if pages > 1:
        raise ValueError("is a TIFF of several pages, expected one")
    known = {1: _NONE + _LZW + _DEFLATE + _PACKBITS + _FAX, 8: _NONE + _LZW + _DEFLATE + _PACKBITS,
             16: _NONE + _LZW + _DEFLATE + _PACKBITS}
    if bits not in known or int(kind) != 1:
        raise ValueError(f"is a TIFF of {bits} bit, sample format {int(kind)}; expected whole numbers of 8 or 16 bit")
    if compression not in known[bits]:
        raise ValueError(f"is a TIFF of compression {compression}, expected none, LZW, deflate or PackBits")
    if page.photometric not in (0, 1, 2) or samples not in (1, 3) and not page.extrasamples:
        raise ValueError(f"is a TIFF of colour kind {page.photometric} with {samples} samples, expected grey or RGB")
    if bits == 16 and page.planarconfig == 2 and samples > 1 and compression in _LZW + _PACKBITS:
        raise ValueError("is a TIFF of 16 bit whose separate planes are compressed by LZW or PackBits, expected one plane")
    _within(height, width, height * width * samples * bits / 8 / _SHRINKS.get(compression, 1032 * 8), contents)
    if not sizes or min(sizes) == 0 or max(ends) > len(contents):
        raise ValueError(DAMAGED)
    turned = tag.value if tag is not None and tag.value in range(1, 9) else 1
    return Header(height, width, 3 if page.photometric == 2 else 1, turned, bool(page.extrasamples)), page


def _plain(contents, page):
    """The bytes with orientation 1 and black as zero, which each reader would treat in its own way."""
    changed = bytearray(contents)
    for tag, value in ((page.tags.get(274), 1), (page.tags.get(262), 1 if page.photometric == 0 else None)):
        if tag is not None and value is not None:
            order = "little" if contents[:2] == b"II" else "big"
            changed[tag.valueoffset:tag.valueoffset + 2] = value.to_bytes(2, order)
    return bytes(changed)


def _decode(contents, page):
    if page.bitspersample < 16:
        from PIL import Image
        with Image.open(io.BytesIO(contents)) as image:
            pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        return pixels if pixels.dtype == np.uint8 else None
    if int(page.compression) in _LZW + _PACKBITS:
        pixels = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_UNCHANGED)
        return pixels if pixels is None or pixels.ndim == 2 else np.dstack([pixels[..., 2::-1], pixels[..., 3:]])
    import tifffile
    with tifffile.TiffFile(io.BytesIO(contents)) as file:
        pixels = file.pages[0].asarray()
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    return np.ascontiguousarray(np.moveaxis(pixels, 0, -1) if separate else pixels, pixels.dtype.newbyteorder("="))
