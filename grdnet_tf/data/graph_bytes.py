"""A file's bytes in TensorFlow's operations: numbers and parts of them, and decoding that cannot fail."""
from __future__ import annotations

import tensorflow as tf


def orientation(contents, start):
    """`headers.orientation`; int32."""
    little = tf.equal(part(contents, start, 2), b"II")
    length = tf.cast(tf.strings.length(contents), tf.int64)

    def number(at, size):
        digits = tf.cast(tf.io.decode_raw(padded(contents, at, size), tf.uint8), tf.int64)
        return tf.reduce_sum(tf.where(little, digits, digits[::-1]) * [256**i for i in range(size)])

    first = start + number(start + 4, 4)
    count = tf.minimum(number(first, 2), 1 + tf.maximum(length - first, 0) // 12)
    entries = tf.reshape(tf.io.decode_raw(padded(contents, first + 2, 12 * count), tf.uint8), (-1, 12))
    swapped = tf.gather(entries, [1, 0, *range(2, 8), 9, 8, 10, 11], axis=1)
    entries = tf.cast(tf.where(little, entries, swapped), tf.int32)
    values = tf.boolean_mask(entries[:, 8] + 256 * entries[:, 9], entries[:, 0] + 256 * entries[:, 1] == 274)
    value = tf.concat([values, [1]], 0)[0]
    return tf.where(tf.logical_and(value >= 1, value <= 8), value, 1)


def isolated(sound, read, contents, channels, dtype):
    """read(contents), (h, w, channels) of `dtype`; (0, 0, channels) where it fails or `sound` is not.

    TensorFlow catches an error only in a `tf.data` pipeline. One around all of a picture's reading took 75 ms of processor
    time, for its branches are set up anew in each call; around the decoding operation alone it takes 6 ms.
    """
    empty = tf.zeros((0, 0, channels), dtype)
    plain = tf.data.Options()  # nothing to tune in a pipeline of one element, and each call would do it anew
    plain.autotune.enabled = False
    plain.experimental_optimization.apply_default_optimizations = False

    def attempt():
        tried = tf.data.Dataset.from_tensors(contents).map(read).ignore_errors().with_options(plain)
        return tried.reduce(empty, lambda _, pixels: pixels)

    return tf.ensure_shape(tf.cond(sound, attempt, lambda: empty), (None, None, channels))


def fits(contents, sides, least, max_pixels):
    """Whether two sides int64 are in the limit, and a file of so many bytes can hold them."""
    pixels = sides[0] * sides[1]
    sound = tf.logical_and(tf.reduce_all(sides > 0), pixels <= max_pixels)
    return tf.logical_and(sound, least <= tf.cast(tf.strings.length(contents), tf.int64))


def numbers(contents, start, count, dtype, little_endian=True):
    """(count,) of a header; zeros where the file is shorter."""
    found = tf.io.decode_raw(padded(contents, start, count * dtype.size), dtype, little_endian=little_endian)
    return tf.ensure_shape(found, (count,))


def padded(contents, start, length):
    start, length = tf.cast(start, tf.int64), tf.cast(length, tf.int64)
    found = part(contents, start, length)
    missing = length - tf.cast(tf.strings.length(found), tf.int64)
    zeros = tf.strings.reduce_join(tf.fill([missing], b"\0"))
    return tf.strings.join([found, zeros])


def part(contents, start, length):
    start = tf.minimum(tf.cast(start, tf.int64), tf.cast(tf.strings.length(contents), tf.int64))
    return tf.strings.substr(contents, start, tf.cast(length, tf.int64))


def byte(number):
    return tf.gather(tf.constant([bytes([i]) for i in range(256)]), number)


def starts(contents, magic):
    return tf.equal(tf.strings.substr(contents, 0, len(magic)), magic)
