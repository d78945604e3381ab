"""A reproducible order at any start, with any cache and parallelism; and what each data set holds."""
import gc
import logging
import os

import numpy as np
import pytest
import tensorflow as tf
from drawn import SIZE, STILL, encoded, picture, write
from streams import assert_same, batches, train

from grdnet_tf.data import pipeline
from grdnet_tf.data.decoding import decode_resize, load_image, load_mask
from grdnet_tf.data.records import Record, list_mvtec
from grdnet_tf.errors import InputError
from grdnet_tf.options import Data

# Pixels


def test_all_levels_are_exact_with_and_without_a_cache(tmp_path):
    every = np.arange(65536).astype(np.uint16).reshape(256, 256, 1)
    record = Record(write(tmp_path / "a.png", every), None, None, 0, "good")
    for cache in ("ram", "none"):
        batch = next(iter(train([record], image_size=(256, 256), channels=1, depth=16, batch_size=1, cache=cache,
                                **STILL)))
        np.testing.assert_array_equal(batch["image"][0], (every / 65535).astype(np.float32))


def test_8_bit_pictures_among_16_bit_keep_their_values(tmp_path):
    pixels = picture(2, 1)
    record = Record(write(tmp_path / "a.png", pixels), None, None, 0, "good")
    batch = next(iter(train([record], channels=1, depth=16, batch_size=1, **STILL)))
    np.testing.assert_array_equal(batch["image"][0], (pixels / 255).astype(np.float32))


def test_serving_sees_what_training_sees(tmp_path):
    contents = encoded(picture(0, 3, np.uint8, (40, 30)))
    (tmp_path / "a.png").write_bytes(contents)
    served = tf.map_fn(lambda c: decode_resize(c, SIZE, 3), tf.constant([contents]),
                       fn_output_signature=tf.TensorSpec((*SIZE, 3), tf.float32))
    batch = next(iter(train([Record(str(tmp_path / "a.png"), None, None, 0, "good")], batch_size=1, **STILL)))
    np.testing.assert_array_equal(batch["image"], served)


def test_no_augmentation_changes_no_bit(records):
    for batch in batches(train(records, **STILL), 3):
        for image, roi, index in zip(batch["image"], batch["roi"], batch["seed"][:, 1]):
            np.testing.assert_array_equal(image, (picture(index) / 255).astype(np.float32))
            expected = picture(100 + index, 1) > 99 if records[index].roi else np.ones((*SIZE, 1))
            np.testing.assert_array_equal(roi, expected)


def test_pictures_are_varied_where_they_are_asked_to_be(records):
    plain, some, all_of_them = (
        np.concatenate([batch["image"] for batch in batches(train(records, varied=share, **STILL), 12)])
        for share in (0.0, 0.5, 1.0))
    changed = (some != plain).any(axis=(1, 2, 3))
    assert 4 <= changed.sum() <= 20 and (all_of_them != plain).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(some[changed], all_of_them[changed])  # a picture's numbers are its seed's


@pytest.mark.parametrize("border, outside", [("constant", True), ("reflect", False)])
def test_without_a_roi_only_a_black_border_is_left_out(records, border, outside):
    bare = [record._replace(roi=None) for record in records]
    rois = np.concatenate([batch["roi"] for batch in batches(train(bare, border=border), 3)])
    assert (rois == 0).any() == outside
    full = [r._replace(roi=None) if i in (4, 5) else r for i, r in enumerate(records)]
    ones = [batch["roi"][i] for batch in batches(train(full), 3) for i in range(2) if batch["seed"][i, 1] in (4, 5)]
    assert len(ones) and all((roi == 1).all() for roi in ones)


# Order


def test_a_pass_is_a_permutation_and_differs_from_the_next():
    passes = [np.concatenate([pipeline.batch_records(12, 3, 7, 4 * p + s) for s in range(4)]) for p in range(3)]
    for order in passes:
        assert sorted(order) == list(range(12))
    assert len({tuple(order) for order in passes}) == 3
    assert tuple(pipeline.batch_records(12, 3, 8, 0)) != tuple(passes[0][:3])


def test_every_record_comes_also_where_batches_do_not_divide():
    seen = np.concatenate([pipeline.batch_records(7, 3, 0, step) for step in range(40)])  # 1 of 7 is left out each pass
    counts = np.bincount(seen, minlength=7)
    assert counts.min() >= 8 and len(seen) == 120  # expected 17 each


