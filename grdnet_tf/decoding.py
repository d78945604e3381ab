"""One picture or mask to a tensor: bytes or a file, decoded, resized, in [0, 1].

`decode_resize` is made of TensorFlow's ops alone and serves training, evaluation and the exported model: one picture is
the same numbers everywhere.
"""
from __future__ import annotations

import os
from typing import Optional, Tuple, Union

import numpy as np
import tensorflow as tf

from .errors import InputError
from .image_files import BadImage, read_picture
from .image_files import read_region as read_region_file

Size = Union[int, Tuple[int, int]]  # one side of a square, or (H, W)

PNG = b"\x89PNG\r\n\x1a\n"

_FAILURES = (tf.errors.OpError, BadImage, ValueError)  # run eagerly, a host function's own error comes through


def decode_resize(contents, image_size: Size, channels: int, max_pixels: Optional[int] = None) -> tf.Tensor:
    """One file's bytes -> (H, W, channels) float32 in [0, 1]: PNG of 8 or 16 bit, JPEG, BMP. TensorFlow ops only.

    A picture of another size is resized bilinearly with antialiasing, then rounded to the grid of its own depth
    (k / 255 or k / 65535), so that an integer cache holds it exactly. `channels` = 3 gets a grey picture as 3 copies.

    Raises: InvalidArgumentError when run: not decodable, alpha or CMYK, a colour picture where `channels` is 1.
    """
    pixels, peak = _decode(contents, channels)
    return resize(pixels, image_size, channels) / peak


def load_image(path: str, image_size: Size, channels: int) -> tf.Tensor:
    """`decode_resize` of a file, TIFF included (decoded on the host). Raises InputError naming the file."""
    try:
        with tf.device("CPU:0"):
            pixels, peak = read_image(tf.constant(os.fsencode(path)), channels, tiff=True)
            return resize(pixels, image_size, channels) / peak
    except _FAILURES as error:
        raise InputError(_reason(path, channels, error)) from None


def load_mask(path: Optional[str], image_size: Size) -> tf.Tensor:
    """A mask or ROI file -> (H, W, 1) float32 in {0, 1}: 1 where a pixel is not 0, nearest neighbour; None -> ones.

    Raises: InputError naming the file.
    """
    if path is None:
        return tf.ones((*as_pair(image_size), 1))
    try:
        with tf.device("CPU:0"):
            return tf.cast(read_region(tf.constant(os.fsencode(path)), image_size, host=True), tf.float32)
    except _FAILURES as error:
        raise InputError(_reason(path, None, error)) from None


def _decode(contents, channels, max_pixels=None):
    """Bytes -> ((h, w, channels) float32 of whole numbers, their peak: 255.0 or 65535.0)."""

    def refuse_other(found):  # decoding would drop alpha, and would mix colours to grey
        return tf.debugging.Assert(tf.logical_or(found == 1, found == channels),
                                   ["a picture of", found, "channels where 1 or", channels, "are expected"])

    def refuse_large(sides):  # () -> (2,) int32: of the header; called only where there is a limit
        return [] if max_pixels is None else [_limit(tf.abs(sides()), max_pixels)]

    def png():
        header = tf.cast(tf.io.decode_raw(tf.strings.substr(contents, 24, 2), tf.uint8), tf.int32)  # depth, colour type
        checks = [refuse_other(tf.gather([1, 0, 3, 3, 2, 0, 4], header[1]))]
        with tf.control_dependencies(checks + refuse_large(lambda: png_sides(contents))):
            deep = tf.equal(header[0], 16)
        pixels = tf.cond(deep, lambda: tf.cast(tf.io.decode_png(contents, channels, tf.uint16), tf.float32),
                         lambda: tf.cast(tf.io.decode_png(contents, channels, tf.uint8), tf.float32))
        return pixels, tf.where(deep, 65535.0, 255.0)

    def bmp():
        with tf.control_dependencies(refuse_large(lambda: _integers(contents, 18, little_endian=True))):
            pixels = tf.io.decode_bmp(contents)  # (h, w, as stored): the op cannot be asked for 1 channel
        shape = tf.shape(pixels)
        with tf.control_dependencies([refuse_other(shape[2])]):
            pixels = tf.broadcast_to(pixels, [shape[0], shape[1], channels])
        return tf.cast(pixels, tf.float32), tf.constant(255.0)

    def jpeg():
        shape = tf.image.extract_jpeg_shape(contents)
        with tf.control_dependencies([refuse_other(shape[2])] + refuse_large(lambda: shape[:2])):
            # The fast default differs between processors by a few grey levels.
            pixels = tf.io.decode_jpeg(contents, channels, dct_method="INTEGER_ACCURATE")
        return tf.cast(pixels, tf.float32), tf.constant(255.0)

    return tf.cond(_starts(contents, PNG), png,
                   lambda: tf.cond(_starts(contents, b"BM"), bmp, jpeg))


