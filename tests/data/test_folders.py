"""A data folder is used as people have it: accepted where the meaning is plain, else refused with what was found."""
import os

import pytest

from grdnet_tf.data import layout, roi
from grdnet_tf.data.records import list_mvtec
from grdnet_tf.errors import InputError


@pytest.fixture
def tree(tmp_path):
    """Function of relative paths -> the root, with an empty file at each."""
    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        return str(tmp_path)
    return make


def trained(root):
    folder = layout.train_folder(root)
    return [os.path.relpath(path, root).replace(os.sep, "/") for path in layout.pictures(folder)]


@pytest.mark.parametrize("paths, expected", [
    (["train/good/b.png", "train/good/a.jpg", "test/good/c.png"], ["train/good/a.jpg", "train/good/b.png"]),
    (["train/good/lot1/a.png", "train/good/lot2/a.png"], ["train/good/lot1/a.png", "train/good/lot2/a.png"]),
    (["good/a.png", "bad/b.png"], ["good/a.png"]),
    (["train/a.png", "train/b.png", "test/crack/c.png"], ["train/a.png", "train/b.png"]),
    (["a.png", "b.tiff", "notes.txt"], ["a.png", "b.tiff"])])
def test_what_is_plainly_meant_is_trained_on(tree, paths, expected):
    assert trained(tree(*paths)) == expected


@pytest.mark.parametrize("paths, words", [
    (["lot1/a.png", "lot2/b.png"], "found lot1/, lot2/; expected the good pictures in train/good, in good, or"),
    (["a.png", "lot2/b.png"], "found lot2/, 1 pictures; expected"),
    (["train/ok/a.png"], "train: found ok/; expected"),
    (["notes.txt"], "found nothing; expected")])
def test_what_is_not_plain_is_refused_with_what_was_found(tree, paths, words):
    with pytest.raises(InputError) as caught:
        trained(tree(*paths))
    assert words in str(caught.value)


def test_what_is_left_out_is_said(tree, caplog):
    root = tree("train/good/a.png", "train/good/.hidden.png", "train/good/Thumbs.db", "train/good/b.gif", "train/bad/c.png",
                "train/__MACOSX/d.png")
    assert trained(root) == ["train/good/a.png"]
    assert "train: bad/ left out, only good/ is trained on" in caplog.text
    assert "1 entries without a known image extension are left out, the first is" in caplog.text and "b.gif" in caplog.text
    assert "hidden" not in caplog.text and "Thumbs" not in caplog.text and "MACOSX" not in caplog.text


def link(target, path):
    try:
        os.symlink(target, path)
    except OSError:
        pytest.skip("this file system or user cannot make links")


def test_a_broken_link_is_called_one(tree, caplog):
    root = tree("train/good/a.png")
    link(os.path.join(root, "nowhere.png"), os.path.join(root, "train", "good", "b.png"))
    assert trained(root) == ["train/good/a.png"] and "1 links lead nowhere" in caplog.text


def test_a_link_to_a_folder_above_does_not_go_round_for_ever(tree):
    root = tree("train/good/a.png")
    link(os.path.join(root, "train"), os.path.join(root, "train", "good", "loop"))
    assert "train/good/a.png" in trained(root)


def test_the_folders_of_a_test_part(tree, caplog):
    root = tree("test/good/a.png", "test/crack/sub/b.png", "test/empty/notes.txt", "test/loose.png", "test/__MACOSX/x.png")
    assert list(layout.test_folders(root)) == ["crack", "good"]
    assert "1 pictures lie in no folder" in caplog.text and "no pictures in empty, left out" in caplog.text
    with pytest.raises(InputError, match="test: folder not found, expected test/good and test/<defect>"):
        layout.test_folders(os.path.join(root, "test"))


def match(root, *suffixes):
    images = layout.pictures(os.path.join(root, "test/crack"))
    found = layout.companions(images, os.path.join(root, "test/crack"), os.path.join(root, "truth"), suffixes, "mask")
    return {os.path.relpath(a, root).replace(os.sep, "/"): os.path.relpath(b, root).replace(os.sep, "/")
            for a, b in found.items()}


def test_masks_are_found_with_their_suffix_and_in_subfolders(tree):
    root = tree("test/crack/1.png", "test/crack/lot/2.jpg", "truth/1_mask.png", "truth/lot/2_mask.bmp")
    assert match(root, "_mask", "") == {"test/crack/1.png": "truth/1_mask.png",
                                        "test/crack/lot/2.jpg": "truth/lot/2_mask.bmp"}


def test_masks_may_be_named_as_their_pictures(tree):
    root = tree("test/crack/1.png", "test/crack/2.png", "truth/1.png", "truth/2.png")
    assert match(root, "_mask", "")["test/crack/2.png"] == "truth/2.png"


@pytest.mark.parametrize("more, words", [
    ([], "2.png: no mask of its own, expected .*2_mask.png, as other pictures there have one"),
    (["truth/2_mask.png", "truth/3_mask.png"], "3_mask.png: mask without a picture"),
    (["truth/1_mask.bmp"], "there are two mask files of this stem")])
def test_one_missing_among_others_is_a_slip(tree, more, words):
    root = tree("test/crack/1.png", "test/crack/2.png", "truth/1_mask.png", *more)
    with pytest.raises(InputError, match=words):
        match(root, "_mask", "")


def test_regions_that_lie_in_no_folder_are_refused_or_said(tree, caplog):
    root = tree("train/good/a.png", "train/good/b.png", "roi/a.png", "roi/b.png")
    with pytest.raises(InputError, match="roi: found 2 pictures, as a.png; expected one for all pictures, or one a"):
        list_mvtec(root, "train")
    tree("roi/train/good/a.png", "roi/train/good/b.png", "roi/god/c.png")
    assert [os.path.relpath(one.roi, root) for one in list_mvtec(root, "train")] == [
        os.path.join("roi", "train", "good", name) for name in ("a.png", "b.png")]
    assert "roi: god/, 2 pictures left out" in caplog.text


def test_the_region_of_a_folder_of_pictures_alone_is_no_picture_of_it(tree):
    root = tree("a.png", "b.png", "roi.png")
    assert [(os.path.basename(one.image), os.path.basename(one.roi)) for one in list_mvtec(root, "train")] == [
        ("a.png", "roi.png"), ("b.png", "roi.png")]


def test_what_is_used_beside_pictures_is_not_said_to_be_left_out(tree, caplog):
    root = tree("a.png", "b.png", "roi.json", "align.json", "notes.txt")
    with open(os.path.join(root, "roi.json"), "w", encoding="utf-8") as stream:
        stream.write('{"unit": "share", "shapes": [{"box": [0, 0, 1, 1]}]}')
    assert len(list_mvtec(root, "train")) == 2
    line, = [record.getMessage() for record in caplog.records]
    assert "1 entries" in line and line.endswith("notes.txt")


@pytest.mark.parametrize("folder", ["train/good/", "good/", "train/", ""])
def test_a_drawing_names_pictures_in_every_layout(tree, folder):
    root = tree(folder + "a.png", folder + "b.png")
    with open(os.path.join(root, "roi.json"), "w", encoding="utf-8") as stream:
        stream.write('{"unit": "share", "shapes": [{"box": [0, 0, 1, 1], "pictures": "%sa.png"},'
                     '{"box": [0, 0, 0.5, 1], "pictures": "*b.png"}]}' % folder)
    assert [one.roi.shapes[0].numbers[2] for one in list_mvtec(root, "train")] == [1, 0.5]
    assert roi.for_all(root) is None