def test_names_of_a_batch_agree_with_the_stream(stream):
    for step, batch in enumerate(stream):
        index = pipeline.batch_records(7, 2, 3, step)
        np.testing.assert_array_equal(batch["seed"][:, 1], index)
        np.testing.assert_array_equal(batch["seed"][:, 0], 3 * 1000003 + step // 3)


def test_a_stream_knows_its_steps_and_the_files_of_a_batch(records, stream):
    own = pipeline.TrainingStream(records, Data(image_size=SIZE), channels=3, depth=8, batch_size=2, seed=3)
    assert own.steps == 3
    for step in (0, 2, 7):
        assert own.files(step) == [records[i].image for i in stream[step]["seed"][:, 1]]


def test_the_pass_seed_wraps_like_an_int32(records):
    batch = next(iter(train(records, seed=2**31 - 1, start_step=6)))  # pass 2
    expected = np.array(((2**31 - 1) * 1000003 + 2) % 2**32, np.uint32).view(np.int32)
    assert (batch["seed"][:, 0].numpy() == expected).all()


@pytest.mark.parametrize("start, cache", [(1, "ram"), (3, "none"), (5, "ram")])
def test_a_stream_can_start_at_any_step(records, stream, start, cache):
    assert_same(batches(train(records, start_step=start, cache=cache), 4), stream[start:start + 4])


def test_skipped_steps_are_not_decoded(records, stream, tmp_path):
    """The stream starts at step 7 although no other record than those of its first batch can be read."""
    wanted = set(pipeline.batch_records(7, 2, 3, 7))
    there = [r if i in wanted else r._replace(image=str(tmp_path / "gone.png")) for i, r in enumerate(records)]
    assert_same(batches(train(there, start_step=7, cache="none", parallel_calls=1), 1), stream[7:8])


@pytest.mark.parametrize("changes", [dict(parallel_calls=1), dict(parallel_calls=4), dict(cache="none"),
                                     dict(cache="none", parallel_calls=3), dict(cache="auto", cache_gb=0.0)])
def test_cache_and_parallelism_leave_every_bit_as_it_is(records, stream, changes):
    assert_same(batches(train(records, **changes), 5), stream[:5])


def test_auto_takes_the_ram_only_if_it_fits_and_says_so(records, caplog):
    needed = 7 * 12 * 16 * 4 / 1e9  # 7 pictures of 3 bytes and one ROI byte a pixel
    for gigabytes, words in ((needed, "kept in RAM"), (needed * 0.99, "read from the disk")):
        with caplog.at_level(logging.INFO):
            caplog.clear()
            train(records, cache="auto", cache_gb=gigabytes)
        assert words in caplog.text


def test_cached_pictures_are_read_once(records, stream, tmp_path):
    copies = []
    for record in records:
        path = tmp_path / os.path.basename(record.image)
        path.write_bytes(open(record.image, "rb").read())
        copies.append(record._replace(image=str(path)))
    dataset = train(copies)
    for record in copies:
        os.remove(record.image)
    assert_same(batches(dataset, 4), stream[:4])


def test_the_cache_lives_as_long_as_its_stream_and_no_longer(records, stream):
    def caches():
        gc.collect()
        return sum(isinstance(thing, pipeline.PictureCache) for thing in gc.get_objects())

    before = caches()
    iterator = iter(train(records).take(3))  # the data set itself is gone
    assert caches() == before + 1
    assert_same([{key: value.numpy() for key, value in batch.items()} for batch in iterator], stream[:3])
    del iterator
    assert caches() == before


def test_a_file_that_breaks_the_cache_is_named(records, tmp_path):
    (tmp_path / "bad.png").write_bytes(encoded(picture())[:70])
    deep = write(tmp_path / "deep.png", picture(0, 3, np.uint16))
    for path in (str(tmp_path / "bad.png"), str(tmp_path / "gone.png"), deep):
        with pytest.raises(InputError) as error:
            train([*records, records[0]._replace(image=path)])
        assert str(error.value).startswith(path) and "\n" not in str(error.value)


def test_fewer_pictures_than_one_batch_names_the_key(records):
    with pytest.raises(InputError, match="train.batch_size = 8"):
        train(records, batch_size=8)
    assert [pipeline.steps_per_pass(7, size) for size in (2, 3, 7)] == [3, 2, 1]


def test_tiff_pictures_and_rois_stream_too(tmp_path):
    roi = (picture(9, 1) > 99).astype(np.uint8) * 255
    found = [Record(write(tmp_path / f"{i}.tif", picture(i, 3, np.uint16)), None, write(tmp_path / f"{i}_r.bmp", roi),
                    0, "good") for i in range(3)]
    for batch in batches(train(found, depth=16, **STILL), 2):
        for image, index in zip(batch["image"], batch["seed"][:, 1]):
            np.testing.assert_array_equal(image, (picture(index, 3, np.uint16) / 65535).astype(np.float32))
        np.testing.assert_array_equal(batch["roi"], np.stack([roi > 0] * 2))


# The other data sets


def test_perturb_sees_the_finished_batch(records, stream):
    def perturb(batch):
        return dict(batch, noisy=1.0 - batch["image"], mask=batch["roi"])

    expected = [dict(batch, noisy=1.0 - batch["image"], mask=batch["roi"]) for batch in stream[:2]]
    assert_same(batches(train(records, perturb=perturb), 2), expected)


@pytest.mark.parametrize("cache", ["ram", "none"])
def test_held_out_is_fixed_in_order_and_complete(records, cache):
    dataset = pipeline.held_out_dataset(records, Data(image_size=SIZE, cache=cache), channels=3, depth=8, batch_size=3,
                                        seed=3)
    found = batches(dataset, -1)
    assert [len(batch["image"]) for batch in found] == [3, 3, 1]
    images, seeds = (np.concatenate([batch[key] for batch in found]) for key in ("image", "seed"))
    np.testing.assert_array_equal(images, np.stack([(picture(n) / 255).astype(np.float32) for n in range(7)]))
    np.testing.assert_array_equal(seeds, [[3 * 1000003 - 1, n] for n in range(7)])
    assert_same(batches(dataset, -1), found)


@pytest.mark.parametrize("views, order", [(2, [0, 1, 2]), (4, [0, 1, 2, 0, 1, 2]), (8, [0, 1, 2] * 3)])
def test_few_held_out_pictures_are_shown_several_times_in_whole_batches(records, views, order):
    dataset = pipeline.held_out_dataset(records[:3], Data(image_size=SIZE), channels=3, depth=8, batch_size=3, seed=3,
                                        views=views)
    found = batches(dataset, -1)
    assert [len(batch["image"]) for batch in found] == [3] * (len(order) // 3)
    images, seeds = (np.concatenate([batch[key] for batch in found]) for key in ("image", "seed"))
    np.testing.assert_array_equal(images, np.stack([(picture(n) / 255).astype(np.float32) for n in order]))
    assert len({tuple(seed) for seed in seeds}) == len(order)  # each view has defects of its own


def test_evaluation_gives_every_picture_with_its_truth(records, tmp_path):
    mask = np.zeros((*SIZE, 1), np.uint8)
    mask[2:5, 3:9] = 255
    tested = [records[0]._replace(mask=write(tmp_path / "m.png", mask), label=1, defect="crack"), *records[1:]]
    dataset = pipeline.evaluation_dataset(tested, image_size=SIZE, channels=3, batch_size=4)
    found = batches(dataset, -1)
    assert [len(batch["image"]) for batch in found] == [4, 3]
    joined = {key: np.concatenate([batch[key] for batch in found]) for key in found[0]}
    np.testing.assert_array_equal(joined["index"], range(7))
    np.testing.assert_array_equal(joined["mask"][0], mask > 0)
    assert not joined["mask"][1:].any()
    for number, record in enumerate(tested):
        np.testing.assert_array_equal(joined["image"][number], load_image(record.image, SIZE, 3))
        np.testing.assert_array_equal(joined["roi"][number], load_mask(record.roi, SIZE))


def test_static_shapes_and_sharding_by_batch(records):
    spec = train(records).element_spec
    assert {key: (tuple(value.shape), value.dtype) for key, value in spec.items()} == {
        "image": ((2, 12, 16, 3), tf.float32), "roi": ((2, 12, 16, 1), tf.float32), "seed": ((2, 2), tf.int32)}
    policy = tf.data.experimental.AutoShardPolicy.DATA
    for dataset in (train(records), pipeline.evaluation_dataset(records, image_size=8, channels=3, batch_size=2)):
        assert dataset.options().experimental_distribute.auto_shard_policy == policy


def test_replicas_share_the_batches_of_one_device(records, stream):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    ours = [{key: value.numpy() for key, value in batch.items()}
            for batch, _ in zip(strategy.experimental_distribute_dataset(train(records)), range(3))]
    assert_same(ours, stream[:3])


def test_real_regions_follow_their_picture(real_data):
    """A pill is bright on dark ground and its ROI is the tablet: that must hold after any turn."""
    chosen = list_mvtec(real_data("pill"), "train")[:8]
    for batch in batches(train(chosen, image_size=(64, 64), batch_size=4), 2):
        grey, inside = batch["image"].mean(-1), batch["roi"][..., 0] == 1
        assert grey[inside].mean() > 2 * grey[~inside].mean()
