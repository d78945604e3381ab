"""Picture files that were changed by chance or malice: claims of huge sides, bombs, flips, cuts, doubled parts."""
import io
import random
import struct
import zlib

import numpy as np
from picture_files import READ, REFUSED, RGB, chunk, pillow, tiff
from PIL import Image

SIDES = (0, 1, 7000, 16384, 65500, 65535, 2**31 - 1, 2**32 - 1)
BASES = [contents for contents in [*(contents for contents, _ in READ.values()), *REFUSED.values()] if contents]


def png_of(width, height, rows, depth=8, colour=2):
    """A PNG of any claim, whose checksums hold."""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def claiming(rng):
    """A small sound file whose header claims other sides, of one kind after the other."""
    kind, width, height = rng.randrange(4), rng.choice(SIDES), rng.choice(SIDES)
    if kind == 0:
        return png_of(width, height, b"\0" * rng.choice((1, 100, 10_000)), rng.choice((1, 8, 16)), rng.randrange(7))
    if kind == 1:
        jpeg = bytearray(pillow(RGB, "JPEG", progressive=rng.random() < 0.5))
        at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
        jpeg[at + 5:at + 9] = struct.pack(">HH", height & 65535, width & 65535)
        return bytes(jpeg)
    if kind == 2:
        bmp = bytearray(pillow(RGB, "BMP"))
        bmp[18:26] = struct.pack("<II", width, height)
        bmp[10:14] = struct.pack("<I", rng.choice((54, *SIDES)))
        return bytes(bmp)
    told = bytearray(tiff(RGB, photometric="rgb", **rng.choice(({}, {"tile": (16, 16)}, {"compression": "zlib"},
                                                                {"tile": (32, 32), "compression": "zlib"}))))
    first = struct.unpack("<I", told[4:8])[0]
    for entry in range(struct.unpack("<H", told[first:first + 2])[0]):  # of its tags, some hold other numbers or counts
        if rng.random() < 0.15:
            at = first + 2 + 12 * entry + rng.choice((4, 8))
            told[at:at + 4] = struct.pack("<I", rng.choice(SIDES))
    return bytes(told)


def changed(rng):
    """One of many kinds of files with one to four changes."""
    content = bytearray(rng.choice(BASES)[:60_000])
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1) if rng.random() < 0.5 else rng.randrange(min(200, len(content)) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            content[at:at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(SIDES))
        elif kind == 1:
            content[at:at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            del content[at:at + rng.randint(1, 40)]
        elif kind == 3:
            content[at:at] = content[at:at + rng.randint(1, 400)]
        elif rng.random() < 0.3:
            del content[at:]
    return bytes(content)


def bombs(side):
    """Small files that are what they claim: `side` squared of one colour."""
    empty = np.zeros((side, side, 3), np.uint8)
    found = [png_of(side, side, bytes((3 * side + 1) * side)), tiff(empty, photometric="rgb", compression="zlib")]
    for options in ({}, {"progressive": True}):
        stream = io.BytesIO()
        Image.fromarray(empty).save(stream, "JPEG", **options)
        found.append(stream.getvalue())
    return found


def mutated(count, seed=0):
    rng = random.Random(seed)
    return [claiming(rng) if i % 3 == 0 else changed(rng) for i in range(count)]


def memory(name):
    """MiB of this process, of a line of /proc/self/status: "VmHWM", "VmRSS"."""
    return next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if line.startswith(name))
