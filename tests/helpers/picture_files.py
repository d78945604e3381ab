"""Picture files of many kinds, written by hand or by Pillow."""
import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image

SIZE = (37, 53)

Y, X = np.mgrid[0:SIZE[0], 0:SIZE[1]]

RGB = np.stack([4 * X, 5 * Y, 2 * (X + Y)], 2).astype(np.uint8)

GREY = RGB[..., :1]

DEEP = RGB.astype(np.uint16) * 257 + 3

TURNED = {1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
          5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, -1), 7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
          8: lambda p: np.rot90(p)}  # what has to be done to see it upright, as the EXIF standard names the corners

def pillow(pixels, kind, mode=None, **options):
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, kind, **options)
    return stream.getvalue()

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

def png(rows, depth, colour, extra=b"", interlace=0, size=SIZE):
    """A PNG from the packed bytes of its rows, without filters."""
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], depth, colour, 0, 0, interlace))
            + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b""))

def interlaced(pixels):
    """The seven passes of Adam7, RGB of 8 bit."""
    rows = []
    for y, x, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):
        rows += [row.tobytes() for row in pixels[y::down, x::right]]
    return png(rows, 8, 2, interlace=1)

def tiff(pixels, **options):
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tifffile.imwrite(stream, pixels, metadata=None, **options)
    return stream.getvalue()

def lzw(pixels, compression):
    return cv2.imencode(".tif", pixels[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, compression])[1].tobytes()

def exif(orientation, order="<"):
    """A TIFF structure whose one tag is the orientation."""
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)

def oriented(kind, orientation, order="<"):
    tag = exif(orientation, order)
    if kind == "png":
        return png([row.tobytes() for row in RGB], 8, 2, chunk(b"eXIf", tag))
    if kind == "png, at its end":
        whole = png([row.tobytes() for row in RGB], 8, 2)
        return whole[:-12] + chunk(b"eXIf", tag) + whole[-12:]
    if kind == "tif":
        return tiff(RGB, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    jpeg = pillow(RGB, "JPEG", quality=95)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 8) + b"Exif\0\0" + tag + jpeg[2:]

def jpeg_pixels(contents):
    pixels = np.asarray(Image.open(io.BytesIO(contents)))
    return pixels if pixels.ndim == 3 else pixels[..., None]

JPEGS = {"plain.jpg": pillow(RGB, "JPEG", quality=95), "grey.jpg": pillow(GREY, "JPEG"),
         "progressive.jpg": pillow(RGB, "JPEG", progressive=True), "optimized.jpg": pillow(RGB, "JPEG", optimize=True),
         "4:4:4.jpg": pillow(RGB, "JPEG", subsampling=0), "restarts.jpg": pillow(RGB, "JPEG", restart_marker_blocks=2),
         "all grey of 128.jpg": pillow(np.full_like(RGB, 128), "JPEG", optimize=True),
         "progressive and all black.jpg": pillow(np.zeros_like(RGB), "JPEG", progressive=True)}

TRAILER = np.random.default_rng(0).integers(0, 256, 50_000, np.uint8).tobytes() + b"\xff\xda\xff\xd9\xff\xda"

PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)

BITS = (RGB[..., 0] > 90).astype(np.uint8)

READ = {  # name: (bytes, pixels as they must come out)
    "grey.png": (pillow(GREY, "PNG"), GREY), "rgb.png": (pillow(RGB, "PNG"), RGB), "interlaced.png": (interlaced(RGB), RGB),
    "16 bit.png": (png([row.astype(">u2").tobytes() for row in DEEP], 16, 2), DEEP),
    "16 bit grey.png": (png([row.astype(">u2").tobytes() for row in DEEP[..., 0]], 16, 0), DEEP[..., :1]),
    "1 bit.png": (png([np.packbits(row).tobytes() for row in BITS], 1, 0), BITS[..., None] * np.uint8(255)),
    "palette.png": (png([row.tobytes() for row in GREY[..., 0]], 8, 3, chunk(b"PLTE", PALETTE.tobytes())),
                    PALETTE[GREY[..., 0]]),
    "rgb.bmp": (pillow(RGB, "BMP"), RGB), "grey.bmp": (pillow(GREY, "BMP"), GREY),
    "8 bit.tif": (tiff(RGB, photometric="rgb"), RGB), "16 bit.tif": (tiff(DEEP, photometric="rgb"), DEEP),
    "big endian.tif": (tiff(DEEP, photometric="rgb", byteorder=">"), DEEP),
    "planes of 8 bit.tif": (tiff(RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), RGB),
    "planes of 16 bit.tif": (tiff(DEEP.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), DEEP),
    "white is zero, 8 bit.tif": (tiff(255 - GREY[..., 0], photometric="miniswhite"), GREY),
    "white is zero, 16 bit.tif": (tiff(65535 - DEEP[..., 0], photometric="miniswhite"), DEEP[..., :1]),
    "big, 8 bit.tif": (tiff(RGB, photometric="rgb", bigtiff=True), RGB),
    "big, 16 bit.tif": (tiff(DEEP, photometric="rgb", bigtiff=True), DEEP),
    "tiles of 8 bit.tif": (tiff(RGB, photometric="rgb", tile=(16, 16)), RGB),
    "tiles of 16 bit.tif": (tiff(DEEP, photometric="rgb", tile=(16, 16)), DEEP),
    **{f"{name}, {8 * pixels.itemsize} bit.tif": (lzw(pixels, code), pixels)
       for name, code in (("lzw", 5), ("deflate", 8), ("packbits", 32773)) for pixels in (RGB, DEEP)},
    **{name: (contents, jpeg_pixels(contents)) for name, contents in JPEGS.items()},
    **{f"with a trailer, {name}": (contents + TRAILER, jpeg_pixels(contents)) for name, contents in JPEGS.items()},
    **{f"orientation {n}, {order}{kind[3:]}.{kind[:3]}": (oriented(kind, n, order), TURNED[n](
        jpeg_pixels(JPEGS["plain.jpg"]) if kind == "jpg" else RGB))
       for kind, order in (("jpg", "<"), ("jpg", ">"), ("png", ">"), ("png, at its end", "<"), ("tif", "<")) for n in TURNED},
}

