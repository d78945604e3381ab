"""Records to `tf.data`: decode, cache, shuffle, augment, batch.

    TrainingStream       endless, shuffled, augmented     {"image", "roi", "seed"}  (+ "noisy", "mask" from `perturb`)
    held_out_dataset     one pass in order, not augmented, the same keys, fixed seeds
    evaluation_dataset   one pass in order                {"image", "roi", "mask", "index"}

"image" (B, H, W, C) float32 in [0, 1], "roi" and "mask" (B, H, W, 1) float32 in {0, 1}, "seed" (B, 2) int32.

Order (`order`) and augmentation are pure functions of (seed, pass, record): the stream can start at any step, at no
cost, and depends neither on parallelism nor on the cache.
"""
from __future__ import annotations

import logging
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..options import Data
from . import shards
from .augmentation import augment_batch
from .cache import PictureCache, gigabytes_kept, parts_kept
from .decoding import Size, as_pair, load_image, read_image, resize
from .files import BadImage, read_picture
from .order import batch_records, endless, pass_seed, steps_per_pass
from .record import Record, having
from .regions import resized
from .roi import read_roi
from .stored import Stored

logger = logging.getLogger(__name__)

PREFETCH = 4  # batches; an automatic buffer may grow to half of the memory


class TrainingStream:
    """All that a run asks of its training pictures: whole batches in one pass, the batches, the files of a batch.

    Args:
      records: the pictures.
      data: how they are read and varied.
      channels, depth: 1 or 3; 8 or 16, of the cache.
      perturb: batch -> batch with "noisy" and "mask", run after batching, in parallel.
      taken: gigabytes of `data.cache_gb` that other pictures have.

    Raises: InputError for fewer records than one batch.
    """

    def __init__(self, records: Sequence[Record], data: Data, *, channels: int, depth: int, batch_size: int, seed: int,
                 perturb: Optional[Callable] = None, taken: float = 0.0):
        self.records, self.data, self.channels, self.depth = records, data, channels, depth
        self.batch_size, self.seed, self.perturb, self.taken = batch_size, seed, perturb, taken
        self.steps, self.groups = steps_per_pass(len(records), batch_size), shards.groups(records)

    def batches(self, start_step: int = 0, part: Tuple[int, int] = (0, 1), replicas: int = 1) -> tf.data.Dataset:
        """Endless training batches from global step `start_step` on; see the top of this file.

        With `part` (i, k) of each only the i-th of k equal parts, for one of k workers, and that in `replicas` batches.

        Started at step k it yields what the stream started at 0 yields after k batches. The sample seed is
        [seed * 1000003 + pass, record]. With a `crop` (h, w) the batches are windows of that size.

        Raises: InputError, while the cache is filled, for a file that cannot be loaded.
        """
        d = self.data
        samples = endless(len(self.records), self.batch_size, self.seed, start_step, self.groups, part)
        size = self.batch_size // part[1] // replicas
        decoded = _batches(samples, self.records, d, self.channels, self.depth, size, drop_remainder=True,
                           what=f"{len(self.records)} pictures", taken=self.taken)
        continued = d.border != "constant" or not d.rotation  # then a ROI of ones stays one: no need to turn it

        @tf.autograph.experimental.do_not_convert  # nothing to convert: it takes long
        def finish(seeds, images, rois=None):
            images = _unit(images, self.depth, d.white)
            if rois is None and not continued:
                rois = tf.ones_like(images[..., :1])
            images, rois = augment_batch(images, rois, seeds, rotation=d.rotation, turned=d.turned, border=d.border,
                                         crop=d.crop, flip_horizontal=d.flip_horizontal, flip_vertical=d.flip_vertical,
                                         brightness=d.brightness, contrast=d.contrast, varied=d.varied)
            return _batch(seeds, images, rois, self.perturb)

        return _finished(decoded, finish, d.parallel_calls)

    def files(self, step: int) -> List[str]:
        """The paths of the pictures in the batch of global step `step`."""
        return [record.image for record in self.batch(step)]

    def batch(self, step: int) -> List[Record]:
        """The records in the batch of global step `step`."""
        chosen = batch_records(len(self.records), self.batch_size, self.seed, step, self.groups)
        return [self.records[i] for i in chosen]


