"""Folders in, records out; and every way in which a file can be unusable gives one line that names it."""
import io
import logging
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from grdnet_tf.data.records import Record, duplicates, hold_out, inspect, list_mvtec
from grdnet_tf.errors import InputError
from grdnet_tf.data.files import read_picture

HEIGHT, WIDTH = 12, 16


def picture(seed=0, channels=3, dtype=np.uint8):
    shape = (HEIGHT, WIDTH, channels)[:2 if channels == 1 else 3]
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def region(value=255):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[3:7, 4:9] = value
    return mask


def write(path, pixels):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return str(path)


def encoded(pixels, extension=".png"):
    return cv2.imencode(extension, pixels)[1].tobytes()


def pillow(kind, mode, **options):
    """Bytes in a form that OpenCV does not write."""
    stream = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def root(tmp_path):
    """3 training pictures, 1 good and 2 cracked ones, each with its mask and ROI."""
    for number, name in enumerate(["train/good/000", "train/good/001", "train/good/002",
                                   "test/good/000", "test/crack/000", "test/crack/001"]):
        write(f"{tmp_path}/{name}.png", picture(number))
        write(f"{tmp_path}/roi/{name}.png", region())
    for stem in ("000", "001"):
        write(f"{tmp_path}/ground_truth/crack/{stem}_mask.png", region())
    return str(tmp_path)


def one_line(error, *words):
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


# Listing


def test_lists_pictures_with_their_masks_and_rois(root):
    assert list_mvtec(root, "test") == [
        Record(f"{root}/test/crack/{stem}.png", f"{root}/ground_truth/crack/{stem}_mask.png",
               f"{root}/roi/test/crack/{stem}.png", 1, "crack") for stem in ("000", "001")
    ] + [Record(f"{root}/test/good/000.png", None, f"{root}/roi/test/good/000.png", 0, "good")]
    assert list_mvtec(root, "train") == [
        Record(f"{root}/train/good/{stem}.png", None, f"{root}/roi/train/good/{stem}.png", 0, "good")
        for stem in ("000", "001", "002")]


def test_a_folder_with_train_good_alone_is_listed(tmp_path):
    path = write(f"{tmp_path}/train/good/a.JPEG", picture())
    assert list_mvtec(str(tmp_path), "train") == [Record(path, None, None, 0, "good")]
    with pytest.raises(InputError) as error:
        list_mvtec(str(tmp_path), "test")
    one_line(error, f"{tmp_path}/test")


def test_a_roi_may_have_another_extension_than_its_picture(root):
    os.remove(f"{root}/roi/train/good/001.png")
    path = write(f"{root}/roi/train/good/001.bmp", region())
    assert list_mvtec(root, "train")[1].roi == path


def test_a_type_of_defect_without_any_mask_is_listed(root):
    path = write(f"{root}/test/stain/7.bmp", picture())
    assert [r for r in list_mvtec(root, "test") if r.defect == "stain"] == [Record(path, None, None, 1, "stain")]


def test_what_is_no_picture_is_left_out_with_a_warning(root, caplog):
    for name in ("notes.txt", "Thumbs.db", ".DS_Store"):
        open(f"{root}/train/good/{name}", "w").close()
    with caplog.at_level(logging.WARNING):
        assert len(list_mvtec(root, "train")) == 3
    assert "1 entries" in caplog.text and "notes.txt" in caplog.text


def rename(old, new):
    def change(root):
        os.makedirs(os.path.dirname(f"{root}/{new}"), exist_ok=True)
        os.rename(f"{root}/{old}", f"{root}/{new}")
    return change


def empty(folder):
    def change(root):
        for name in os.listdir(f"{root}/{folder}"):
            os.remove(f"{root}/{folder}/{name}")
    return change


@pytest.mark.parametrize("split, change, words", [
    ("train", rename("train", "elsewhere"), ["train: folder not found"]),
    ("train", rename("train/good", "train/fine"), ["train/good: folder not found"]),
    ("train", empty("train/good"), ["train/good: no picture in it", ".png"]),
    ("test", empty("test/crack"), ["test/crack: no picture in it"]),
    ("test", rename("ground_truth/crack/001_mask.png", "elsewhere.png"),
     ["test/crack/001.png: no mask", "ground_truth/crack/001_mask.png"]),
    ("test", rename("test/crack/001.png", "elsewhere.png"), ["ground_truth/crack/001_mask.png", "without a picture"]),
    ("test", rename("ground_truth/crack/001_mask.png", "ground_truth/crack/001.png"),
     ["ground_truth/crack/001.png", "_mask"]),
    ("test", rename("test/crack", "test/scratch"), ["roi/test/crack", "no folder", "test/crack"]),
    ("test", lambda root: write(f"{root}/ground_truth/dent/0_mask.png", region()),
     ["ground_truth/dent", "no folder", "test/dent"]),
    ("train", rename("train/good/002.png", "elsewhere.png"), ["roi/train/good/002.png", "without a picture"]),
    ("train", rename("roi/train/good/002.png", "elsewhere.png"), ["train/good/002.png: no ROI"]),
    ("train", rename("roi/train/good", "roi/train/fine"), ["roi/train/fine", "train/fine"]),
    ("test", lambda root: write(f"{root}/test/crack/001.bmp", picture()), ["test/crack/001", "no mask"]),
])
def test_folders_that_do_not_fit_are_named(root, split, change, words):
    change(root)
    with pytest.raises(InputError) as error:
        list_mvtec(root, split)
    one_line(error, *words)


