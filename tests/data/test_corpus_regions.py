"""Masks and regions of interest, their resizing and what counts as white: the same to every reader."""
import cv2
import numpy as np
import pytest
import tensorflow as tf
from picture_files import LARGE, REFUSED, SIZE, X, Y, chunk, pillow, png, tiff, write
from PIL import Image

from grdnet_tf.data import decoding, files, graph, regions
from grdnet_tf.errors import InputError

# Masks and regions of interest ---------------------------------------------------------------------------------------

DISC = ((Y - 18) ** 2 + (X - 20) ** 2 < 100).astype(np.uint8)
WHITE, OPAQUE = np.full((*SIZE, 3), 255, np.uint8), np.full(SIZE, 255, np.uint8)
SOFT = cv2.GaussianBlur(DISC * np.uint8(255), (5, 5), 0)
REGIONS = {  # name: (bytes, region)
    "0 and 255.png": (pillow(DISC * np.uint8(255), "PNG"), DISC), "0 and 1.png": (pillow(DISC, "PNG"), DISC),
    "16 bit, 0 and 1.png": (png([row.astype(">u2").tobytes() for row in DISC], 16, 0), DISC),
    "1 bit.png": (png([np.packbits(row).tobytes() for row in DISC], 1, 0), DISC),
    "red.png": (pillow(np.dstack([DISC * np.uint8(200), DISC * 0, DISC * 0]), "PNG"), DISC),
    "drawn in alpha, white.png": (pillow(np.dstack([WHITE, DISC * np.uint8(255)]), "PNG"), DISC),
    "drawn in alpha, black.png": (pillow(np.dstack([0 * WHITE, DISC * np.uint8(255)]), "PNG"), DISC),
    "drawn in both.png": (pillow(np.dstack([WHITE * DISC[..., None], DISC * np.uint8(255)]), "PNG"), DISC),
    "opaque.png": (pillow(np.dstack([WHITE * DISC[..., None], OPAQUE]), "PNG"), DISC),
    "grey and alpha.png": (pillow(np.dstack([OPAQUE, DISC * np.uint8(255)]), "PNG", "LA"), DISC),
    "transparent palette.png": (png([row.tobytes() for row in DISC], 8, 3, chunk(b"PLTE", b"\xff" * 6)
                                    + chunk(b"tRNS", b"\0\xff")), DISC),
    "soft.png": (pillow(SOFT, "PNG"), (SOFT >= 128).astype(np.uint8)),
    "soft alpha.png": (pillow(np.dstack([WHITE, SOFT]), "PNG"), (SOFT >= 128).astype(np.uint8)),
    "soft.jpg": (pillow(DISC * np.uint8(255), "JPEG", quality=90), None), "grey.bmp": (pillow(DISC * np.uint8(255), "BMP"), DISC),
    "grey.tif": (tiff(DISC * np.uint8(255)), DISC), "alpha.tif": (tiff(np.dstack([WHITE, DISC * np.uint8(255)]),
                                                                 photometric="rgb", extrasamples=["unassalpha"]), DISC),
    "1 bit.tif": (pillow(DISC > 0, "TIFF"), DISC), "1 bit, fax.tif": (pillow(DISC > 0, "TIFF", compression="group4"), DISC),
    "empty.png": (pillow(DISC * 0, "PNG"), DISC * 0), "full.png": (pillow(OPAQUE, "PNG"), DISC * 0 + 1),
}


@pytest.mark.parametrize("name", REGIONS)
def test_regions_are_the_same_to_every_reader(name, tmp_path, served):
    contents, expected = REGIONS[name]
    path = write(tmp_path, f"region{name[-4:]}", contents)
    found = files.read_region(path)
    if expected is None:  # of JPEG: its own decoder's values, at half
        expected = (np.asarray(Image.open(path)) >= 128).astype(np.uint8)
        assert abs(expected.sum() - DISC.sum()) < 10
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(decoding.load_mask(path, SIZE)[..., 0], expected)
    answer = served[1](contents)
    assert not tf.size(answer) if name.endswith("tif") else (answer[..., 0] == expected).numpy().all()
    assert files.examine_region(path).soft == ("soft" in name)


@pytest.mark.parametrize("name, contents", {
    "classes.png": pillow((X % 4).astype(np.uint8), "PNG"), "cut.png": pillow(LARGE, "PNG")[:-900],
    "30000 squared.png": REFUSED["30000 squared.png"], "text.png": b"hello"}.items())
def test_regions_that_are_refused(name, contents, tmp_path, served):
    with pytest.raises(files.BadImage):
        files.read_region(write(tmp_path, name, contents))
    with pytest.raises(InputError, match=name):
        decoding.load_mask(str(tmp_path / name), SIZE)
    assert not tf.size(served[1](contents))


# Resizing of regions -------------------------------------------------------------------------------------------------


def test_half_of_a_pixel_s_area_decides():
    region = np.zeros((4, 8), np.uint8)
    region[:2, :3] = 1  # of the blocks of 2 x 2: 4, 2 and 0 of 4 pixels
    np.testing.assert_array_equal(regions.resized(region, (2, 4)), [[1, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(regions.resized(region, (8, 16)), region.repeat(2, 0).repeat(2, 1))
    assert regions.resized(region, (4, 8)) is region


@pytest.mark.parametrize("size", [(8, 8), (13, 9), (32, 32), (200, 100)])
def test_no_region_vanishes_and_graph_and_host_agree(size):
    for seed in range(10):
        rng, region = np.random.default_rng(seed), np.zeros((61, 83), np.uint8)
        ends = rng.integers(0, 61, 4).tolist()
        cv2.line(region, tuple(ends[:2]), tuple(ends[2:]), 1, 1)
        found = regions.resized(region, size)
        assert found.any()
        np.testing.assert_array_equal(graph.resized(tf.constant(region[..., None], tf.int64), size)[..., 0], found)


def test_a_thin_line_keeps_its_length_and_a_thick_part_its_area():
    region = np.zeros((64, 64), np.uint8)
    region[:, 21] = 1
    np.testing.assert_array_equal(regions.resized(region, (16, 16)).sum(0), 16 * np.eye(16)[5])
    region[:, 40:60] = 1
    assert regions.resized(region, (16, 16)).sum() == 16 + 16 * 5


# What counts as white ------------------------------------------------------------------------------------------------


def test_white_scales_and_clips_alike(tmp_path):
    values = np.array([[0, 1, 2047], [4095, 4096, 65535]], np.uint16)
    contents = cv2.imencode(".png", values)[1].tobytes()
    expected = np.array([[0, 1 / 4095, 2047 / 4095], [1, 1, 1]], np.float32)[..., None]
    np.testing.assert_array_equal(decoding.load_image(write(tmp_path, "a.png", contents), (2, 3), 1, white=4095), expected)
    np.testing.assert_array_equal(decoding.decode_resize(contents, (2, 3), 1, white=4095), expected)
    shallow = cv2.imencode(".png", np.full((2, 3), 9, np.uint8))[1].tobytes()
    with pytest.raises(InputError, match="8 bit, but data.white is 4095"):
        decoding.load_image(write(tmp_path, "b.png", shallow), (2, 3), 1, white=4095)
    assert np.isnan(decoding.decode_or_nan(shallow, (2, 3), 1, white=4095).numpy()).all()
