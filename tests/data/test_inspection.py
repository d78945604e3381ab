"""Every way in which a file can be unusable gives one line that names it."""
import os

import numpy as np
import pytest
from drawn import encoded, one_line, picture, pillow, region, write
from PIL import Image

from grdnet_tf.data.files import read_picture
from grdnet_tf.data.records import inspect, list_mvtec
from grdnet_tf.errors import InputError


def test_good_files_pass(root):
    records = list_mvtec(root, "test")
    found = inspect(records)
    assert (found.records, found.channels, found.depth, found.skipped) == (records, 3, 8, [])


@pytest.mark.parametrize("extension, channels, dtype, depth", [
    (".png", 1, np.uint8, 8), (".png", 3, np.uint16, 16), (".tif", 1, np.uint16, 16), (".tiff", 3, np.uint8, 8),
    (".bmp", 1, np.uint8, 8), (".bmp", 3, np.uint8, 8)])
def test_channels_depth_and_pixels_as_stored(tmp_path, extension, channels, dtype, depth):
    pixels = picture(5, channels, dtype)
    path = write(f"{tmp_path}/train/good/a{extension}", pixels)
    found = inspect(list_mvtec(str(tmp_path), "train"))
    assert (found.channels, found.depth) == (channels, depth)
    np.testing.assert_array_equal(read_picture(path), pixels)


def test_depth_is_that_of_the_deepest(tmp_path):
    write(f"{tmp_path}/train/good/a.png", picture(0, 1, np.uint8))
    write(f"{tmp_path}/train/good/b.png", picture(0, 1, np.uint16))
    assert inspect(list_mvtec(str(tmp_path), "train")).depth == 16


JPEG = encoded(np.tile(picture(), (8, 8, 1)), ".jpg")


