"""Exact pixels of every format, resized without leaving the file's grid; what would lose something is refused."""
import io

import cv2
import numpy as np
import pytest
import tensorflow as tf
from drawn import SIZE, encoded, picture, pillow, write
from PIL import Image

from grdnet_tf.data.decoding import decode_resize, load_image, load_mask
from grdnet_tf.errors import InputError


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("extension, dtype", [(".png", np.uint8), (".png", np.uint16), (".bmp", np.uint8),
                                              (".tif", np.uint8), (".tiff", np.uint16)])
def test_every_value_survives(tmp_path, extension, dtype, channels):
    pixels = picture(1, channels, dtype)
    expected = (pixels / np.iinfo(dtype).max).astype(np.float32)  # the float32 next to k / 65535
    path = write(tmp_path / f"a{extension}", pixels)
    np.testing.assert_array_equal(load_image(path, SIZE, channels), expected)
    if not extension.startswith(".tif"):
        np.testing.assert_array_equal(decode_resize(encoded(pixels, extension), SIZE, channels), expected)


def test_jpeg_is_what_an_exact_decoder_gives():
    smooth = cv2.resize(picture(), (64, 64))
    for pixels in (smooth, smooth[..., :1]):
        contents = encoded(pixels, ".jpg")
        reference = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_UNCHANGED).reshape(64, 64, -1)
        ours = decode_resize(contents, 64, pixels.shape[2])
        np.testing.assert_array_equal(np.round(ours * 255), reference[..., ::-1])


@pytest.mark.parametrize("extension", [".png", ".bmp", ".jpg", ".tif"])
def test_grey_fills_three_channels_and_colour_never_becomes_grey(tmp_path, extension):
    grey = write(tmp_path / f"grey{extension}", picture(0, 1))
    three = load_image(grey, SIZE, 3).numpy()
    assert (three == three[..., :1]).all()
    np.testing.assert_array_equal(three[..., :1], load_image(grey, SIZE, 1))
    colour = write(tmp_path / f"colour{extension}", picture(0, 3))
    with pytest.raises(InputError) as error:
        load_image(colour, SIZE, 1)
    assert str(error.value).startswith(colour) and "\n" not in str(error.value)


@pytest.mark.parametrize("contents", [
    encoded(picture())[:-100], b"", b"hello", pillow("PNG", "RGBA"), pillow("PNG", "LA"), pillow("JPEG", "CMYK"),
    pillow("BMP", "RGBA")], ids=["truncated", "empty", "text", "rgba", "grey-alpha", "cmyk", "bmp-alpha"])
def test_bytes_that_would_lose_something_are_refused(contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_resize(contents, SIZE, 3)
    traced = tf.function(lambda c: decode_resize(c, SIZE, 3), input_signature=[tf.TensorSpec([], tf.string)])
    with pytest.raises(tf.errors.InvalidArgumentError):
        traced(contents)


def test_palette_png_is_read_as_the_colours_it_shows():
    contents = pillow("PNG", "P")
    reference = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))
    np.testing.assert_array_equal(decode_resize(contents, SIZE, 3), (reference / 255).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resizing_averages_and_stays_on_the_grid_of_the_file(dtype):
    peak = np.iinfo(dtype).max
    steps = np.repeat(np.repeat(picture(0, 1, dtype, (4, 4)), 8, 0), 8, 1)  # 32 x 32 in blocks of one value
    ours = decode_resize(encoded(steps), (4, 4), 1).numpy() * peak
    np.testing.assert_array_equal(np.round(ours), np.round(ours * 8) / 8)
    # Antialiasing: a checkerboard of single pixels becomes its mean, not one of its two colours.
    board = (np.indices((32, 32)).sum(0) % 2 * 200).astype(dtype)[..., None]
    inside = decode_resize(encoded(board), (8, 8), 1).numpy()[1:-1, 1:-1]
    np.testing.assert_allclose(inside * peak, 100, atol=1.5)


def test_masks_are_binary_and_nearest(tmp_path):
    mask = np.zeros((24, 32, 1), np.uint8)
    mask[4:12, 8:16] = 1
    expected = np.zeros((12, 16, 1), np.float32)
    expected[2:6, 4:8] = 1
    for name, pixels in (("a.png", mask), ("b.bmp", mask * 255), ("c.tif", mask * 255), ("d.png", mask.repeat(3, 2)),
                         ("e.png", mask.astype(np.uint16))):
        np.testing.assert_array_equal(load_mask(write(tmp_path / name, pixels), SIZE), expected, name)
    np.testing.assert_array_equal(load_mask(None, SIZE), np.ones((12, 16, 1)))


@pytest.mark.parametrize("load", [lambda path: load_image(path, SIZE, 3),
                                  lambda path: load_mask(path, SIZE)], ids=["image", "mask"])
def test_a_file_that_cannot_be_loaded_is_named(tmp_path, load):
    (tmp_path / "b.png").write_bytes(encoded(picture())[:60])
    for name in ("missing.png", "b.png"):
        with pytest.raises(InputError) as error:
            load(str(tmp_path / name))
        assert str(error.value).startswith(f"{tmp_path}/{name}: ") and "\n" not in str(error.value)
