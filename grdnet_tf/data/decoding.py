"""One picture or mask to a tensor: bytes or a file, decoded, resized, in [0, 1].

`decode_resize` is made of TensorFlow's ops alone and serves training, evaluation and the exported model: one picture is
the same numbers everywhere.
"""
from __future__ import annotations

import os
from typing import Optional, Tuple, Union

import numpy as np
import tensorflow as tf

from ..errors import InputError
from .files import BadImage, read_picture
from .files import read_region as read_region_file

Size = Union[int, Tuple[int, int]]  # one side of a square, or (H, W)

PNG = b"\x89PNG\r\n\x1a\n"

_FAILURES = (tf.errors.OpError, BadImage, ValueError)  # run eagerly, a host function's own error comes through


def decode_resize(contents, image_size: Size, channels: int, max_pixels: Optional[int] = None) -> tf.Tensor:
    """One file's bytes -> (H, W, channels) float32 in [0, 1]: PNG of 8 or 16 bit, JPEG, BMP. TensorFlow ops only.

    A picture of another size is resized bilinearly with antialiasing, then rounded to the grid of its own depth
    (k / 255 or k / 65535), so that an integer cache holds it exactly. `channels` = 3 gets a grey picture as 3 copies.

    Raises: InvalidArgumentError when run: not decodable, alpha or CMYK, a BMP that is compressed or has a colour
    palette (`image_files` refuses the same), a colour picture where `channels` is 1.
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


def decode_or_nan(contents, image_size: Size, channels: int, max_pixels: int) -> tf.Tensor:
    """`decode_resize` for a graph that must not fail: all NaN where that would raise.

    TensorFlow catches an error only in a `tf.data` pipeline. One around all of `decode_resize` took 75 ms of processor
    time a picture, for its branches are set up anew in each call; around the decoding operation alone it takes 6 ms.
    """
    pixels, peak = _decode(contents, channels, max_pixels, _empty_on_failure)
    return tf.cond(tf.size(pixels) > 0, lambda: resize(pixels, image_size, channels) / peak,
                   lambda: tf.fill((*as_pair(image_size), channels), np.float32(np.nan)))


def _decode(contents, channels, max_pixels=None, attempt=None):
    """Bytes -> ((h, w, channels) float32 of whole numbers, their peak: 255.0 or 65535.0).

    `attempt` is `_raise_on_failure` (the default) or `_empty_on_failure`: the two ways of a picture that is refused.
    """
    attempt = attempt or _raise_on_failure

    def known(found):  # decoding would drop alpha, and would mix colours to grey
        return (tf.logical_or(found == 1, found == channels),
                ["a picture of", found, "channels where 1 or", channels, "are expected"])

    def png():
        header = tf.cast(_bytes(contents, 24, 2, tf.uint8), tf.int32)  # depth, colour type
        sound = [known(tf.gather([1, 0, 3, 3, 2, 0, 4, 0], tf.minimum(header[1], 7))),
                 (_opaque(contents), ["a PNG with an alpha channel"]), *_limit(png_sides(contents), max_pixels)]

        def read(depth):
            return attempt(sound, lambda c: tf.io.decode_png(c, channels, depth), contents, depth, channels)

        deep = tf.equal(header[0], 16)
        return tf.cond(deep, lambda: read(tf.uint16), lambda: read(tf.uint8)), tf.where(deep, 65535.0, 255.0)

    def bmp():
        def read(c):
            pixels = tf.io.decode_bmp(c)  # (h, w, as stored): the op cannot be asked for 1 channel
            return tf.broadcast_to(pixels, [tf.shape(pixels)[0], tf.shape(pixels)[1], channels])

        sides = _bytes(contents, 18, 8, tf.int32)
        bits = _bytes(contents, 28, 2, tf.uint16)[0]
        grey, colour = bits == 8, bits == 24
        sound = [known(tf.where(grey, 1, tf.where(colour, 3, 0))),
                 (_plain_bmp(contents, grey), ["a BMP that is compressed or has a colour palette"]),
                 *_limit(tf.abs(sides), max_pixels)]
        return attempt(sound, read, contents, tf.uint8, channels), tf.constant(255.0)

    def jpeg():
        def read(c):
            shape = tf.image.extract_jpeg_shape(c)
            with tf.control_dependencies(_asserts([known(shape[2]), *_limit(shape[:2], max_pixels)])):
                # The fast default differs between processors by a few grey levels.
                return tf.io.decode_jpeg(c, channels, dct_method="INTEGER_ACCURATE")

        return attempt([], read, contents, tf.uint8, channels), tf.constant(255.0)

    return tf.cond(_starts(contents, PNG), png, lambda: tf.cond(_starts(contents, b"BM"), bmp, jpeg))


def _raise_on_failure(sound, read, contents, dtype, channels):
    """read(contents) (h, w, channels) as float32. InvalidArgumentError where it fails or a condition does not hold.

    Args:
      sound: [(condition, its words)], of the header.
      read: bytes -> (h, w, channels) of `dtype`.
    """
    with tf.control_dependencies(_asserts(sound)):
        return tf.cast(read(tf.identity(contents)), tf.float32)


def _empty_on_failure(sound, read, contents, dtype, channels):
    """As `_raise_on_failure`, but (0, 0, channels) instead of an error."""
    empty = tf.zeros((0, 0, channels), dtype)
    plain = tf.data.Options()  # nothing to tune in a pipeline of one element, and each call would do it anew
    plain.autotune.enabled = False
    plain.experimental_optimization.apply_default_optimizations = False

    def isolated():
        tried = tf.data.Dataset.from_tensors(contents).map(read).ignore_errors().with_options(plain)
        return tried.reduce(empty, lambda _, pixels: pixels)

    pixels = tf.cond(tf.reduce_all([condition for condition, _ in sound]), isolated, lambda: empty)
    return tf.cast(tf.ensure_shape(pixels, (None, None, channels)), tf.float32)


def _asserts(conditions):
    """Operations that fail with the words of a condition that does not hold; without the branch of `tf.debugging`."""
    return [tf.raw_ops.Assert(condition=condition, data=[tf.convert_to_tensor(word) for word in words])
            for condition, words in conditions]


def png_sides(contents):
    """(width, height) int32 that a PNG's header claims; a side over 2^31 - 1, which PNG forbids, comes out negative."""
    return _bytes(contents, 16, 8, tf.int32, little_endian=False)


