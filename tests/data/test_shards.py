"""A data folder in shards is that data folder: the same pictures, regions, digests and batches; damage has a name."""
import os

import numpy as np
import pytest
import tensorflow as tf
from drawn import SIZE, STILL, one_line, picture, write
from sets import contents, flip
from streams import assert_same, batches, train

from grdnet_tf.data import aligning, pipeline, shard_writing, shards
from grdnet_tf.data.check import check
from grdnet_tf.data.files import read_picture, read_region, sha256_of, size_of
from grdnet_tf.data.holding_out import hold_out
from grdnet_tf.data.order import batch_records
from grdnet_tf.data.record import chosen, having, packed, unpacked
from grdnet_tf.data.records import inspect, list_mvtec
from grdnet_tf.data.roi import digest, read_roi
from grdnet_tf.data.shard_rows import Wanted
from grdnet_tf.errors import InputError
from grdnet_tf.inspection import sources


def both(folder, root, split):
    ours, theirs = list_mvtec(root, split), list_mvtec(folder, split)
    assert len(ours) == len(theirs) > 0
    return zip(ours, theirs)


@pytest.mark.parametrize("split", ["train", "test"])
def test_records_are_those_of_the_folder_bit_for_bit(folder, many, split):
    for ours, theirs in both(folder, many, split):
        assert os.path.relpath(ours.image, many) == os.path.relpath(theirs.image, folder)
        assert (ours.label, ours.defect) == (theirs.label, theirs.defect)
        assert ours.image.read() == open(theirs.image, "rb").read()
        assert (sha256_of(ours.image), size_of(ours.image)) == (sha256_of(theirs.image), size_of(theirs.image))
        np.testing.assert_array_equal(read_picture(ours.image), read_picture(theirs.image))
        np.testing.assert_array_equal(read_roi(ours.roi, SIZE), read_roi(theirs.roi, SIZE))
        assert digest(ours.roi) == digest(theirs.roi) and read_region(ours.roi).sum() == 12 * 8
        assert (ours.mask is None) == (theirs.mask is None)
        if ours.mask:
            np.testing.assert_array_equal(read_region(ours.mask), read_region(theirs.mask))
            assert sha256_of(ours.mask) == sha256_of(theirs.mask)
    assert inspect(list_mvtec(many, split))[1:] == inspect(list_mvtec(folder, split))[1:]


def test_records_are_examples_that_tensorflow_reads(many):
    files = sorted(name for name in os.listdir(many) if name.startswith("train") and name.endswith(".tfrecord"))
    assert len(files) == 4
    found = {}
    for example in tf.data.TFRecordDataset([os.path.join(many, name) for name in files]):
        feature = tf.train.Example.FromString(example.numpy()).features.feature
        found[feature["path"].bytes_list.value[0].decode()] = {
            key: feature[key].bytes_list.value for key in ("image", "mask", "roi", "split", "defect", "sha256")}
    assert sorted(found) == shards.table(many, "train").names
    for record in list_mvtec(many, "train"):
        values = found[os.path.relpath(record.image, many)]
        assert values["image"][0] == record.image.read() and values["roi"][0] == record.roi.read()
        assert list(values["mask"]) == []
        assert [values[key][0] for key in ("split", "defect")] == [b"train", b"good"]
        assert values["sha256"][0].decode() == record.image.sha256


def test_deep_pictures_of_mixed_sizes(tmp_path):
    sizes = [(12, 16), (9, 30), (40, 8)]
    for i, size in enumerate(sizes):
        write(f"{tmp_path}/data/train/good/{i}.png", picture(i, 1, np.uint16, size))
    out = str(tmp_path / "out")
    index = shard_writing.write(str(tmp_path / "data"), out, ("train",))
    assert index["splits"]["train"]["depth"] == 16
    for i, record in enumerate(list_mvtec(out, "train")):
        np.testing.assert_array_equal(read_picture(record.image), picture(i, 1, np.uint16, sizes[i]))
    resized = str(tmp_path / "resized")
    shard_writing.write(str(tmp_path / "data"), resized, ("train",), Wanted((12, 16)))
    options = dict(channels=1, depth=16, batch_size=3, image_size=(12, 16), cache="none", **STILL)
    assert_same(batches(train(list_mvtec(resized, "train"), **options), 2),
                batches(train(list_mvtec(f"{tmp_path}/data", "train"), **options), 2))
    with pytest.raises(InputError) as error:  # resized first, cut off later, is not what the folder would give
        inspect(list_mvtec(resized, "train"), white=4095)
    one_line(error, "data.white = 4095", "--resize none")


