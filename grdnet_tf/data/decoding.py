"""One picture or mask to a tensor: bytes or a file, decoded, resized, in [0, 1].

Files are read on the host, by `files`, for training and evaluation: there is one reader less to disagree. Bytes in a
served graph are read by `graph`.
"""
from __future__ import annotations

from typing import Optional, Tuple, Union

import numpy as np
import tensorflow as tf

from ..errors import InputError
from . import graph
from .files import BadImage, read_picture, read_region
from .headers import MAX_PIXELS
from .regions import resized

Size = Union[int, Tuple[int, int]]  # one side of a square, or (H, W)


def decode_resize(contents, image_size: Size, channels: int, max_pixels: int = MAX_PIXELS, white: int = 0) -> tf.Tensor:
    """One file's bytes -> (H, W, channels) float32 in [0, 1]: PNG of 8 or 16 bit, JPEG, BMP. TensorFlow ops only.

    A picture of another size is resized bilinearly with antialiasing, then rounded to the grid of its own depth
    (k / 255 or k / 65535), so that an integer cache holds it exactly. `channels` = 3 gets a grey picture as 3 copies.
    `white` is the value that becomes 1, as brighter ones do; 0: the full range of the file's depth.

    Raises: InvalidArgumentError when run, for what `files.read_picture` refuses and a colour picture where `channels` is 1.
    """
    pixels, peak = graph.decode(contents, channels, max_pixels, white)
    sound = tf.raw_ops.Assert(condition=tf.size(pixels) > 0, data=[tf.constant("no picture that can be used")])
    with tf.control_dependencies([] if sound is None else [sound]):
        return resize(tf.identity(pixels), image_size, channels) / peak


def decode_or_nan(contents, image_size: Size, channels: int, max_pixels: int = MAX_PIXELS, white: int = 0) -> tf.Tensor:
    """`decode_resize` for a graph that must not fail: all NaN where that would raise."""
    pixels, peak = graph.decode(contents, channels, max_pixels, white)
    return tf.cond(tf.size(pixels) > 0, lambda: resize(pixels, image_size, channels) / peak,
                   lambda: tf.fill((*as_pair(image_size), channels), np.float32(np.nan)))


def region_or_nan(contents, image_size, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """The bytes of a mask or ROI in PNG, JPEG or BMP -> (H, W, 1) float32 in {0, 1}; all NaN where it is refused."""
    region, size = graph.decode_region(contents, max_pixels), as_pair(image_size)
    return tf.cond(tf.size(region) > 0, lambda: graph.resized(region, size),
                   lambda: tf.fill((*size, 1), np.float32(np.nan)))


def load_image(path: str, image_size: Size, channels: int, white: int = 0) -> tf.Tensor:
    """`decode_resize` of a file, TIFF included. Raises InputError naming the file."""
    try:
        with tf.device("CPU:0"):
            pixels, peak = _pixels(path, channels, white)
            return resize(tf.cast(pixels, tf.float32), image_size, channels) / peak
    except BadImage as bad:
        raise InputError(str(bad)) from None


def load_mask(path: Optional[str], image_size: Size) -> tf.Tensor:
    """A mask or ROI file -> (H, W, 1) float32 in {0, 1}; None -> ones. Raises InputError naming the file."""
    if path is None:
        return tf.ones((*as_pair(image_size), 1))
    try:
        return tf.constant(_region(path, as_pair(image_size)), tf.float32)
    except BadImage as bad:
        raise InputError(str(bad)) from None


def read_image(path, numbers, channels: int, white: int = 0):
    """The file at `path(*numbers)`, of tensors -> ((h, w, channels) float32 of whole numbers, what counts as white)."""
    pixels, peak = tf.numpy_function(lambda *given: _pixels(path(*given), channels, white), numbers,
                                     [tf.uint16, tf.float32])
    return tf.cast(tf.ensure_shape(pixels, (None, None, channels)), tf.float32), tf.ensure_shape(peak, ())


def resize(pixels, image_size, channels):
    """Whole numbers (h, w, channels) -> whole numbers (H, W, channels), untouched where the size is right."""
    size = as_pair(image_size)
    same = tf.reduce_all(tf.equal(tf.shape(pixels)[:2], size))
    pixels = tf.cond(same, lambda: pixels, lambda: tf.round(tf.image.resize(pixels, size, antialias=True)))
    return tf.ensure_shape(pixels, (*size, channels))


def as_pair(image_size):
    return (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)


def _pixels(path, channels, white):
    """`adapted` of the file. Raises BadImage."""
    return adapted(read_picture(path), path, channels, white)


def adapted(pixels, path, channels, white):
    """Pixels of `files.read_picture` -> ((h, w, channels) uint16, float32 of what counts as white). BadImage."""
    if pixels.shape[2] > channels:
        raise BadImage(path, "a colour picture where grey is expected; set data.channels to 3")
    peak = white or np.iinfo(pixels.dtype).max
    if peak > np.iinfo(pixels.dtype).max:
        raise BadImage(path, f"has 8 bit, but data.white is {white}")
    if white:
        pixels = np.minimum(pixels, white)
    if pixels.shape[2] < channels:
        pixels = np.repeat(pixels, channels, axis=2)
    return pixels.astype(np.uint16), np.float32(peak)


def _region(path, size):
    return resized(read_region(path), size)[..., None]