def _opaque(contents):
    """Whether no tRNS chunk stands before a PNG's pixels: decoding would drop the transparency that it gives."""
    head = tf.raw_ops.StringSplitV2(input=[contents], sep="IDAT", maxsplit=1).values[0]
    return tf.size(tf.raw_ops.StringSplitV2(input=[head], sep="tRNS", maxsplit=1).values) == 1


def _plain_bmp(contents, grey):
    """Whether a BMP is not compressed and, where it is `grey`, its palette is 0, 1, 2 ...: decoding ignores both."""
    size, offset = _bytes(contents, 14, 4, tf.int32)[0], _bytes(contents, 10, 4, tf.int32)[0]
    start = tf.minimum(14 + tf.clip_by_value(size, 0, 2**30), tf.strings.length(contents))
    entries = tf.maximum(offset - start, 0) // 4
    palette = tf.io.decode_raw(tf.strings.substr(contents, start, 4 * entries), tf.uint8)
    colours = tf.reshape(palette[:tf.size(palette) // 4 * 4], (-1, 4))[:, :3]  # blue, green, red, unused
    ramp = tf.cast(tf.range(tf.shape(colours)[0]), tf.uint8)[:, None]
    plain = tf.logical_and(entries > 0, tf.reduce_all(colours == ramp))
    return tf.logical_and(_bytes(contents, 30, 4, tf.int32)[0] == 0, tf.logical_or(plain, tf.logical_not(grey)))


def _bytes(contents, start, length, dtype, little_endian=True):
    """Numbers of a header, which lie within 34 bytes; zeros where the file is shorter."""
    padded = tf.strings.join([tf.strings.substr(contents, 0, 34), b"\0" * 34])
    return tf.io.decode_raw(tf.strings.substr(padded, start, length), dtype, little_endian=little_endian)


def _limit(sides, max_pixels):
    """The condition on a picture's two sides and its words, as a list; empty without a limit."""
    if max_pixels is None:
        return []
    pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
    return [(tf.logical_and(pixels > 0, pixels <= max_pixels),
             ["a picture of", pixels, "pixels where at most", max_pixels, "are allowed"])]


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

    def png():
        return _region(_read_region(contents))

    contents = tf.io.read_file(path)
    region = tf.cond(_starts(contents, PNG), png, other) if host else png()
    return _resize_region(region, image_size)


def region_or_nan(contents, image_size, max_pixels: int) -> tf.Tensor:
    """A PNG's bytes -> (H, W, 1) float32 in {0, 1}: 1 where a pixel is not 0, nearest neighbour. TensorFlow ops only.

    All NaN where it is no PNG, cannot be decoded or claims more than `max_pixels`.
    """
    # The operation reads JPEG and GIF too, whose sides stand elsewhere.
    sound = [(_starts(contents, PNG), ["no PNG"]), *_limit(png_sides(contents), max_pixels)]
    pixels = _empty_on_failure(sound, _read_region, contents, tf.uint16, 3)
    return tf.cond(tf.size(pixels) > 0,
                   lambda: tf.cast(_resize_region(_region(pixels), image_size), tf.float32),
                   lambda: tf.fill((*as_pair(image_size), 1), np.float32(np.nan)))


def _read_region(contents):
    return tf.io.decode_png(contents, 3, tf.uint16)  # as 16 bit: the conversion to 8 bit would turn a 1 into 0


def _region(pixels):
    return tf.cast(tf.reduce_any(pixels > 0, -1, keepdims=True), tf.uint8)


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
