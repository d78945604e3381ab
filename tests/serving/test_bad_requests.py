"""What a client may send by mistake or worse: never good, and never at the cost of its neighbours in the batch."""
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small_served import REFUSED, SIZE, files, one

from grdnet_tf.data.decoding import load_image
from grdnet_tf.data.files import BadImage, read_picture
from grdnet_tf.errors import InputError


def test_a_corrupt_picture_costs_its_own_row_only(served, pictures):
    contents = files(pictures[0])
    whole = served.run("serve_bytes", image_bytes=contents)
    contents[1] = contents[1][:200]
    found = served.run("serve_bytes", image_bytes=contents)
    assert {name: found[name][1] for name in REFUSED} == REFUSED and (found["anomaly_map"][1] == 1).all()
    for name, value in found.items():
        assert np.array_equal(np.delete(value, 1, 0), np.delete(whole[name], 1, 0)), name  # every bit
    overlay = served.run("serve_bytes_map", image_bytes=contents)
    assert overlay["valid"].tolist() == [1, 0, 1, 1]
    assert all(file.startswith(b"\x89PNG") for file in overlay["overlay_bytes"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -0.5, 255.0])
@pytest.mark.parametrize("name", ["serving_default", "score", "static_b4", "serve_roi"])
def test_pixels_that_are_no_picture_are_anomalous(served, pictures, name, value):
    images = pictures[0] / np.float32(255)
    more = {"roi": pictures[1]} if name == "serve_roi" else {}
    whole = served.run(name, images=images, **more)
    images[2, 5, 7, 1] = value
    found = served.run(name, images=images, **more)
    assert found["is_anomalous"][2] == 1 and found["score"][2] == 1
    for output, result in found.items():
        assert np.isfinite(result).all() and np.array_equal(result[[0, 1, 3]], whole[output][[0, 1, 3]])


@pytest.mark.parametrize("region", ["empty", "NaN", "no file"])
def test_a_region_of_nothing_is_not_good(served, pictures, region):
    shown, roi = pictures[0], pictures[1].copy()
    if region == "no file":
        contents = files(roi.astype(np.uint8))
        contents[1] = b"no picture"
        found = served.run("serve_bytes_roi", image_bytes=files(shown), roi_bytes=contents)
    else:
        roi[1] = 0
        if region == "NaN":
            roi[1, 3:9, 3:9] = np.nan
        found = served.run("serve_roi", images=shown / np.float32(255), roi=roi)
    assert found["valid"].tolist() == [1, 0, 1, 1] and found["is_anomalous"][1] == 1 and found["score"][1] == 1


def test_a_region_that_is_a_gif_is_refused_whatever_its_sides_would_be(served, pictures):
    """TensorFlow's PNG operation reads GIF too; bytes 16 to 24 of this file pass for the sides 8 x 8."""
    gif = io.BytesIO()
    Image.fromarray((pictures[1][0, ..., 0] * 255).astype(np.uint8)).save(gif, "GIF")
    gif = gif.getvalue()
    gif = gif[:16] + struct.pack(">II", 8, 8) + gif[24:]  # within the palette
    contents = files(pictures[1].astype(np.uint8))
    assert tf.io.decode_png(gif, 3, tf.uint16).shape == (*SIZE, 3)
    contents[1] = gif
    found = served.run("serve_bytes_roi", image_bytes=files(pictures[0]), roi_bytes=contents)
    assert found["valid"].tolist() == [1, 0, 1, 1] and found["is_anomalous"][1] == 1