def png_sides(contents):
    """(width, height) int32 that a PNG's header claims; a side over 2^31 - 1, which PNG forbids, comes out negative."""
    return _integers(contents, 16, little_endian=False)


def _integers(contents, start, little_endian):
    """Two 32 bit numbers of a header."""
    return tf.io.decode_raw(tf.strings.substr(contents, start, 8), tf.int32, little_endian=little_endian)


def _limit(sides, max_pixels):
    pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
    return tf.debugging.Assert(tf.logical_and(pixels > 0, pixels <= max_pixels),
                               ["a picture of", pixels, "pixels where at most", max_pixels, "are allowed"])


def read_image(path, channels, tiff):
    """`_decode` of the file at `path`; `tiff` False leaves the host op for TIFF out of the graph."""

    def host():
        pixels, peak = tf.numpy_function(lambda name: _tiff(_text(name), channels), [path], [tf.float32, tf.float32])
        return tf.ensure_shape(pixels, (None, None, channels)), tf.ensure_shape(peak, ())

    contents = tf.io.read_file(path)
    if not tiff:
        return _decode(contents, channels)
    is_tiff = tf.logical_or(_starts(contents, b"II*\0"), _starts(contents, b"MM\0*"))
    return tf.cond(is_tiff, host, lambda: _decode(contents, channels))


def _tiff(path, channels):
    pixels = read_picture(path)
    if pixels.shape[2] > channels:
        raise ValueError("a picture of 3 channels where 1 is expected")
    return (np.broadcast_to(pixels, (*pixels.shape[:2], channels)).astype(np.float32),
            np.float32(np.iinfo(pixels.dtype).max))


def _text(path):
    """A path as a host function gets it: bytes within a graph, an array of one object eagerly."""
    return os.fsdecode(path if isinstance(path, bytes) else path.item())


def resize(pixels, image_size, channels):
    """Whole numbers (h, w, channels) -> whole numbers (H, W, channels), untouched where the size is right."""
    size = as_pair(image_size)
    same = tf.reduce_all(tf.equal(tf.shape(pixels)[:2], size))
    pixels = tf.cond(same, lambda: pixels, lambda: tf.round(tf.image.resize(pixels, size, antialias=True)))
    return tf.ensure_shape(pixels, (*size, channels))


def read_region(path, image_size, host):
    """The file at `path` -> (H, W, 1) uint8 in {0, 1}; `host` False leaves the op for anything but PNG out."""

    def other():
        region = tf.numpy_function(lambda name: read_region_file(_text(name))[..., None], [path], tf.uint8)
        return tf.ensure_shape(region, (None, None, 1))

    contents = tf.io.read_file(path)
    if not host:
        return decode_region(contents, image_size)
    region = tf.cond(_starts(contents, PNG), lambda: _region(contents), other)
    return _resize_region(region, image_size)


def decode_region(contents, image_size, max_pixels: Optional[int] = None):
    """A PNG's bytes -> (H, W, 1) uint8 in {0, 1}: 1 where a pixel is not 0, nearest neighbour. TensorFlow ops only.

    Raises: InvalidArgumentError when run: no PNG, not decodable, more than `max_pixels` by its header.
    """
    checks = [] if max_pixels is None else [_limit(png_sides(contents), max_pixels)]
    with tf.control_dependencies(checks):
        return _resize_region(_region(tf.identity(contents)), image_size)


def _region(contents):  # as 16 bit: the conversion to 8 bit would turn a 1 into 0
    return tf.cast(tf.reduce_any(tf.io.decode_png(contents, 3, tf.uint16) > 0, -1, keepdims=True), tf.uint8)


def _resize_region(region, image_size):
    return tf.ensure_shape(tf.image.resize(region, as_pair(image_size), "nearest"), (*as_pair(image_size), 1))


def _starts(contents, magic):
    return tf.equal(tf.strings.substr(contents, 0, len(magic)), magic)


def as_pair(image_size):
    return (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)


def _reason(path, channels, error):
    """Why `path` cannot be loaded, in one line: as the host sees it, or else TensorFlow's own first line."""
    try:
        if channels is None:
            read_region_file(path)
        elif read_picture(path).shape[2] > channels:
            return f"{path}: a colour picture where grey is expected; set data.channels to 3"
    except BadImage as bad:
        return str(bad)
    return f"{path}: {str(error).splitlines()[0]}"