def test_missing_root_is_named():
    with pytest.raises(InputError) as error:
        list_mvtec("/no/such/folder", "train")
    one_line(error, "/no/such/folder: folder not found")


def test_listing_needs_no_tensorflow():
    code = "import sys, grdnet_tf.datasets; sys.exit('tensorflow' in sys.modules)"
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    assert subprocess.run([sys.executable, "-c", code], cwd=folder).returncode == 0


# Held-out part, duplicates


def numbered(n):
    return [Record(str(i), None, None, 0, "good") for i in range(n)]


@pytest.mark.parametrize("n, share, count", [(20, 0.1, 2), (3, 0.01, 1), (3, 0.99, 2), (2, 0.5, 1)])
def test_hold_out_takes_at_least_one_and_never_all(n, share, count):
    train, held = hold_out(numbered(n), share, seed=0)
    assert len(held) == count
    assert sorted(train + held, key=lambda r: int(r.image)) == numbered(n)
    assert [int(r.image) for r in train] == sorted(int(r.image) for r in train)


def test_hold_out_depends_on_its_arguments_alone():
    # Written down once: another choice would mix validation and training pictures of a run that is resumed.
    # They are the four of "0:0" ... "0:19" whose SHA-256 comes first.
    assert [r.image for r in hold_out(numbered(20), 0.2, seed=0)[1]] == ["4", "7", "15", "18"]
    assert len({tuple(hold_out(numbered(50), 0.2, seed)[1]) for seed in range(5)}) == 5


@pytest.mark.parametrize("n, share", [(1, 0.1), (0, 0.1), (5, 0.0), (5, 1.0)])
def test_hold_out_refuses_what_leaves_nothing(n, share):
    with pytest.raises(InputError):
        hold_out(numbered(n), share, 0)


def test_duplicates_are_byte_identical_pictures(root):
    train, test = list_mvtec(root, "train"), list_mvtec(root, "test")
    assert duplicates(train, test) == []
    same = write(f"{root}/test/good/copy.png", picture(1))  # what train/good/001 holds
    write(f"{root}/test/good/other.bmp", picture(1))        # the same pixels, other bytes
    copy = [Record(same, None, None, 0, "good"), Record(f"{root}/test/good/other.bmp", None, None, 0, "good")]
    assert duplicates(train, test + copy) == [(f"{root}/train/good/001.png", same)]


# Inspection


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
    expected = pixels[..., None] if channels == 1 else pixels[..., ::-1]  # OpenCV writes BGR
    np.testing.assert_array_equal(read_picture(path), expected)


def test_depth_is_that_of_the_deepest(tmp_path):
    write(f"{tmp_path}/train/good/a.png", picture(0, 1, np.uint8))
    write(f"{tmp_path}/train/good/b.png", picture(0, 1, np.uint16))
    assert inspect(list_mvtec(str(tmp_path), "train")).depth == 16


JPEG = cv2.imencode(".jpg", np.tile(picture(), (8, 8, 1)))[1].tobytes()


@pytest.mark.parametrize("name, contents, reason", [
    ("a.png", b"", "empty (0 bytes)"),
    ("a.png", b"hello", "wrong extension: the content is no PNG"),
    ("a.png", encoded(picture(), ".bmp"), "wrong extension: the content is BMP, not PNG"),
    ("a.jpg", encoded(picture()), "wrong extension: the content is PNG, not JPEG"),
    ("a.png", encoded(picture())[:-200], "truncated or damaged"),
    ("a.png", encoded(picture())[:20], "truncated or damaged"),
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
    ("a.tif", pillow("TIFF", "CMYK"), "fourth channel"),
    ("a.tif", pillow("TIFF", "F"), "float32"),
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
    ("roi/test/crack/001.png", picture(0, 1), "not binary"),
    ("roi/test/crack/001.png", region()[1:], "ROI is 16 x 11"),
    ("ground_truth/crack/001_mask.png", region()[:, 1:], "mask is 15 x 12"),
    ("ground_truth/crack/001_mask.png", picture(0, 1), "not binary"),
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
