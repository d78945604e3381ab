"""Pictures for the tests of the data path."""
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from drawn import picture, region, write
from streams import batches, train

from grdnet_tf.data import graph, headers, shard_writing
from grdnet_tf.data.records import Record
from grdnet_tf.data.shard_rows import Wanted


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """7 colour pictures; 4 and 5 without a ROI."""
    folder, found = tmp_path_factory.mktemp("pictures"), []
    for number in range(7):
        roi = None
        if number not in (4, 5):
            roi = write(folder / f"{number}_roi.png", (picture(100 + number, 1) > 99).astype(np.uint8) * 255)
        found.append(Record(write(folder / f"{number}.png", picture(number)), None, roi, 0, "good"))
    return found


@pytest.fixture(scope="session")
def stream(records):
    """The first 10 batches of the stream that other settings must reproduce; 3 steps a pass."""
    return batches(train(records), 10)


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


@pytest.fixture(scope="module")
def served():
    """(picture, region): bytes -> what the graph of a served model makes of them, without pixels if it refuses them."""
    spec = [tf.TensorSpec([], tf.string)]

    @tf.function(input_signature=spec)
    def picture(contents):
        pixels, peak = graph.decode(contents, 3, headers.MAX_PIXELS)
        return pixels / peak

    return picture, tf.function(lambda c: graph.decode_region(c, headers.MAX_PIXELS), input_signature=spec)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """11 colour pictures to train on, in a folder and a subfolder, two of a stem; 3 to test with; a drawn ROI."""
    root = str(tmp_path_factory.mktemp("data"))
    for i in range(9):
        write(f"{root}/train/good/{i:02d}.png", picture(i))
    write(f"{root}/train/good/lot/00.png", picture(20))
    write(f"{root}/train/good/lot/ü 1.png", picture(21))
    for name, seed in (("good/00", 30), ("crack/00", 31), ("crack/01", 32)):
        write(f"{root}/test/{name}.png", picture(seed))
    for stem in ("00", "01"):
        write(f"{root}/ground_truth/crack/{stem}_mask.png", region())
    with open(f"{root}/roi.json", "w") as stream:
        json.dump({"unit": "pixels", "shapes": [{"box": [1, 2, 13, 10]}]}, stream)
    return root


@pytest.fixture(scope="session")
def many(folder, tmp_path_factory):
    """In shards of about 3 pictures."""
    out = str(tmp_path_factory.mktemp("sets") / "many")
    shard_writing.write(folder, out, wanted=Wanted(size=2000))
    return out


@pytest.fixture(scope="session")
def one(folder, tmp_path_factory):
    """In a shard a split."""
    out = str(tmp_path_factory.mktemp("sets") / "one")
    shard_writing.write(folder, out)
    return out


@pytest.fixture
def copy(many, tmp_path):
    """A set to be damaged."""
    return shutil.copytree(many, str(tmp_path / "copy"))
