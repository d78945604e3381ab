"""What does a file's header claim? Judged before anything is decoded, so that nothing is allocated for a lie.

Each function takes a file's bytes and gives a `Header`, or raises ValueError with the reason for which the picture cannot
be used. `decoding` has the same rules in TensorFlow's ops for the served graph; tests/data/test_corpus.py holds the two
together.
"""
from __future__ import annotations

import itertools
import re
import zlib
from typing import NamedTuple, Optional

import numpy as np

MAX_PIXELS = 50_000_000  # of a picture: 600 MB while it is resized
# Bytes of a file: two samples of 16 bit and three colours a pixel (a JPEG: two bytes), and what cameras add. All of a file is
# looked at before its sides are believed, so a long one costs memory whatever it claims.
ADDED_BYTES = 1 << 24
PIXEL_BYTES, JPEG_PIXEL_BYTES = 6, 2
JPEG_SIDE = 65_000  # libjpeg reads 65,500; `scan_reason` makes a picture up to 288 rows higher
DAMAGED = "cannot be decoded: truncated or damaged"
# Put where a scan of a JPEG ends, it changes the picture only if the scan was too short: see `scan_reason`.
SENTINEL = b"\x5a\xa7\x36\xc9\x1d\xe4\x8b\x72" * 5
RUN = 32  # bytes alike, at a multiple of as many from the scan's start
EOI = b"\xff\xd9"
_SCAN_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)  # within a scan 00 is stuffing, D0 to D7 a restart
_SCAN_PART = re.compile(rb"\xff(?=[\xc4\xda\xd0-\xd7])", re.DOTALL)


def most_bytes(kind: str, pixels: int = MAX_PIXELS) -> int:
    """How long a file ("JPEG" or another kind) of at most `pixels` may be."""
    return (JPEG_PIXEL_BYTES if kind == "JPEG" else PIXEL_BYTES) * pixels + ADDED_BYTES


class Header(NamedTuple):
    """Sides as stored, `channels` 1, 3 or another number that is refused, the EXIF `orientation` 1 to 8."""
    height: int
    width: int
    channels: int
    orientation: int = 1
    alpha: bool = False