@pytest.mark.parametrize("name, contents, reason", [
    ("a.png", b"", "empty (0 bytes)"),
    ("a.png", b"hello", "wrong extension: the content is no PNG"),
    ("a.png", encoded(picture(), ".bmp"), "wrong extension: the content is BMP, not PNG"),
    ("a.jpg", encoded(picture()), "wrong extension: the content is PNG, not JPEG"),
    ("a.png", encoded(picture())[:-200], "truncated or damaged"),
    ("a.png", encoded(picture())[:20], "is 16 x 0, expected 1 to"),
    ("a.png", encoded(picture()).replace(b"IDAT", b"JDAT"), "truncated or damaged"),
    ("a.jpg", JPEG[:len(JPEG) * 3 // 4], "truncated or damaged"),
    ("a.jpg", JPEG[:-2], "truncated or damaged"),
    ("a.jpg", JPEG[:3], "truncated or damaged"),
    ("a.bmp", encoded(picture(), ".bmp")[:-100], "truncated or damaged"),
    ("a.bmp", b"BM", "is a BMP of 0 bit"),
    ("a.tif", encoded(picture(), ".tiff")[:-100], "truncated or damaged"),
    ("a.tif", b"II*\0", "truncated or damaged"),
    ("a.png", pillow("PNG", "RGBA"), "alpha"),
    ("a.png", pillow("PNG", "LA"), "alpha"),
    ("a.png", pillow("PNG", "L", transparency=3), "alpha"),
    ("a.jpg", pillow("JPEG", "CMYK"), "CMYK"),
    ("a.bmp", pillow("BMP", "P"), "palette"),
    ("a.bmp", pillow("BMP", "1"), "BMP of 1 bit"),
    ("a.bmp", pillow("BMP", "RGBA"), "BMP of 32 bit"),
    ("a.tif", pillow("TIFF", "CMYK"), "a TIFF of colour kind 5 with 4 samples"),
    ("a.tif", pillow("TIFF", "F"), "a TIFF of 32 bit, sample format 3"),
    ("a.tif", pillow("TIFF", "L", save_all=True, append_images=[Image.new("L", (4, 4))]), "several pages"),
])
def test_bad_pictures_are_named_with_the_reason(root, name, contents, reason):
    path = f"{root}/train/good/{name}"
    with open(path, "wb") as file:
        file.write(contents)
    records = list_mvtec_without_roi(root)
    with pytest.raises(InputError) as error:
        inspect(records)
    one_line(error, f"{path}: ", reason)
    found = inspect(records, "skip", max_skipped=0.5)
    assert [record.image for record in found.records] == [r.image for r in records if r.image != path]
    assert [(bad, reason in why) for bad, why in found.skipped] == [(path, True)]


def list_mvtec_without_roi(root):
    os.rename(f"{root}/roi", f"{root}/elsewhere")
    return list_mvtec(root, "train")


def test_grey_jpeg_and_palette_png_are_fine(tmp_path):
    os.makedirs(f"{tmp_path}/train/good")
    with open(f"{tmp_path}/train/good/a.png", "wb") as file:
        file.write(pillow("PNG", "P"))
    with open(f"{tmp_path}/train/good/b.jpg", "wb") as file:
        file.write(JPEG + b"\0\0camera's own tail")
    assert inspect(list_mvtec(str(tmp_path), "train")).channels == 3


@pytest.mark.parametrize("name, pixels, reason", [
    ("roi/test/crack/001.png", region(0), "ROI is empty"),
    ("roi/test/crack/001.png", region()[1:], "ROI is 16 x 11"),
    ("ground_truth/crack/001_mask.png", region()[:, 1:], "mask is 15 x 12"),
    ("ground_truth/crack/001_mask.png", region(0), "mask is empty"),
    ("ground_truth/good/000_mask.png", region(), "mask is not empty"),
])
def test_bad_masks_and_rois_are_named(root, name, pixels, reason):
    path = write(f"{root}/{name}", pixels)
    with pytest.raises(InputError) as error:
        inspect(list_mvtec(root, "test"))
    one_line(error, f"{path}: ", reason)
    assert inspect(list_mvtec(root, "test"), "skip", 0.5).skipped[0][0] == path


@pytest.mark.parametrize("value", [1, 255])
def test_any_two_values_are_binary(root, value):
    for stem in ("000", "001"):
        write(f"{root}/ground_truth/crack/{stem}_mask.png", np.dstack([region(value)] * 3))
    assert len(inspect(list_mvtec(root, "test")).records) == 3


def test_a_file_that_vanished_is_named(root):
    records = list_mvtec(root, "train")
    os.remove(records[1].image)
    with pytest.raises(InputError) as error:
        inspect(records)
    one_line(error, records[1].image, "No such file")


def test_grey_and_colour_mixed_is_refused_in_every_mode(root):
    path = write(f"{root}/train/good/003.png", picture(0, 1))
    write(f"{root}/roi/train/good/003.png", region())
    for mode in ("error", "skip"):
        with pytest.raises(InputError) as error:
            inspect(list_mvtec(root, "train"), mode, 1.0)
        one_line(error, path, "grey", f"{root}/train/good/000.png", "colour")


def test_too_many_bad_pictures_stop_a_skipping_run(root):
    records = list_mvtec(root, "train")
    open(records[2].image, "w").close()
    assert len(inspect(records, "skip", max_skipped=0.34).records) == 2  # 1 of 3 = 0.333
    with pytest.raises(InputError) as error:
        inspect(records, "skip", max_skipped=0.33)
    one_line(error, "1 of 3", "data.max_skipped", records[2].image)


def test_nothing_left_is_an_error(root):
    records = list_mvtec(root, "train")
    for record in records:
        open(record.image, "w").close()
    with pytest.raises(InputError):
        inspect(records, "skip", max_skipped=1.0)


@pytest.mark.parametrize("folder", ["pill", "magnetic_tile", "hazelnut_toy"])
def test_real_pictures_pass(real_data, folder):
    records = list_mvtec(real_data(folder), "test")
    assert inspect(records).records == records
    assert all(bool(record.mask) == bool(record.label) for record in records)
