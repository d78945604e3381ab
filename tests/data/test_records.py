"""Folders in, records out: what is listed, what is held out, and every folder that does not fit named."""
import logging
import os
import subprocess
import sys

import pytest
from drawn import one_line, picture, region, write

from grdnet_tf.data.records import Record, duplicates, list_mvtec
from grdnet_tf.errors import InputError


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
    ("train", rename("train", "elsewhere"), ["found elsewhere/", "train/good"]),
    ("train", rename("train/good", "train/fine"), ["train: found fine/; expected", "train/good"]),
    ("train", empty("train/good"), ["train/good: no picture in it", ".png"]),
    ("test", empty("test/crack"), ["roi/test/crack", "no pictures in", "test/crack"]),
    ("test", rename("ground_truth/crack/001_mask.png", "elsewhere.png"),
     ["test/crack/001.png: no mask", "ground_truth/crack/001_mask.png"]),
    ("test", rename("test/crack/001.png", "elsewhere.png"), ["ground_truth/crack/001_mask.png", "without a picture"]),
    ("test", rename("ground_truth/crack/001_mask.png", "ground_truth/crack/001.png"),
     ["test/crack/001.png: no mask", "ground_truth/crack/001_mask.png"]),
    ("test", rename("test/crack", "test/scratch"), ["roi/test/crack", "no pictures in", "test/crack"]),
    ("test", lambda root: write(f"{root}/ground_truth/dent/0_mask.png", region()),
     ["ground_truth/dent", "no pictures in", "test/dent"]),
    ("train", rename("train/good/002.png", "elsewhere.png"), ["roi/train/good/002.png", "without a picture"]),
    ("train", rename("roi/train/good/002.png", "elsewhere.png"), ["train/good/002.png: no ROI"]),
    ("train", rename("roi/train/good", "roi/train/fine"), ["roi/train/fine", "no pictures in", "train/fine"]),
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


def test_listing_needs_no_tensorflow(pytestconfig):
    code = "import sys, grdnet_tf.data.records; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=pytestconfig.rootpath).returncode == 0


# Duplicates


def test_duplicates_are_byte_identical_pictures(root):
    train, test = list_mvtec(root, "train"), list_mvtec(root, "test")
    assert duplicates(train, test) == []
    same = write(f"{root}/test/good/copy.png", picture(1))  # what train/good/001 holds
    write(f"{root}/test/good/other.bmp", picture(1))        # the same pixels, other bytes
    copy = [Record(same, None, None, 0, "good"), Record(f"{root}/test/good/other.bmp", None, None, 0, "good")]
    assert duplicates(train, test + copy) == [(f"{root}/train/good/001.png", same)]