def test_one_shard_gives_the_batches_of_the_folder(folder, one):
    for cache in ("none", "ram"):
        ours, theirs = (batches(train(list_mvtec(root, "train"), cache=cache), 12) for root in (one, folder))
        assert_same(ours, theirs)


def test_resized_shards_give_the_batches_of_the_folder(folder, tmp_path):
    out = str(tmp_path / "resized")
    shard_writing.write(folder, out, ("train",), Wanted((8, 8)))
    assert read_picture(list_mvtec(out, "train")[0].image).shape == (8, 8, 3)
    ours, theirs = (batches(train(list_mvtec(root, "train"), cache="none", image_size=(8, 8)), 6)
                    for root in (out, folder))
    assert_same(ours, theirs)


def test_several_shards_give_the_same_samples_in_another_order(folder, many):
    """A sample is a pure function of seed, pass and record; a pass of 11 takes 10 of them in batches of 2."""
    def samples(root):
        found = {}
        for batch in batches(train(list_mvtec(root, "train"), cache="none"), 10):
            for i, seed in enumerate(batch["seed"]):
                found[tuple(seed)] = batch["image"][i], batch["roi"][i]
        return found

    ours, theirs = samples(many), samples(folder)
    common = set(ours) & set(theirs)
    assert len(ours) == len(theirs) == 20 and len(common) >= 18
    for seed in common:
        np.testing.assert_array_equal(ours[seed][0], theirs[seed][0])
        np.testing.assert_array_equal(ours[seed][1], theirs[seed][1])


def test_the_order_takes_one_shard_after_the_other(many):
    groups = shards.groups(list_mvtec(many, "train"))
    assert sorted(np.bincount(groups)) == [2, 3, 3, 3]
    passes = []
    for number in range(6):
        seen = [int(i) for step in range(11) for i in batch_records(11, 1, 5, 11 * number + step, groups)]
        assert sorted(seen) == list(range(11))
        order = groups[seen]
        assert (np.diff(order) != 0).sum() == 3  # each shard is left once, but the last
        passes.append((tuple(order), tuple(seen)))
    assert len({order for order, _ in passes}) > 1 and len(set(passes)) == 6
    two = {group: [i for i in passes[0][1] if groups[i] == group] for group in range(4)}
    assert any(indices != sorted(indices) for indices in two.values())  # and within, they are shuffled too


def test_records_of_a_set_are_a_list_that_is_made_when_asked_for(many):
    found = list_mvtec(many, "test")
    whole = list(found)
    assert found == whole and len(found) == 3 and found[-1] == whole[-1] and found[1:] == whole[1:]
    assert chosen(found, np.array([2, 0])) == [whole[2], whole[0]] == chosen(whole, np.array([2, 0]))
    assert found + [] is found and found + whole == [*whole, *whole] == whole + found
    assert [having(records, "mask") for records in (found, whole, found[1:])] == [2, 2, 1]
    assert inspect(found) == inspect(whole) and hold_out(found, 0.5, 1) == hold_out(whole, 0.5, 1)
    np.testing.assert_array_equal(shards.groups(found[::-1]), shards.groups(whole[::-1]))
    with pytest.raises(InputError, match="has 8 bit, but data.white is 4095"):
        inspect(found, white=4095)


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_batches_depend_on_neither_start_nor_parallelism(many, cache):
    records = list_mvtec(many, "train")
    whole = batches(train(records, cache=cache), 14)
    assert_same(batches(train(records, 6, cache=cache, parallel_calls=1), 8), whole[6:])
    assert_same(batches(train(records, cache="none", parallel_calls=5), 14), whole)


def test_workers_read_their_own_parts_of_each_batch(many):
    def stream():
        return pipeline.TrainingStream(list_mvtec(many, "train"), pipeline.Data(image_size=SIZE, cache="none"),
                                       channels=3, depth=8, batch_size=4, seed=3)

    whole, parts = batches(stream().batches(1), 5), [batches(stream().batches(1, (i, 2)), 5) for i in range(2)]
    for batch, first, second in zip(whole, *parts):
        for key in batch:
            np.testing.assert_array_equal(batch[key], np.concatenate([first[key], second[key]]))
    in_halves = batches(stream().batches(1, (1, 2), 2), 10)  # two replicas in the second worker
    np.testing.assert_array_equal(np.concatenate([in_halves[0]["image"], in_halves[1]["image"]]), parts[1][0]["image"])


