"""Which JPEGs are looked at closely: those that show what a decoder leaves where it finds no data."""
import numpy as np
import pytest
from picture_files import LARGE, pillow

from grdnet_tf.data import headers

SOUND = pillow(LARGE, "JPEG", optimize=True)
LAYOUT = headers.jpeg_layout(SOUND)


def noise(channels):
    """Of values around 128, as a decoder gives them: most single pixels are grey, no block is."""
    pixels = np.random.default_rng(0).integers(127, 130, (37, 53, channels)).astype(np.uint8)
    pixels[-1, -1] = 127
    return pixels[..., 0] if channels == 1 else pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_one_block_of_exact_grey_is_enough(channels):
    pixels = noise(channels)
    assert not headers.suspicious(SOUND, LAYOUT, pixels)
    pixels[24:32, 40:48] = 128  # the last whole block of both axes but one
    assert headers.suspicious(SOUND, LAYOUT, pixels)
    for y, x in ((24, 40), (31, 47), (27, 44)):
        other = pixels.copy()
        other[y, x] = 127 if channels == 1 else (128, 128, 127)
        assert not headers.suspicious(SOUND, LAYOUT, other)


def test_grey_off_the_blocks_is_a_pictures_own():
    pixels = noise(3)
    pixels[21:29, 36:44] = 128
    assert not headers.suspicious(SOUND, LAYOUT, pixels)


def test_the_last_pixel_counts_by_itself():
    pixels = noise(3)
    pixels[-1, -1] = 128
    assert headers.suspicious(SOUND, LAYOUT, pixels)


def test_a_picture_of_less_than_a_block_is_read():
    assert not headers.suspicious(SOUND, LAYOUT, np.zeros((5, 7, 3), np.uint8))