def png(contents: bytes) -> Header:
    width, height = (int.from_bytes(contents[start:start + 4], "big") for start in (16, 20))
    depth, colour = contents[24:26].ljust(2, b"\0")
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    _within(height, width, height * (width * samples * depth // 8) / 1032, contents)  # deflate shrinks by 1032 at most
    _check_chunks(memoryview(contents))
    transparent = b"tRNS" in contents[:max(contents.find(b"IDAT"), 0)]
    tags = [at + 4 for at in (contents.find(b"eXIfII*\0"), contents.find(b"eXIfMM\0*")) if at >= 0]
    return Header(height, width, 1 if colour in (0, 4) else 3, orientation(contents, min(tags)) if tags else 1,
                  colour in (4, 6) or transparent)


def _check_chunks(contents):
    """ValueError where a part of a PNG is cut off, or one that its pixels need is not as it was written. libpng finds that
    too, but within OpenCV prints a line of its own to the error stream; and OpenCV makes room for as many bytes as a part
    claims, up to 4 GB."""
    at = 8
    while at < len(contents):
        end = at + 12 + int.from_bytes(contents[at:at + 4], "big")
        name = bytes(contents[at + 4:at + 8])
        if end > len(contents) or name[:1].isupper() and zlib.crc32(contents[at + 4:end - 4]) != int.from_bytes(
                contents[end - 4:end], "big"):
            raise ValueError(DAMAGED)
        at = len(contents) if name == b"IEND" else end


def bmp(contents: bytes) -> Header:
    start, bits = 14 + int.from_bytes(contents[14:18], "little"), int.from_bytes(contents[28:30], "little")
    width, height = (abs(int.from_bytes(contents[at:at + 4], "little", signed=True)) for at in (18, 22))
    if bits not in (8, 24) or contents[30:34] != b"\0\0\0\0":
        raise ValueError(f"is a BMP of {bits} bit or compressed, expected 8 bit grey or 24 bit RGB, not compressed")
    _within(height, width, (width * bits // 8 + 3) // 4 * 4 * height, contents)
    palette = np.frombuffer(contents[start:int.from_bytes(contents[10:14], "little")], np.uint8)
    if bits == 8:
        palette = palette[:len(palette) // 4 * 4].reshape(-1, 4)[:, :3]
        if not len(palette) or (palette != np.arange(len(palette), dtype=np.uint8)[:, None]).any():
            raise ValueError("is a BMP with a colour palette, expected 8 bit grey or 24 bit RGB")
    return Header(height, width, bits // 8)


def orientation(contents: bytes, start: int) -> int:
    """The orientation, 1 to 8, in the TIFF structure that begins at `start`; 1 where it says none."""
    order = "little" if contents[start:start + 2] == b"II" else "big"
    first = start + int.from_bytes(contents[start + 4:start + 8], order)
    for entry in range(first + 2, first + 2 + 12 * int.from_bytes(contents[first:first + 2], order), 12):
        if int.from_bytes(contents[entry:entry + 2], order) == 274:
            found = int.from_bytes(contents[entry + 8:entry + 10], order)
            return found if 1 <= found <= 8 else 1
        if entry > len(contents):
            break
    return 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w, ...) as stored -> as a viewer shows it."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


# JPEG ----------------------------------------------------------------------------------------------------------------


class Layout(NamedTuple):
    """Where in a JPEG's bytes the parts lie: "start of frame", the data after the first start of scan, the end marker."""
    frame: int
    scan: int
    end: int
    restarts: bool
    exif: Optional[int]
    several: bool  # scans


def jpeg(contents: bytes) -> Header:
    return jpeg_header(contents, jpeg_layout(contents))


def jpeg_layout(contents: bytes) -> Layout:
    """Walks from marker to marker to the end of the picture; what lies behind it, as cameras add it, is not looked at."""
    position, frame, scan, restarts, exif, scans = 2, 0, 0, False, None, 0
    while True:
        if position + 2 > len(contents) or contents[position] != 0xFF:
            raise ValueError(DAMAGED)
        marker = contents[position + 1]
        if marker == 0xFF:  # may pad a marker
            position += 1
            continue
        if marker == 0xD9:
            break
        length = int.from_bytes(contents[position + 2:position + 4], "big")
        if length < 2:
            raise ValueError(DAMAGED)
        if marker == 0xE1 and exif is None and contents[position + 4:position + 10] == b"Exif\0\0":
            exif = position + 10
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and not frame:
            frame = position
        restarts |= marker == 0xDD and contents[position + 4:position + 6] != b"\0\0"
        position += 2 + length
        if marker == 0xDA:
            scan, scans = scan or position, scans + 1
            following = _SCAN_MARKER.search(contents, position)
            if following is None:
                raise ValueError(DAMAGED)
            position = following.start()
    if not (frame and scan) or not _in_order(contents[scan:position]):
        raise ValueError(DAMAGED)
    return Layout(frame, scan, position, restarts, exif, scans > 1)


def _in_order(scans):
    """Whether the restart markers of each scan count 0 to 7 and again from 0."""
    before = 0
    for marker in re.finditer(rb"\xff([\x01-\xfe])", scans, re.DOTALL):
        code = marker[1][0]
        if 0xD0 <= code <= 0xD7 and code != (0xD0 + (before - 0xD0 + 1) % 8 if 0xD0 <= before <= 0xD7 else 0xD0):
            return False
        before = code
    return True


def jpeg_header(contents: bytes, layout: Layout) -> Header:
    kind, frame = contents[layout.frame + 1], contents[layout.frame + 4:layout.frame + 10]
    height, width, components = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5]
    if kind not in (0xC0, 0xC1, 0xC2) or frame[0] != 8:
        raise ValueError("is a JPEG of a rare kind, expected baseline or progressive with 8 bit")
    if max(height, width) > JPEG_SIDE:
        raise ValueError(f"is a JPEG of {width} x {height}, expected sides of at most {JPEG_SIDE} pixels")
    if components not in (1, 3):
        raise ValueError(f"has {components} colour components (CMYK), expected grey or RGB")
    _within(height, width, height * width / 512, contents)  # at least a bit for each block of 8 x 8
    return Header(height, width, components, 1 if layout.exif is None else orientation(contents, layout.exif))


def suspicious(contents: bytes, layout: Layout, pixels: np.ndarray) -> bool:
    """Whether a JPEG's scans must be looked at closely (`scan_reason`), which takes three more decodings.

    What a decoder finds no data for is grey of 128 exactly; lost parts of a file are mostly runs of one byte. Both are in
    sound pictures too. Several scans may lack data without a sign.
    """
    data = np.frombuffer(contents, np.uint8)[layout.scan:layout.end]
    parts = data[:len(data) // RUN * RUN].reshape(-1, RUN)
    return bool(layout.several or (pixels[-1, -1] == 128).all() or _grey_block(pixels)
                or (parts == parts[:, :1]).all(axis=1).any())


def _grey_block(pixels):
    """Whether one of the blocks of 8 x 8 is grey of 128. Pixel by pixel of all blocks: after a few, none is left."""
    height, width = (side // 8 * 8 for side in pixels.shape[:2])
    left = np.ones((height // 8, width // 8), bool)
    for y, x in itertools.product(range(8), repeat=2):
        grey = pixels[y:height:8, x:width:8] == 128
        left &= grey if grey.ndim == 2 else grey[..., 0] & grey[..., 1] & grey[..., 2]
        if not left.any():
            return False
    return True


def scan_reason(contents: bytes, layout: Layout, decode) -> Optional[str]:
    """Why the scans of a JPEG are damaged, None if they are sound; `decode`: bytes -> grey pixels or None.

    A decoder goes on over a hole: its codes stay legal, only that the picture is full too early or that the data ends too
    soon, of which libjpeg warns where nobody listens. So two changed copies are decoded. Bytes added at the end of each
    scan are not read if it is whole; a picture made higher shows nothing there if all its data belongs above. Both leave
    a sound file as it is. Not found is damage after which the codes happen to come out even, and too much data before a
    restart marker.
    """
    plain = decode(contents[:layout.end] + EOI)
    scan = _SCAN_PART.sub(SENTINEL + b"\xff", contents[layout.scan:layout.end]) + SENTINEL
    if layout.restarts:  # lost parts at the end would be filled with these
        scan += b"".join(bytes([0xFF, 0xD0 + i]) + SENTINEL for i in range(8))
    longer = decode(contents[:layout.scan] + scan + EOI)
    if plain is None or longer is None or not np.array_equal(plain, longer):
        return DAMAGED
    unit, width = _unit(contents, layout.frame), int.from_bytes(contents[layout.frame + 7:layout.frame + 9], "big")
    height = -(-int.from_bytes(contents[layout.frame + 5:layout.frame + 7], "big") // unit) * unit
    # The bits that fill a scan's last byte may show: in one unit, or one each where a scan refines by single bits.
    filled = 8 if layout.several else 1
    rows = -(-filled // -(-width // 32))  # a unit is 8 to 32 wide
    higher = decode(contents[:layout.frame + 5] + (height + (rows + 1) * unit).to_bytes(2, "big")
                    + contents[layout.frame + 7:layout.end] + EOI)
    if higher is None:
        return DAMAGED
    below = higher[height:] != 128
    return DAMAGED if below[rows * unit:].any() or below[:, 32 * filled:].any() else None


def _unit(contents, frame):
    """Rows that a JPEG codes at once: 8, 16 or 32."""
    components = contents[frame + 9]
    return 8 * max(contents[frame + 11 + 3 * i] & 15 for i in range(components)) if components > 1 else 8


def _within(height, width, fewest_bytes, contents):
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f"is {width} x {height}, expected 1 to {MAX_PIXELS} pixels")
    if fewest_bytes > len(contents):
        raise ValueError(f"{DAMAGED} ({len(contents)} bytes for {width} x {height} pixels)")