def test_the_bytes_do_not_depend_on_the_threads_and_a_second_command_changes_nothing(folder, many, tmp_path):
    out = str(tmp_path / "again")
    shard_writing.write(folder, out, wanted=Wanted(size=2000), threads=1)
    first = contents(out)
    assert first == contents(many) and len(first) == 1 + 1 + 2 * 5
    shard_writing.write(folder, out, wanted=Wanted(size=2000), threads=5)
    assert contents(out) == first


def test_shards_of_shards(folder, many, one, tmp_path):
    out = str(tmp_path / "again")
    shard_writing.write(many, out)
    ours, theirs = contents(out), contents(one)
    assert {name for name in ours if not name.startswith("roi")} == {name for name in theirs if name[:3] != "roi"}
    assert ours["train-00000-of-00001.tfrecord"] == theirs["train-00000-of-00001.tfrecord"]


def test_a_set_keeps_how_parts_lay(tmp_path):
    """align.json of a folder that `grdnet align` made; of resized pictures the size no longer tells."""
    root = str(tmp_path / "data")
    for i in range(2):
        write(f"{root}/train/good/{i}.png", picture(i))
    aligning.write(f"{root}/align.json", aligning.Alignment(SIZE, 1.0, picture(5, 1)[..., 0]))
    for name, wanted in (("plain", Wanted()), ("small", Wanted((8, 8)))):
        out = str(tmp_path / name)
        shard_writing.write(root, out, ("train",), wanted)
        aligning.check(f"{root}/align.json", list_mvtec(out, "train"))
    os.remove(tmp_path / "small" / "align.json")
    with pytest.raises(InputError, match="grdnet align DIR --like"):
        aligning.check(f"{root}/align.json", list_mvtec(out, "train"))


def test_check_reads_every_byte(folder, copy):
    assert check(copy, SIZE).errors == [] and check(copy, SIZE).facts == check(folder, SIZE).facts
    path = os.path.join(copy, "test-00000-of-00001.tfrecord")
    flip(path, 5)  # in the frame of a record, which no picture's own reading sees
    found = check(copy, SIZE)
    assert [line for line in found.errors if "test-00000-of-00001.tfrecord: not as it was written" in line]


def test_predict_takes_every_picture_of_a_set(folder, many):
    items, total = sources.named([many])
    items = list(items)
    assert total == len(items) == 14
    assert items[0].name == "train/good/00.png" and items[0].path == os.path.join(many, items[0].name)
    np.testing.assert_array_equal(items[0].read(), picture(0))


def test_packed_texts_sort_as_texts_do_and_come_back():
    texts = ["b", "a/ü", "a b", "\udcff", "\uffff", "\U0001f600", "a", "x" * 300]
    for some in (texts, texts[:-1], texts[:1], []):
        assert unpacked(packed(some)) == some
        assert unpacked(np.sort(packed(some))) == sorted(some)


# A file system that is not this machine's ----------------------------------------------------------------------------


def test_a_remote_file_system(folder, one):
    """ram:// is TensorFlow's own and nowhere in the system's; what lies there goes through tf.io.gfile alone."""
    out = "ram://bucket/set"
    shard_writing.write(folder, out, wanted=Wanted(size=2000))
    assert not tf.io.gfile.exists(f"{out}/{shards.PROGRESS}")
    assert inspect(list_mvtec(out, "train"))[1:] == inspect(list_mvtec(folder, "train"))[1:]
    assert str(list_mvtec(out, "train")[0].image) == f"{out}/train/good/00.png"
    assert check(out, SIZE).errors == []
    assert_same(batches(train(list_mvtec(out, "train"), cache="ram"), 4),
                batches(train(list_mvtec(out, "train"), cache="none"), 4))
    name = "test-00000-of-00001.tfrecord"
    tf.io.gfile.remove(f"{out}/{name}")  # this file system would append
    with tf.io.gfile.GFile(f"{out}/{name}", "wb") as stream:
        stream.write(b"short")
    with pytest.raises(InputError) as error:
        list_mvtec(out, "test")
    one_line(error, f"{out}/{name}: truncated")
    with pytest.raises(InputError) as error:
        list_mvtec("ram://bucket/nothing", "train")
    one_line(error, "ram://bucket/nothing/index.json", "grdnet shards")
