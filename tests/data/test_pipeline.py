"""Exact pixels, a reproducible order, and image and ROI that never come apart."""
import gc
import io
import logging
import os

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from grdnet_tf.data import pipeline
from grdnet_tf.compat import KERAS_3
from grdnet_tf.data.records import Record
from grdnet_tf.errors import InputError

SIZE = (12, 16)
STILL = dict(rotation=0.0, flip_horizontal=False, flip_vertical=False)
TURNED = dict(rotation=np.pi / 2, flip_horizontal=True, flip_vertical=True)


def picture(seed=0, channels=3, dtype=np.uint8, size=SIZE):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*size, channels), dtype, endpoint=True)


def stored(pixels):
    """As OpenCV wants it: BGR, or without a channel axis."""
    return pixels[..., ::-1] if pixels.shape[2] == 3 else pixels[..., 0]


def encoded(pixels, extension=".png"):
    return cv2.imencode(extension, stored(pixels))[1].tobytes()


def pillow(kind, mode, **options):
    stream = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def write(path, pixels):
    assert cv2.imwrite(str(path), stored(pixels))
    return str(path)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """7 colour pictures; 4 and 5 without a ROI."""
    folder, found = tmp_path_factory.mktemp("pictures"), []
    for number in range(7):
        roi = None
        if number not in (4, 5):
            roi = write(folder / f"{number}_roi.png", (picture(100 + number, 1) > 99).astype(np.uint8) * 255)
        found.append(Record(write(folder / f"{number}.png", picture(number)), None, roi, 0, "good"))
    return found


@pytest.fixture(scope="module")
def stream(records):
    """The first 10 batches of the stream that other settings must reproduce; 3 steps a pass."""
    return batches(train(records), 10)


def train(records, **changes):
    options = dict(image_size=SIZE, channels=3, depth=8, batch_size=2, seed=3, cache="ram", **TURNED)
    return pipeline.train_dataset(records, **dict(options, **changes))


def batches(dataset, count):
    return [{key: value.numpy() for key, value in batch.items()} for batch in dataset.take(count)]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


# Decoding


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("extension, dtype", [(".png", np.uint8), (".png", np.uint16), (".bmp", np.uint8),
                                              (".tif", np.uint8), (".tiff", np.uint16)])
def test_every_value_survives(tmp_path, extension, dtype, channels):
    pixels = picture(1, channels, dtype)
    expected = (pixels / np.iinfo(dtype).max).astype(np.float32)  # the float32 next to k / 65535
    path = write(tmp_path / f"a{extension}", pixels)
    np.testing.assert_array_equal(pipeline.load_image(path, SIZE, channels), expected)
    if not extension.startswith(".tif"):
        np.testing.assert_array_equal(pipeline.decode_resize(encoded(pixels, extension), SIZE, channels), expected)


def test_all_levels_are_exact_with_and_without_a_cache(tmp_path):
    every = np.arange(65536).astype(np.uint16).reshape(256, 256, 1)
    record = Record(write(tmp_path / "a.png", every), None, None, 0, "good")
    for cache in ("ram", "none"):
        batch = next(iter(train([record], image_size=256, channels=1, depth=16, batch_size=1, cache=cache, **STILL)))
        np.testing.assert_array_equal(batch["image"][0], (every / 65535).astype(np.float32))


def test_8_bit_pictures_among_16_bit_keep_their_values(tmp_path):
    pixels = picture(2, 1)
    record = Record(write(tmp_path / "a.png", pixels), None, None, 0, "good")
    batch = next(iter(train([record], channels=1, depth=16, batch_size=1, **STILL)))
    np.testing.assert_array_equal(batch["image"][0], (pixels / 255).astype(np.float32))


def test_jpeg_is_what_an_exact_decoder_gives():
    smooth = cv2.resize(picture(), (64, 64))
    for pixels in (smooth, smooth[..., :1]):
        contents = encoded(pixels, ".jpg")
        reference = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_UNCHANGED).reshape(64, 64, -1)
        ours = pipeline.decode_resize(contents, 64, pixels.shape[2])
        np.testing.assert_array_equal(np.round(ours * 255), reference[..., ::-1])


