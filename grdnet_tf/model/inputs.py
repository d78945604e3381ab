"""What a caller may hand to the model, and the one form in which the steps see it.

    array | (x,) | (x, labels) | {"image", "roi", "seed", "noisy", "mask"}  ->  dict of float32 [0, 1] and {0, 1}

Everything here is known from types and shapes, while a graph is traced: a step pays nothing for it. What depends on the
values is `out_of_range`.
"""
import logging

import tensorflow as tf

from ..errors import InputError

logger = logging.getLogger(__name__)

KEYS = ("image", "roi", "seed", "noisy", "mask", "index")  # "index" comes with pictures to be judged, and is not read
SCALES = {tf.uint8: 255.0, tf.uint16: 65535.0}
TOLERANCE = 1e-3  # beyond [0, 1]: resizing rounds


def batch_of(data, channels: int, labels_matter=True) -> dict:
    """What Keras hands to a step, as a dict with "image" at least.

    Pictures are (B, H, W, `channels`), uint8 and uint16 are scaled to [0, 1]; "roi" and "mask" are (B, H, W, 1) or
    (B, H, W) of any type, 1 where they are above a half. Class labels beside the pictures are not used: training takes
    every picture as a good one, which is said once where `labels_matter`.

    Raises: InputError for anything else.
    """
    if isinstance(data, (tuple, list)):
        data = _without_labels(tuple(data), labels_matter)
    batch = dict(data) if isinstance(data, dict) else {"image": data}
    unknown = sorted(str(key) for key in batch if key not in KEYS)
    if unknown or "image" not in batch:
        raise InputError(f"a batch is pictures, or a dict with 'image' and, as there are, {', '.join(KEYS[1:5])}; "
                         f"found the keys {', '.join(sorted(map(str, batch)))}")
    for name in ("image", "noisy"):
        if name in batch:
            batch[name] = pictures(batch[name], channels, name)
    for name in ("roi", "mask"):
        if name in batch:
            batch[name] = region(batch[name], batch["image"], name)
    return batch


def pictures(images, channels: int, name="image"):
    """(B, H, W, channels) float32 of pictures of any type whose range is known. InputError for others."""
    images = tf.convert_to_tensor(images)
    if images.dtype not in SCALES and not images.dtype.is_floating:
        raise InputError(f"'{name}' is {images.dtype.name}; expected uint8, uint16 or floats in [0, 1]")
    if images.shape.rank not in (None, 4) or (images.shape.rank and images.shape[3] not in (None, channels)):
        raise InputError(f"'{name}' has the shape {tuple(images.shape)}; expected (batch, height, width, {channels})")
    scale = SCALES.get(images.dtype)
    images = tf.cast(images, tf.float32)
    return images if scale is None else images / scale


def region(values, images, name="roi"):
    """(B, H, W, 1) float32 {0, 1} of a region of 0 and 1, 0 and 255 or booleans. InputError where it does not fit."""
    values = tf.convert_to_tensor(values)
    if values.shape.rank == 3:
        values = values[..., None]
    if values.shape.rank not in (None, 4) or not values.shape.is_compatible_with((*images.shape[:3], 1)):
        raise InputError(f"'{name}' has the shape {tuple(values.shape)}; the pictures need {(*images.shape[:3], 1)}")
    return tf.where(tf.cast(values, tf.float32) > 0.5, 1.0, 0.0)  # TensorRT casts no bool


def out_of_range(images):
    """How many of (B, H, W, C) pictures leave [0, 1] by more than a rounding: float32 scalar. Runs in XLA too."""
    distance = tf.reduce_max(tf.abs(tf.cast(images, tf.float32) - 0.5), axis=(1, 2, 3))
    return tf.reduce_sum(tf.where(distance > 0.5 + TOLERANCE, 1.0, 0.0))


def refuse_out_of_range(count) -> None:
    """InputError if `out_of_range` counted any."""
    if count > 0:
        raise InputError("pictures hold values outside [0, 1]: give uint8, which is scaled, or floats divided by 255, "
                         "as with dataset.map(lambda images, *labels: images / 255.0)")


def _without_labels(data, matter):
    """x of (x,), (x, labels) or (x, labels, None)."""
    pictures_, labels, weights = (*data, None, None)[:3]
    if not 1 <= len(data) <= 3 or isinstance(pictures_, (tuple, list)):
        raise InputError(f"a batch is pictures, a dict, or one of them with labels; found {len(data)} parts")
    if weights is not None:
        raise InputError("sample weights and class weights are not taken: every picture of a batch counts alike")
    if labels is not None:
        rank = 0 if isinstance(labels, (dict, tuple, list)) else tf.TensorShape(labels.shape).rank
        if rank not in (None, 1, 2):
            raise InputError("targets are not taken: pictures are their own target. Masks of defects come in a dict "
                             "{'image', 'noisy', 'mask'}, beside the pictures that have the defects")
        if matter:
            logger.warning("labels are not used: every picture of this data counts as a good one")
    return pictures_