def holed(contents, share=0.4, filling=None):
    """A tenth of the bytes, in the middle, zero or taken out."""
    start, end = int(len(contents) * share), int(len(contents) * (share + 0.1))
    return contents[:start] + (b"" if filling is None else filling * (end - start)) + contents[end:]

LARGE = np.clip(cv2.resize(np.random.default_rng(2).integers(0, 256, (30, 40, 3)).astype(np.float32), (320, 240),
                           interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)

REFUSED = {
    "rgba.png": pillow(np.dstack([RGB, GREY]), "PNG"), "grey and alpha.png": pillow(np.dstack([GREY, GREY]), "PNG", "LA"),
    "transparent colour.png": png([row.tobytes() for row in RGB], 8, 2, chunk(b"tRNS", b"\0\1\0\2\0\3")),
    "cmyk.jpg": pillow(np.dstack([RGB, GREY]), "JPEG", "CMYK"), "rgba.bmp": pillow(np.dstack([RGB, GREY]), "BMP"),
    "rgba.tif": tiff(np.dstack([RGB, GREY]), photometric="rgb", extrasamples=["unassalpha"]),
    "float.tif": tiff(RGB[..., 0].astype(np.float32)), "pages.tif": tiff(np.stack([RGB] * 2), photometric="rgb"),
    "empty.png": b"", "text.png": b"hello", "a gif.png": pillow(GREY, "GIF"), "header only.jpg": JPEGS["plain.jpg"][:300],
    # 66 bytes that claim 30000 x 30000 pixels, 20000 x 20000, and 7000 x 7000: in the limit, but no file of this size
    **{f"{side} squared.png": png([b""], 16, 2, size=(side, side)) for side in (30000, 20000, 7000)},
    "20000 squared.bmp": pillow(RGB, "BMP")[:18] + struct.pack("<ii", 20000, 20000) + pillow(RGB, "BMP")[26:],
    "7000 squared.bmp": pillow(RGB, "BMP")[:18] + struct.pack("<ii", 7000, 7000) + pillow(RGB, "BMP")[26:],
    "60000 squared.jpg": JPEGS["plain.jpg"].replace(struct.pack(">HH", *SIZE), struct.pack(">HH", 60000, 60000), 1),
    "7000 squared.jpg": JPEGS["plain.jpg"].replace(struct.pack(">HH", *SIZE), struct.pack(">HH", 7000, 7000), 1),
    "20000 squared.tif": tiff(RGB, photometric="rgb").replace(struct.pack("<H", SIZE[1]), struct.pack("<H", 20000)),
    **{f"cut short.{kind}": contents[:len(contents) * 2 // 3] for kind, contents in (
        ("png", pillow(LARGE, "PNG")), ("jpg", pillow(LARGE, "JPEG")), ("bmp", pillow(LARGE, "BMP")),
        ("tif", tiff(LARGE, photometric="rgb")))},
    "cut short and ended.jpg": pillow(LARGE, "JPEG")[:-3000] + b"\xff\xd9",
    "cut short and ended, progressive.jpg": pillow(LARGE, "JPEG", progressive=True)[:-3000] + b"\xff\xd9",
    **{f"{hole} of {name}.jpg": holed(pillow(LARGE, "JPEG", **options), filling=filling)
       for name, options in (("plain", {}), ("optimized", {"optimize": True}), ("4:4:4", {"subsampling": 0}),
                             ("progressive", {"progressive": True}), ("restarts", {"restart_marker_rows": 1}))
       for hole, filling in (("a hole", b"\0"), ("a piece missing", None))},
    **{f"a hole, {name}.tif": holed(lzw(LARGE.astype(dtype) * np.iinfo(dtype).max // 255, code), filling=b"\0")
       for name, code, dtype in (("lzw, 8 bit", 5, np.uint8), ("deflate, 8 bit", 8, np.uint8), ("lzw, 16 bit", 5, np.uint16),
                                 ("deflate, 16 bit", 8, np.uint16))},
    "a hole.png": holed(pillow(LARGE, "PNG"), filling=b"\0"),
}

def write(folder, name, contents):
    path = folder / name
    path.write_bytes(contents)
    return str(path)

def unit(pixels):
    """As the network gets it: three channels of float32."""
    return np.broadcast_to((pixels / np.iinfo(pixels.dtype).max).astype(np.float32), (*pixels.shape[:2], 3))