@pytest.mark.parametrize("extension", [".png", ".bmp", ".jpg", ".tif"])
def test_grey_fills_three_channels_and_colour_never_becomes_grey(tmp_path, extension):
    grey = write(tmp_path / f"grey{extension}", picture(0, 1))
    three = pipeline.load_image(grey, SIZE, 3).numpy()
    assert (three == three[..., :1]).all()
    np.testing.assert_array_equal(three[..., :1], pipeline.load_image(grey, SIZE, 1))
    colour = write(tmp_path / f"colour{extension}", picture(0, 3))
    with pytest.raises(InputError) as error:
        pipeline.load_image(colour, SIZE, 1)
    assert str(error.value).startswith(colour) and "\n" not in str(error.value)


@pytest.mark.parametrize("contents", [
    encoded(picture())[:-100], b"", b"hello", pillow("PNG", "RGBA"), pillow("PNG", "LA"), pillow("JPEG", "CMYK"),
    pillow("BMP", "RGBA")], ids=["truncated", "empty", "text", "rgba", "grey-alpha", "cmyk", "bmp-alpha"])
def test_bytes_that_would_lose_something_are_refused(contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        pipeline.decode_resize(contents, SIZE, 3)
    traced = tf.function(lambda c: pipeline.decode_resize(c, SIZE, 3), input_signature=[tf.TensorSpec([], tf.string)])
    with pytest.raises(tf.errors.InvalidArgumentError):
        traced(contents)


def test_palette_png_is_read_as_the_colours_it_shows():
    contents = pillow("PNG", "P")
    reference = np.asarray(Image.open(io.BytesIO(contents)).convert("RGB"))
    np.testing.assert_array_equal(pipeline.decode_resize(contents, SIZE, 3), (reference / 255).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resizing_averages_and_stays_on_the_grid_of_the_file(dtype):
    peak = np.iinfo(dtype).max
    steps = np.repeat(np.repeat(picture(0, 1, dtype, (4, 4)), 8, 0), 8, 1)  # 32 x 32 in blocks of one value
    ours = pipeline.decode_resize(encoded(steps), (4, 4), 1).numpy() * peak
    np.testing.assert_array_equal(np.round(ours), np.round(ours * 8) / 8)
    # Antialiasing: a checkerboard of single pixels becomes its mean, not one of its two colours.
    board = (np.indices((32, 32)).sum(0) % 2 * 200).astype(dtype)[..., None]
    inside = pipeline.decode_resize(encoded(board), (8, 8), 1).numpy()[1:-1, 1:-1]
    np.testing.assert_allclose(inside * peak, 100, atol=1.5)


def test_serving_sees_what_training_sees(tmp_path):
    contents = encoded(picture(0, 3, np.uint8, (40, 30)))
    (tmp_path / "a.png").write_bytes(contents)
    served = tf.map_fn(lambda c: pipeline.decode_resize(c, SIZE, 3), tf.constant([contents]),
                       fn_output_signature=tf.TensorSpec((*SIZE, 3), tf.float32))
    batch = next(iter(train([Record(str(tmp_path / "a.png"), None, None, 0, "good")], batch_size=1, **STILL)))
    np.testing.assert_array_equal(batch["image"], served)


def test_masks_are_binary_and_nearest(tmp_path):
    mask = np.zeros((24, 32, 1), np.uint8)
    mask[4:12, 8:16] = 1
    expected = np.zeros((12, 16, 1), np.float32)
    expected[2:6, 4:8] = 1
    for name, pixels in (("a.png", mask), ("b.bmp", mask * 255), ("c.tif", mask * 255), ("d.png", mask.repeat(3, 2)),
                         ("e.png", mask.astype(np.uint16))):
        np.testing.assert_array_equal(pipeline.load_mask(write(tmp_path / name, pixels), SIZE), expected, name)
    np.testing.assert_array_equal(pipeline.load_mask(None, SIZE), np.ones((12, 16, 1)))


@pytest.mark.parametrize("load", [lambda path: pipeline.load_image(path, SIZE, 3),
                                  lambda path: pipeline.load_mask(path, SIZE)], ids=["image", "mask"])
def test_a_file_that_cannot_be_loaded_is_named(tmp_path, load):
    (tmp_path / "b.png").write_bytes(encoded(picture())[:60])
    for name in ("missing.png", "b.png"):
        with pytest.raises(InputError) as error:
            load(str(tmp_path / name))
        assert str(error.value).startswith(f"{tmp_path}/{name}: ") and "\n" not in str(error.value)


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
    for gigabytes, words in ((needed, "kept in RAM"), (needed * 0.99, "read again")):
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
        return sum(isinstance(thing, pipeline._Cache) for thing in gc.get_objects())

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


# Augmentation


def test_no_augmentation_changes_no_bit(records):
    for batch in batches(train(records, **STILL), 3):
        for image, roi, index in zip(batch["image"], batch["roi"], batch["seed"][:, 1]):
            np.testing.assert_array_equal(image, (picture(index) / 255).astype(np.float32))
            expected = picture(100 + index, 1) > 99 if records[index].roi else np.ones((*SIZE, 1))
            np.testing.assert_array_equal(roi, expected)


@pytest.mark.parametrize("border", ["reflect", "nearest", "wrap", "constant"])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_image_and_roi_turn_together(size, border):
    """The ROI is drawn into the image: where it is 1 afterwards the picture is bright, elsewhere dark."""
    roi = np.zeros((*size, 1), np.float32)
    roi[5:30, 10:40] = 1  # off centre and not symmetric: any other turn or flip than the image's would show
    for number in range(12):
        image, turned = pipeline.augment(tf.constant(roi.repeat(3, 2)), tf.constant(roi), tf.constant([number, 1]),
                                         border=border, **TURNED)
        assert set(np.unique(turned)) <= {0.0, 1.0}
        inside = turned.numpy()[..., 0] == 1
        # Bilinear and nearest neighbour may differ at an edge, so it is left out by 2 pixels, and so is the frame,
        # beyond which an edge may lie unseen.
        eroded, grown = (morph(inside.astype(np.uint8), np.ones((5, 5)))[2:-2, 2:-2] > 0
                         for morph in (cv2.erode, cv2.dilate))
        picture_inside = image.numpy()[2:-2, 2:-2]
        assert eroded.sum() > 100 and (~grown).sum() > 100
        assert (picture_inside[eroded] > 0.99).all() and (picture_inside[~grown] < 0.01).all()
        assert ((image.numpy()[..., 0] > 0.5) == inside).mean() > 0.97


def test_flips_alone_are_exact_and_cover_all_four():
    image, roi = picture(0).astype(np.float32) / 255, (picture(1, 1) > 99).astype(np.float32)
    seen = set()
    for number in range(24):
        turned, region = pipeline.augment(tf.constant(image), tf.constant(roi), tf.constant([5, number]), rotation=0.0,
                                          flip_horizontal=True, flip_vertical=True, border="reflect")
        matching = [(y, x) for y in (1, -1) for x in (1, -1) if (turned.numpy() == image[::y, ::x]).all()]
        assert len(matching) == 1
        y, x = matching[0]
        np.testing.assert_array_equal(region, roi[::y, ::x])
        seen.add((y, x))
    assert len(seen) == 4


@pytest.mark.parametrize("horizontal, vertical, found", [(True, False, {(1, 1), (1, -1)}),
                                                         (False, True, {(1, 1), (-1, 1)})])
def test_only_the_flips_that_are_on(horizontal, vertical, found):
    image = tf.constant(picture(0).astype(np.float32))
    seen = set()
    for number in range(16):
        turned, _ = pipeline.augment(image, image[..., :1], tf.constant([5, number]), rotation=0.0, border="reflect",
                                     flip_horizontal=horizontal, flip_vertical=vertical)
        seen |= {(y, x) for y in (1, -1) for x in (1, -1) if (turned.numpy() == image.numpy()[::y, ::x]).all()}
    assert seen == found


def test_a_crop_is_a_window_of_what_it_would_be_without():
    image, roi = picture(0).astype(np.float32) / 255, (picture(1, 1) > 99).astype(np.float32)
    (height, width), (h, w), places = SIZE, (SIZE[0] - 7, SIZE[1] // 2), set()
    for number in range(40):
        options = dict(rotation=0.3, flip_horizontal=True, flip_vertical=True, border="reflect")
        whole, region = pipeline.augment(tf.constant(image), tf.constant(roi), tf.constant([5, number]), **options)
        part, inside = pipeline.augment(tf.constant(image), tf.constant(roi), tf.constant([5, number]), crop=(h, w),
                                        **options)
        assert part.shape == (h, w, 3) and inside.shape == (h, w, 1)
        windows = {(y, x): whole.numpy()[y:y + h, x:x + w] for y in range(8) for x in range(width - w + 1)}
        (y, x), = [at for at, window in windows.items() if np.abs(window - part).max() < 1e-4]
        assert np.mean(region.numpy()[y:y + h, x:x + w] == inside) > 0.99  # nearest: a tie may fall either way
        places.add((y, x))
    assert {y for y, _ in places} == set(range(8)) and {0, width - w} <= {x for _, x in places}


def test_only_a_share_of_the_pictures_is_turned():
    image, roi = picture(0).astype(np.float32) / 255, (picture(1, 1) > 99).astype(np.float32)
    (height, width), (h, w), found = SIZE, (SIZE[0] - 2, SIZE[1] - 3), []
    options = dict(rotation=0.5, turned=0.2, flip_horizontal=True, flip_vertical=True, border="reflect", crop=(h, w))
    flipped = [(image[::y, ::x], roi[::y, ::x]) for y in (1, -1) for x in (1, -1)]
    windows = [[part[y:y + h, x:x + w] for part in pair] for pair in flipped for y in range(3) for x in range(4)]
    for number in range(60):
        window, region = pipeline.augment(tf.constant(image), tf.constant(roi), tf.constant([5, number]), **options)
        found.append(any((window.numpy() == a).all() and (region.numpy() == b).all() for a, b in windows))
    assert 0.65 < np.mean(found) < 0.95  # 0.8 +- 3 deviations: to the bit a window of one of the four flips


def angles_of(count, rotation):
    """The angles by which `count` samples are turned: that of a bright dot's way round the centre."""
    dot = np.zeros((65, 65, 1), np.float32)
    dot[31:34, 55:58] = 1  # centre (32, 32), the dot's (56, 32): angle 0
    seeds = tf.stack([tf.fill([count], 11), tf.range(count)], 1)
    images, _ = pipeline.augment_batch(tf.stack([dot] * count), None, seeds, rotation=rotation, flip_horizontal=False,
                                       flip_vertical=False, border="constant")
    weights = images.numpy()[..., 0]
    y, x = ((axis * weights).sum((1, 2)) / weights.sum((1, 2)) - 32 for axis in np.indices((65, 65)))
    return np.arctan2(-y, x)  # counterclockwise, y points down


def test_angles_are_uniform_in_the_whole_range():
    angles = angles_of(300, np.pi / 2)
    assert np.abs(angles).max() <= np.pi / 2 + 0.01
    # Uniform in [-a, a]: mean 0 with deviation a / sqrt(3 n) = 0.052, quarters of 75 with deviation 7.5.
    assert abs(angles.mean()) < 0.16
    assert np.abs(np.histogram(angles, 4, (-np.pi / 2, np.pi / 2))[0] - 75).max() < 30
    np.testing.assert_allclose(angles_of(300, 0.1), angles * 0.1 / (np.pi / 2), atol=0.01)


def test_a_sample_is_a_function_of_its_own_seed(records):
    image, roi = tf.constant(picture(0).astype(np.float32)), tf.ones((*SIZE, 1))
    seeds = tf.constant([[1, 2], [1, 3], [2, 2], [1, 2]])
    together, _ = pipeline.augment_batch(tf.stack([image] * 4), tf.stack([roi] * 4), seeds, border="reflect", **TURNED)
    for number in range(4):
        alone, _ = pipeline.augment(image, roi, seeds[number], border="reflect", **TURNED)
        np.testing.assert_array_equal(together[number], alone)
    assert len({together[n].numpy().tobytes() for n in range(4)}) == 3


@pytest.mark.parametrize("border, outside", [("constant", True), ("reflect", False)])
def test_without_a_roi_only_a_black_border_is_left_out(records, border, outside):
    bare = [record._replace(roi=None) for record in records]
    rois = np.concatenate([batch["roi"] for batch in batches(train(bare, border=border), 3)])
    assert (rois == 0).any() == outside
    full = [r._replace(roi=None) if i in (4, 5) else r for i, r in enumerate(records)]
    ones = [batch["roi"][i] for batch in batches(train(full), 3) for i in range(2) if batch["seed"][i, 1] in (4, 5)]
    assert len(ones) and all((roi == 1).all() for roi in ones)


@pytest.mark.skipif(KERAS_3, reason="tensorflow-addons cannot be installed on the Keras 3 stack")
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("border", ["reflect", "constant", "nearest", "wrap"])
def test_addons_rotation_equals_the_core_op(interpolation, border):
    import tensorflow_addons as tfa

    from grdnet_tf.data import augmentation
    images = tf.constant(np.stack([picture(n, 3, size=(17, 30)) for n in range(5)]).astype(np.float32) / 255)
    angles = tf.constant([-np.pi / 2, -0.4, 0.0, 1.1, np.pi / 2], tf.float32)
    no_flip = tf.zeros(5, tf.bool)
    transforms = augmentation._transforms(angles, no_flip, no_flip, tf.constant([17, 30]))
    reference = tfa.image.rotate(images, angles, interpolation, border)
    core = tf.raw_ops.ImageProjectiveTransformV3(images=images, transforms=transforms, output_shape=[17, 30],
                                                 fill_value=0.0, interpolation=interpolation.upper(),
                                                 fill_mode=border.upper())
    np.testing.assert_array_equal(core, reference)
    np.testing.assert_array_equal(augmentation._warp(images, transforms, interpolation, border), reference)


# The other data sets


def test_perturb_sees_the_finished_batch(records, stream):
    def perturb(batch):
        return dict(batch, noisy=1.0 - batch["image"], mask=batch["roi"])

    expected = [dict(batch, noisy=1.0 - batch["image"], mask=batch["roi"]) for batch in stream[:2]]
    assert_same(batches(train(records, perturb=perturb), 2), expected)


@pytest.mark.parametrize("cache", ["ram", "none"])
def test_held_out_is_fixed_in_order_and_complete(records, cache):
    dataset = pipeline.held_out_dataset(records, image_size=SIZE, channels=3, depth=8, batch_size=3, seed=3,
                                        cache=cache)
    found = batches(dataset, -1)
    assert [len(batch["image"]) for batch in found] == [3, 3, 1]
    images, seeds = (np.concatenate([batch[key] for batch in found]) for key in ("image", "seed"))
    np.testing.assert_array_equal(images, np.stack([(picture(n) / 255).astype(np.float32) for n in range(7)]))
    np.testing.assert_array_equal(seeds, [[3 * 1000003 - 1, n] for n in range(7)])
    assert_same(batches(dataset, -1), found)


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
        np.testing.assert_array_equal(joined["image"][number], pipeline.load_image(record.image, SIZE, 3))
        np.testing.assert_array_equal(joined["roi"][number], pipeline.load_mask(record.roi, SIZE))


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
    from grdnet_tf.data.records import list_mvtec
    chosen = list_mvtec(real_data("pill"), "train")[:8]
    for batch in batches(train(chosen, image_size=64, batch_size=4), 2):
        grey, inside = batch["image"].mean(-1), batch["roi"][..., 0] == 1
        assert grey[inside].mean() > 2 * grey[~inside].mean()