def held_out_dataset(records: Sequence[Record], data: Data, *, channels: int, depth: int, batch_size: int, seed: int,
                     views: int = 0, perturb: Optional[Callable] = None) -> tf.data.Dataset:
    """All `records` once, in order, as they are, shard by shard; keys as in training, sample seed of "pass" -1.

    With `views` each comes as often as it takes to show so many at least, in whole batches: no replica is left without a
    picture. The same at every iteration, so that what `perturb` draws is a fixed validation set. Kept are, where
    `data.cache` says so, the pictures' integers; floats under defects would take 32 bytes a pixel and view.
    """
    views = -(-max(views, len(records)) // batch_size) * batch_size if views else len(records)
    order = tf.constant(_by_group(records))

    def sample(i):
        index = order[i % len(records)]
        return tf.stack([pass_seed(seed, -1), tf.cast(i, tf.int32)]), index, index

    samples = tf.data.Dataset.range(views).map(sample)
    decoded = _batches(samples, records, data, channels, depth, batch_size, drop_remainder=False,
                       what=f"{views} views of {len(records)} held-out pictures")

    @tf.autograph.experimental.do_not_convert
    def finish(seeds, images, rois=None):
        return _batch(seeds, _unit(images, depth, data.white), rois, perturb)

    return _finished(decoded, finish, data.parallel_calls)


def evaluation_dataset(records: Sequence[Record], *, image_size: Size, channels: int, batch_size: int,
                       parallel_calls: Optional[int] = None, white: int = 0) -> tf.data.Dataset:
    """All `records` once, in order: {"image", "roi" (ones if none), "mask" (zeros if none), "index" (B,) int32}."""
    load = _loader(records, image_size, channels, white)
    mask = _region_loader(records, "mask", image_size, missing=0)

    @tf.autograph.experimental.do_not_convert
    def sample(index):
        pixels, peak, roi = load(index, index)
        truth = mask(index, (0, 0))  # of a file, whose size it has itself
        return {"image": pixels / peak, "roi": tf.cast(roi, tf.float32), "mask": tf.cast(truth, tf.float32),
                "index": tf.cast(index, tf.int32)}

    dataset = tf.data.Dataset.range(len(records)).map(sample, num_parallel_calls=parallel_calls or tf.data.AUTOTUNE)
    return _with_options(dataset.batch(batch_size).prefetch(PREFETCH))


def check_files(records: Sequence[Record], data: Data, channels: int, depth: int) -> None:
    """InputError naming the first file of `records` that cannot be loaded (any more)."""
    _name_bad_file(records, _integers(records, data, channels, depth), data, channels)


def _integers(records, data, channels, depth):
    """Function from an index to the picture's `parts_kept`."""
    load = _loader(records, data.image_size, channels, data.white)
    parts = parts_kept(records, data, channels, depth)
    dtype = parts[0][1]

    @tf.autograph.experimental.do_not_convert
    def integers(index, coming):
        pixels, peak, roi = load(index, coming)
        with tf.control_dependencies([tf.debugging.Assert(peak <= dtype.max, ["16 bit where 8 bit are expected"])]):
            pixels = tf.cast(pixels if data.white else pixels * (dtype.max / peak), dtype)  # the factor: 1 or 257, exact
        return (pixels, roi)[:len(parts)]

    return integers


def _batches(samples, records, data, channels, depth, batch_size, drop_remainder, what, taken=0.0):
    """(seed, index) -> batches of (seeds, images, rois): the integers, decoded or from RAM; no `rois` if none has."""
    integers = _integers(records, data, channels, depth)
    parallel = data.parallel_calls or tf.data.AUTOTUNE
    gigabytes = gigabytes_kept(records, data.replace(cache="ram"), channels, depth)
    in_ram = gigabytes_kept(records, data, channels, depth, taken) > 0
    logger.info("%s, %.2f GB decoded: %s (data.cache = %s, data.cache_gb = %g%s)", what, gigabytes,
                "kept in RAM" if in_ram else "read from the disk in every epoch", data.cache, data.cache_gb,
                f", {taken:.2f} of it for the held-out pictures" if taken and data.cache == "auto" else "")
    if not in_ram:
        samples = samples.map(lambda seed, index, coming: (seed, *integers(index, coming)), num_parallel_calls=parallel)
        return samples.batch(batch_size, drop_remainder)

    kept = PictureCache(len(records), *zip(*parts_kept(records, data, channels, depth)))
    try:
        order = tf.data.Dataset.from_tensor_slices(_by_group(records))
        kept.fill(order.map(lambda index: (index, *integers(index, index)), num_parallel_calls=parallel))
    except tf.errors.OpError:
        _name_bad_file(records, integers, data, channels)
        raise
    return samples.batch(batch_size, drop_remainder).map(
        lambda seeds, indices, coming: (seeds, *kept.gather(indices)), num_parallel_calls=parallel)


def _name_bad_file(records, integers, data, channels):
    """Raise InputError for the first file that fails: TensorFlow does not say which one it was."""
    for index, record in enumerate(records):
        load_image(record.image, data.image_size, channels, data.white)
        try:
            if record.roi:
                read_roi(record.roi, read_picture(record.image).shape[:2])
            integers(*[tf.constant(index, tf.int64)] * 2)
        except BadImage as bad:
            raise InputError(str(bad)) from None
        except tf.errors.OpError:
            raise InputError(f"{record.image}: a 16 bit picture among pictures of 8 bit") from None


def _loader(records, image_size, channels, white):
    """(index, one whose shard comes next) -> (whole numbers (H, W, C) float32, what is white, roi (H, W, 1) uint8)."""
    roi = _region_loader(records, "roi", image_size, missing=1)

    def path(index, coming):
        following = records[coming].image
        if isinstance(following, Stored):
            following.expect()
        return records[index].image

    def load(index, coming):
        pixels, peak = read_image(path, (index, coming), channels, white)
        return resize(pixels, image_size, channels), peak, roi(index, tf.shape(pixels)[:2])

    return load


def _region_loader(records, kind, image_size, missing):
    """(index, size of its picture) -> (H, W, 1) uint8 in {0, 1}; all `missing` where a record has no such region."""
    blank = tf.fill((*as_pair(image_size), 1), tf.constant(missing, tf.uint8))
    if not having(records, kind):
        return lambda index, size: blank
    kept = as_pair(image_size)

    def read(index, size):
        source = getattr(records[index], kind)
        if source is None:
            return np.full((*kept, 1), missing, np.uint8)
        return resized(read_roi(source, tuple(size)), kept)[..., None]

    return lambda index, size: tf.ensure_shape(tf.numpy_function(read, [index, size], tf.uint8), (*kept, 1))


def _by_group(records):
    """Indices of all records, (n,) int64, those in one shard together."""
    return np.argsort(shards.groups(records), kind="stable")


def _unit(images, depth, white):
    return tf.cast(images, tf.float32) / float(white or (255 if depth == 8 else 65535))


def _batch(seeds, images, rois, perturb):
    rois = tf.ones_like(images[..., :1]) if rois is None else tf.cast(rois, tf.float32)
    batch = {"image": images, "roi": rois, "seed": seeds}
    return perturb(batch) if perturb else batch


def _finished(batches, finish, parallel_calls):
    return _with_options(batches.map(finish, num_parallel_calls=parallel_calls or tf.data.AUTOTUNE).prefetch(PREFETCH))


def _with_options(dataset):
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA  # batches, not files
    return dataset.with_options(options)