def png_header(width, height, depth=8, colour=2):
    """A PNG that claims a size and holds nothing of it."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("sides", [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (2**31 + 5, 1), (0, 0), (0, 10)], ids=str)
def test_a_header_that_claims_too_much_is_not_decoded(served, sides):
    assert one(served, png_header(*sides)) == REFUSED


def test_the_limit_is_on_the_number_of_pixels(served):
    """max_pixels is 10,000 here: 100 x 100 is read, 101 x 100 is not, in every format."""
    for kind in (".png", ".jpg", ".bmp"):
        for side, valid in ((100, 1), (101, 0)):
            picture = np.full((100, side, 3), 90, np.uint8)
            assert one(served, cv2.imencode(kind, picture)[1].tobytes())["valid"] == valid, (kind, side)


def test_truncated_files_are_not_good(served, pictures):
    for kind in (".png", ".jpg", ".bmp"):
        whole = cv2.imencode(kind, pictures[0][0])[1].tobytes()
        assert one(served, whole)["valid"] == 1
        for share in np.linspace(0, 0.95, 20):
            assert one(served, whole[:int(share * len(whole))]) == REFUSED, (kind, share)


def test_random_bytes_are_never_good(served):
    rng = np.random.default_rng(5)
    heads = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"BM", b"GIF89a", b"II*\0", png_header(8, 8)[:33]]
    contents = [heads[i % len(heads)] + rng.bytes(int(rng.integers(0, 300))) for i in range(1000)]
    found = served.run("serve_bytes", image_bytes=np.array(contents, object))
    assert found["valid"].sum() == 0 and found["is_anomalous"].sum() == 1000 and (found["score"] == 1).all()


def test_pictures_of_other_kinds(served):
    rng = np.random.default_rng(6)
    grey = rng.integers(0, 255, (*SIZE, 1), np.uint8)

    def saved(kind, mode, channels):
        stream = io.BytesIO()
        pixels = np.repeat(grey, channels, axis=2)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode).save(stream, kind)
        return stream.getvalue()

    assert one(served, saved("PNG", "L", 1))["valid"] == 1  # three copies
    for kind, mode, channels in (("JPEG", "CMYK", 4), ("PNG", "RGBA", 4), ("GIF", "L", 1), ("TIFF", "L", 1),
                                 ("WEBP", "RGB", 3)):
        assert one(served, saved(kind, mode, channels)) == REFUSED, (kind, mode)


def bmp(pixels, palette=None, bits=8, compression=0):
    """A BMP of (h, w) bytes, w a multiple of 4, from its bottom row up; `palette` as (n, 4) blue, green, red, 0."""
    palette = b"" if palette is None else np.asarray(palette, np.uint8).tobytes()
    height, width = pixels.shape[0], pixels.shape[1] * 8 // bits
    entries = len(palette) // 4
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, pixels.size, 0, 0, entries, 0)
    return (b"BM" + struct.pack("<IHHI", 54 + len(palette) + pixels.size, 0, 0, 54 + len(palette)) + header + palette
            + pixels.tobytes())


def pillow(kind, mode, palette=None, **options):
    """A file of random pixels; `palette` "grey" or "colour" for mode P."""
    shape = SIZE if mode in ("L", "P", "I;16") else (*SIZE, len(mode))
    picture = Image.fromarray(np.random.default_rng(8).integers(0, 256, shape, np.uint8), "L" if mode == "P" else mode)
    if mode == "P":
        picture = picture.convert("P")
        ramp = np.arange(256)[:, None].repeat(3, 1)
        picture.putpalette((ramp if palette == "grey" else ramp[:, ::-1] * [1, 0, 1]).astype(np.uint8).tobytes())
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


RAMP = np.arange(256, dtype=np.uint8)[:, None] * np.array([1, 1, 1, 0], np.uint8)
BYTES = np.random.default_rng(7).integers(0, 256, SIZE, np.uint8)
RUNS = np.tile(np.array([4, 90], np.uint8), (SIZE[0], SIZE[1] // 2))  # read as RLE: runs of 4 times 90
KINDS = {
    "grey.png": (pillow("PNG", "L"), 1),
    "rgb.png": (pillow("PNG", "RGB"), 1),
    "palette.png": (pillow("PNG", "P", "colour"), 1),
    "alpha.png": (pillow("PNG", "RGBA"), 0),
    "grey-alpha.png": (pillow("PNG", "LA"), 0),
    "palette-transparent.png": (pillow("PNG", "P", "colour", transparency=3), 0),
    "grey-transparent.png": (pillow("PNG", "L", transparency=3), 0),
    "rgb-transparent.png": (pillow("PNG", "RGB", transparency=(1, 2, 3)), 0),
    "text-after.png": (pillow("PNG", "RGB") + b"tRNS", 1),
    "grey.bmp": (bmp(BYTES, RAMP), 1),
    "grey-16-steps.bmp": (bmp(BYTES // 16, RAMP[:16]), 1),
    "rgb.bmp": (pillow("BMP", "RGB"), 1),
    "palette.bmp": (pillow("BMP", "P", "colour"), 0),
    "grey-reversed.bmp": (bmp(BYTES, RAMP[::-1]), 0),
    "one-colour.bmp": (bmp(BYTES, np.where(RAMP == [[200, 200, 200, 9]], 0, RAMP)), 0),
    "rle.bmp": (bmp(RUNS, RAMP, compression=1), 0),
    "bitfields.bmp": (bmp(BYTES.repeat(3, 1), bits=24, compression=3), 0),
    "alpha.bmp": (pillow("BMP", "RGBA"), 0),
    "16-bit.bmp": (bmp(BYTES.repeat(2, 1), bits=16), 0),
    "header-only.bmp": (bmp(BYTES, RAMP)[:54], 0),
    "no-header.bmp": (b"BM", 0),
    "header-size.bmp": (bmp(BYTES, RAMP)[:14] + b"\xff\xff\xff\x7f" + bmp(BYTES, RAMP)[18:], 0),
    "grey.jpg": (pillow("JPEG", "L"), 1),
    "rgb.jpg": (pillow("JPEG", "RGB"), 1),
    "cmyk.jpg": (pillow("JPEG", "CMYK"), 0),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_server_takes_the_files_that_the_host_takes(served, tmp_path, name):
    contents, valid = KINDS[name]
    path = tmp_path / name
    path.write_bytes(contents)
    if valid:
        read_picture(str(path))
        load_image(str(path), SIZE, 3)
        assert one(served, contents)["valid"] == 1
    else:
        with pytest.raises(BadImage):
            read_picture(str(path))
        with pytest.raises(InputError, match=name):
            load_image(str(path), SIZE, 3)
        assert one(served, contents) == REFUSED


@pytest.mark.parametrize("images", [
    np.zeros((1, 16, 24, 3), np.float32), np.zeros((1, *SIZE, 1), np.float32), np.zeros(SIZE, np.float32),
    np.zeros((1, 0, 0, 3), np.float32), np.full((1, *SIZE, 3), b"text", object), np.zeros((0, *SIZE, 3), np.float32)],
    ids=["size", "channels", "rank", "0 x 0", "type", "empty batch"])
def test_tensors_of_another_shape_or_type_are_refused_or_give_nothing(served, pictures, images):
    try:
        assert len(served.run("serving_default", images=images)["score"]) == 0
    except (tf.errors.InvalidArgumentError, ValueError):
        pass
    assert len(served.run("serving_default", images=pictures[0] / np.float32(255))["score"]) == 4  # it still lives
