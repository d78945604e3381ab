"""What is wrong with a set of shards is said in one line that names the file."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from drawn import SIZE, one_line, picture, write
from sets import contents, flip, reseal
from streams import batches, train

from grdnet_tf.data import shard_writing, shards
from grdnet_tf.data.check import check
from grdnet_tf.data.files import read_picture
from grdnet_tf.data.records import list_mvtec
from grdnet_tf.data.shard_rows import Wanted
from grdnet_tf.errors import InputError


def refused(root, *words, split="train"):
    with pytest.raises(InputError) as error:
        list_mvtec(root, split)
    one_line(error, *words)


def test_a_damaged_index_is_named(copy):
    path = os.path.join(copy, "index.json")
    text = open(path).read()
    for bad, word in ((text[:300], "damaged"), (text.replace('"peak": 255', '"peak": 254', 1), "SHA-256"),
                      ("[]", "not the index"), ("[" * 100_000, "damaged"),
                      (text.replace('"grdnet_shards": 1', '"grdnet_shards": 7'), "version 7")):
        with open(path, "w") as stream:
            stream.write(bad)
        refused(copy, "index.json", word)
    os.remove(path)
    refused(copy, "index.json", "expected a set")
    os.mkdir(os.path.join(copy, shards.PROGRESS))
    refused(copy, "index.json", "has not finished")


@pytest.mark.parametrize("key, value", [
    ("file", "../other.tfrecord"), ("file", "/etc/passwd"), ("file", "test-00000-of-00001.tfrecord"), ("bytes", -1),
    ("pictures", 1e9), ("sha256", "x"), ("bytes", True), ("file", None)])
def test_a_hostile_index(copy, key, value):
    reseal(copy, lambda index: index["splits"]["train"]["shards"][0].update({key: value}))
    refused(copy, "index.json: damaged")


@pytest.mark.parametrize("change", [
    lambda found: found["names"].__setitem__(0, "../../escape.png"),
    lambda found: found["names"].__setitem__(0, "/etc/passwd"),
    lambda found: found["names"].__setitem__(0, 7),
    lambda found: found["names"].pop(),
    lambda found: found["image"][0].__setitem__(0, 10**9),
    lambda found: found["image"][0].__setitem__(1, 0),
    lambda found: found["image"][0].__setitem__(0, -5),
    lambda found: found["image"][0].__setitem__(0, 1.5),
    lambda found: found["image"][0].append(3),
    lambda found: found["sizes"].__setitem__(0, [10**30, 1]),
    lambda found: found["image_sha256"].__setitem__(0, "zz"),
    lambda found: found["channels"].__setitem__(0, 4),
    lambda found: found.pop("roi")])
def test_hostile_columns(copy, change):
    reseal(copy, change, "train-00000-of-00004.json")
    refused(copy, "train-00000-of-00004.json: damaged")


def test_a_picture_twice(copy):
    name = json.loads(open(os.path.join(copy, "train-00001-of-00004.json")).read())["names"][0]
    reseal(copy, lambda found: found["names"].__setitem__(0, name), "train-00000-of-00004.json")
    refused(copy, "index.json", name, "twice")


def test_damaged_shards_are_named(copy):
    path = os.path.join(copy, "train-00000-of-00004.tfrecord")
    record = next(record for record in list_mvtec(copy, "train") if record.image.table.files[
        record.image.table.shard[record.image.row]] == path)
    flip(path, int(record.image.table.places["image"][record.image.row, 0]) + 50)
    with pytest.raises(InputError) as error:
        batches(train(list_mvtec(copy, "train"), cache="ram"), 1)
    one_line(error, str(record.image), path, "not as it was written")
    os.truncate(path, 100)
    refused(copy, path, "truncated: 100 bytes, expected")
    os.remove(path)
    refused(copy, path, "No such file")
    flip(os.path.join(copy, "test-00000-of-00001.json"), 20)
    refused(copy, "test-00000-of-00001.json: not as it was", split="test")


def test_bad_pictures_end_the_command_or_are_left_out_by_name(tmp_path):
    root = str(tmp_path / "data")
    for i in range(4):
        write(f"{root}/train/good/{i}.png", picture(i))
    with open(f"{root}/train/good/2.png", "r+b") as stream:
        stream.truncate(200)
    with pytest.raises(InputError) as error:
        shard_writing.write(root, str(tmp_path / "out"), ("train",))
    one_line(error, "2.png: cannot be decoded")
    assert shards.INDEX not in os.listdir(tmp_path / "out")
    index = shard_writing.write(root, str(tmp_path / "out"), ("train",), Wanted(skip_bad=True))
    found = index["splits"]["train"]
    assert found["pictures"] == 3 and [name for name, _ in found["skipped"]] == ["train/good/2.png"]
    assert [os.path.basename(record.image) for record in list_mvtec(str(tmp_path / "out"), "train")] == [
        "0.png", "1.png", "3.png"]
    assert any("2.png: left out" in line for line in check(str(tmp_path / "out"), SIZE).warnings)


def test_grey_among_colour_and_a_folder_of_other_things_are_refused(folder, tmp_path):
    root = str(tmp_path / "data")
    for i in range(3):
        write(f"{root}/train/good/{i}.png", picture(i, 1 if i == 1 else 3))
    with pytest.raises(InputError) as error:
        shard_writing.write(root, str(tmp_path / "out"), ("train",))
    one_line(error, "1.png: grey", "0.png is colour")
    with pytest.raises(InputError) as error:
        shard_writing.write(folder, root)
    one_line(error, root, "holds other things")
    other = tmp_path / "small"
    shard_writing.write(folder, str(other), ("test",))
    with pytest.raises(InputError) as error:
        shard_writing.write(folder, str(other), ("train",))
    one_line(error, "a set of other pictures")


def test_a_complete_set_is_of_the_files_as_they_are(folder, tmp_path):
    """A mask of the same size and name, drawn elsewhere."""
    root, out = shutil.copytree(folder, str(tmp_path / "data")), str(tmp_path / "out")
    shard_writing.write(root, out)
    assert shard_writing.write(root, out) == shards.describe(out)
    mask = cv2.imread(f"{root}/ground_truth/crack/00_mask.png", 0)
    cv2.imwrite(f"{root}/ground_truth/crack/00_mask.png", mask[::-1, ::-1])
    with pytest.raises(InputError) as error:
        shard_writing.write(root, out)
    one_line(error, out, "a set of other pictures")


def test_an_index_of_somebody_else_beside_pictures_is_no_set(tmp_path):
    write(f"{tmp_path}/0.png", picture(0))
    (tmp_path / "index.json").write_text('{"name": "album"}')
    assert [record.image for record in list_mvtec(str(tmp_path), "train")] == [f"{tmp_path}/0.png"]


def test_a_shard_of_changed_pictures_is_made_anew(folder, tmp_path):
    """What an earlier command left is kept by name, size and time of its files, not by trust."""
    root = shutil.copytree(folder, str(tmp_path / "data"))
    out = str(tmp_path / "out")
    os.makedirs(out)
    shard_writing.write(root, out, wanted=Wanted(size=2000))
    kept = contents(out)
    os.remove(os.path.join(out, shards.INDEX))  # as if killed before its end
    os.makedirs(os.path.join(out, shards.PROGRESS))
    cv2.imwrite(f"{root}/train/good/03.png", picture(77))
    shard_writing.write(root, out, wanted=Wanted(size=2000))
    now = contents(out)
    assert now.keys() == kept.keys() and now != kept
    record = next(record for record in list_mvtec(out, "train") if record.image.endswith("good/03.png"))
    np.testing.assert_array_equal(read_picture(record.image), read_picture(f"{root}/train/good/03.png"))
