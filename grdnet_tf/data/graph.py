"""The rules of `headers`, `files` and `regions` in TensorFlow's operations: for a served graph, which has no host.

PNG, JPEG and BMP, in bytes. What `files` refuses is NaN here. TIFF, which TensorFlow cannot decode, is refused.
"""
from __future__ import annotations

import numpy as np
import tensorflow as tf

from .headers import EOI, RUN, SENTINEL

PNG = b"\x89PNG\r\n\x1a\n"
_ROOM = 64  # zeros behind a file's bytes: what a header that is cut off reads


def decode(contents, channels: int, max_pixels: int, white: int = 0):
    """One file's bytes -> ((h, w, channels) float32 of whole numbers, upright; what counts as white).

    (0, 0, channels) where the picture is refused: no PNG, JPEG or BMP, damaged, alpha, CMYK, colour where `channels` is
    1, more pixels than `max_pixels`, 8 bit where `white` is above 255. `white` 0: the full range of the file's depth.
    """
    def known(found):  # decoding would mix colours to grey
        return tf.logical_or(found == 1, found == channels)

    pixels, peak, found, alpha, turned = _decode(contents, channels, max_pixels)
    level = tf.cast(white, tf.float32) if white else peak
    sound = tf.logical_and(tf.logical_and(known(found), tf.logical_not(alpha)), level <= peak)
    pixels = tf.cond(sound, lambda: tf.minimum(_upright(pixels, turned), level), lambda: pixels[:0, :0])
    return pixels, level


def decode_region(contents, max_pixels: int):
    """One file's bytes -> (h, w, 1) int64 in {0, 1}, upright, as `files.examine_region`; (0, 0, 1) where refused."""
    def png():
        sides, turned = _png_header(contents)[:2]
        pixels = _isolated(_fits(contents, sides, _png_bytes(contents), max_pixels),
                           lambda c: tf.io.decode_png(c, 4, tf.uint16), contents, 4, tf.uint16)
        return tf.cast(pixels, tf.int32), turned, tf.constant(False)

    def other():
        pixels, _, _, _, turned = _decode(contents, 3, max_pixels)
        colour = 257 * tf.cast(pixels, tf.int32)
        return tf.concat([colour, tf.zeros_like(colour[..., :1])], -1), turned, _starts(contents, b"\xff\xd8\xff")

    pixels, turned, lossy = tf.cond(_starts(contents, PNG), png, other)
    return tf.cond(tf.size(pixels) > 0, lambda: _upright(_chosen(pixels, lossy), turned),
                   lambda: tf.zeros((0, 0, 1), tf.int64))


def _chosen(pixels, lossy):
    """(h, w, 4) int32 of 16 bit -> (h, w, 1) int64; (0, 0, 1) if it has several values and is no drawing."""
    colour, alpha = tf.reduce_max(pixels[..., :3], -1, keepdims=True), pixels[..., 3:]
    drawn = tf.reduce_min(alpha) < tf.reduce_max(alpha)
    alone = tf.reduce_min(colour) == tf.reduce_max(colour)
    values = tf.where(drawn, tf.where(alone, alpha, tf.minimum(colour, alpha)), colour)
    high = tf.reduce_max(values)
    soft = tf.reduce_any(tf.logical_and(values != 0, values != high))
    chosen = tf.where(tf.logical_or(soft, lossy), values > 32767, values > 0)
    refused = tf.logical_and(tf.logical_and(soft, high <= 32767), tf.logical_not(lossy))
    return tf.cond(refused, lambda: tf.zeros((0, 0, 1), tf.int64), lambda: tf.cast(chosen, tf.int64))


def resized(region, size):
    """`regions.resized`: (h, w, 1) int64 -> (H, W, 1) float32 in {0, 1}."""
    def covered(values, size):
        rows = tf.shape(values, tf.int64)[0]
        ends = tf.range(size + 1, dtype=tf.int64) * rows
        full, part = ends // size, ends % size
        sums = tf.concat([tf.zeros_like(values[:1]), tf.cumsum(values)], 0)
        at = tf.gather(sums, full) * size + part[:, None] * tf.gather(values, tf.minimum(full, rows - 1))
        return at[1:] - at[:-1]

    whole = tf.size(region, tf.int64)
    inside = tf.transpose(covered(tf.transpose(covered(region[..., 0], size[0])), size[1]))
    most = tf.cast(tf.nn.max_pool2d(tf.cast(inside, tf.float64)[None, ..., None], 3, 1, "SAME")[0, ..., 0], tf.int64)
    thin = tf.logical_and(tf.logical_and(inside > 0, 2 * most < whole), 2 * inside >= most)
    return tf.ensure_shape(tf.cast(tf.logical_or(2 * inside >= whole, thin), tf.float32)[..., None], (*size, 1))


# Formats -------------------------------------------------------------------------------------------------------------


def _decode(contents, channels, max_pixels):
    """Pixels (h, w, channels) float32 as stored, their peak, channels of the file, whether alpha, orientation."""
    def png():
        sides, turned, found, alpha, depth = _png_header(contents)
        fits = _fits(contents, sides, _png_bytes(contents), max_pixels)

        def read(kind):
            return tf.cast(_isolated(fits, lambda c: tf.io.decode_png(c, channels, kind), contents, channels, kind),
                           tf.float32)

        deep = tf.equal(depth, 16)
        return (tf.cond(deep, lambda: read(tf.uint16), lambda: read(tf.uint8)), tf.where(deep, 65535.0, 255.0), found,
                alpha, turned)

    def bmp():
        sides = tf.cast(tf.abs(_numbers(contents, 18, 2, tf.int32)), tf.int64)
        bits = tf.cast(_numbers(contents, 28, 1, tf.uint16)[0], tf.int64)
        least = (sides[0] * bits // 8 + 3) // 4 * 4 * sides[1]
        sound = tf.logical_and(_fits(contents, sides, least, max_pixels), _plain_bmp(contents, bits))

        def read(c):
            pixels = tf.io.decode_bmp(c)  # (h, w, as stored): the op cannot be asked for 1 channel
            return tf.broadcast_to(pixels, [tf.shape(pixels)[0], tf.shape(pixels)[1], channels])

        # An op that is asked for more channels than there are would fail: a colour picture is refused before.
        found = tf.cast(bits // 8, tf.int32)
        sound = tf.logical_and(sound, tf.logical_or(found == 1, found == channels))
        pixels = _isolated(sound, read, contents, channels, tf.uint8)
        return tf.cast(pixels, tf.float32), 255.0, found, False, 1

    def jpeg():
        layout = _jpeg_layout(contents)
        header = _numbers(contents, layout["frame"], 10, tf.uint8)
        header = tf.cast(header, tf.int64)
        sides = tf.stack([header[5] * 256 + header[6], header[7] * 256 + header[8]])
        sound = tf.logical_and(_fits(contents, sides, sides[0] * sides[1] // 512, max_pixels), layout["whole"])
        sound = tf.logical_and(sound, tf.logical_and(tf.reduce_any(header[1] == [0xC0, 0xC1, 0xC2]), header[4] == 8))
        sound = tf.logical_and(sound, tf.reduce_any(header[9] == [1, 3]))

        def read(c):
            # The fast default differs between processors by a few grey levels.
            return tf.io.decode_jpeg(c, channels, dct_method="INTEGER_ACCURATE")

        cut = tf.strings.join([_part(contents, 0, layout["end"]), EOI])
        pixels = _isolated(sound, read, cut, channels, tf.uint8)
        damaged = tf.cond(tf.logical_and(tf.size(pixels) > 0, _suspicious(contents, layout, pixels)),
                          lambda: _damaged(contents, layout, sides), lambda: False)
        turned = tf.cond(layout["exif"] >= 0, lambda: _orientation(contents, layout["exif"]), lambda: 1)
        return (tf.cast(tf.cond(damaged, lambda: pixels[:0, :0], lambda: pixels), tf.float32), 255.0,
                tf.cast(header[9], tf.int32), False, turned)

    def none():
        return tf.zeros((0, 0, channels)), 255.0, 0, False, 1

    return tf.cond(_starts(contents, PNG), png, lambda: tf.cond(
        _starts(contents, b"BM"), bmp, lambda: tf.cond(_starts(contents, b"\xff\xd8\xff"), jpeg, none)))


def _png_header(contents):
    """(width, height), orientation, channels, whether transparent, depth."""
    sides = tf.cast(_numbers(contents, 16, 2, tf.int32, little_endian=False), tf.int64)  # over 2^31 - 1: negative
    depth, colour = tf.unstack(tf.cast(_numbers(contents, 24, 2, tf.uint8), tf.int32))
    head = tf.raw_ops.StringSplitV2(input=[contents], sep="IDAT", maxsplit=1).values[0]
    opaque = tf.size(tf.raw_ops.StringSplitV2(input=[head], sep="tRNS", maxsplit=1).values) == 1
    alpha = tf.logical_or(tf.logical_not(opaque), tf.logical_or(colour == 4, colour == 6))
    before = [tf.strings.length(tf.raw_ops.StringSplitV2(input=[contents], sep=chunk, maxsplit=1).values[0])
              for chunk in (b"eXIfII*\0", b"eXIfMM\0*")]
    first = tf.cast(tf.minimum(*before), tf.int64)
    turned = tf.cond(first < tf.cast(tf.strings.length(contents), tf.int64), lambda: _orientation(contents, first + 4), lambda: 1)
    return sides, turned, tf.where(tf.logical_or(colour == 0, colour == 4), 1, 3), alpha, depth


def _png_bytes(contents):
    """The fewest that a PNG of such a header can take: deflate shrinks by 1032 at most."""
    width, height = tf.unstack(tf.cast(_numbers(contents, 16, 2, tf.int32, little_endian=False), tf.int64))
    depth, colour = tf.unstack(tf.cast(_numbers(contents, 24, 2, tf.uint8), tf.int64))
    samples = tf.gather(tf.constant([1, 1, 3, 1, 2, 1, 4, 1], tf.int64), tf.minimum(colour, 7))
    return height * (width * samples * depth // 8) // 1032


def _plain_bmp(contents, bits):
    """Whether a BMP is of 8 or 24 bit, not compressed and, of 8 bit, its palette is 0, 1, 2 ...: decoding ignores both."""
    size, offset = _numbers(contents, 14, 1, tf.int32)[0], _numbers(contents, 10, 1, tf.int32)[0]
    start = tf.minimum(14 + tf.clip_by_value(size, 0, 2**30), tf.strings.length(contents))
    entries = tf.maximum(offset - start, 0) // 4
    palette = tf.io.decode_raw(tf.strings.substr(contents, start, 4 * entries), tf.uint8)
    colours = tf.reshape(palette[:tf.size(palette) // 4 * 4], (-1, 4))[:, :3]  # blue, green, red, unused
    ramp = tf.cast(tf.range(tf.shape(colours)[0]), tf.uint8)[:, None]
    plain = tf.logical_and(entries > 0, tf.reduce_all(colours == ramp))
    known = tf.logical_or(tf.logical_and(bits == 8, plain), bits == 24)
    return tf.logical_and(_numbers(contents, 30, 1, tf.int32)[0] == 0, known)


# JPEG: see `headers.jpeg_layout`, `suspicious` and `scan_reason` -----------------------------------------------------


def _jpeg_layout(contents):
    """{"frame", "scan", "end", "exif" (-1: none)} int64, {"restarts", "several", "whole"} bool."""
    length = tf.cast(tf.strings.length(contents), tf.int64)
    data = tf.cast(tf.io.decode_raw(tf.strings.join([contents, b"\0" * _ROOM]), tf.uint8), tf.int64)
    ahead = data[1:]
    marked = tf.logical_and(data[:-1] == 255, tf.logical_and(tf.logical_and(ahead != 0, ahead != 255), tf.logical_or(
        ahead < 0xD0, ahead > 0xD7)))
    marks = tf.concat([tf.where(marked)[:, 0], [length]], 0)
    zero = tf.constant(0, tf.int64)

    def walk(at, frame, scan, exif, scans, restarts, going, whole):
        here = tf.gather(data, tf.minimum(at + tf.range(6, dtype=tf.int64), length + _ROOM - 1))
        marker, span = here[1], here[2] * 256 + here[3]
        fill, end = marker == 0xFF, marker == 0xD9
        sound = tf.logical_and(at + 2 <= length, here[0] == 0xFF)
        sound = tf.logical_and(sound, tf.logical_or(tf.logical_or(fill, end), span >= 2))
        has_exif = tf.logical_and(tf.logical_and(marker == 0xE1, exif < 0), tf.equal(
            _part(contents, at + 4, 6), b"Exif\0\0"))
        is_frame = tf.logical_and(tf.logical_and(marker >= 0xC0, marker <= 0xCF), tf.reduce_all(
            marker != [0xC4, 0xC8, 0xCC]))
        restart = tf.logical_and(marker == 0xDD, here[4] + here[5] > 0)
        following = tf.where(fill, at + 1, tf.where(end, at, at + 2 + span))
        is_scan = marker == 0xDA
        beyond = tf.gather(marks, tf.minimum(tf.searchsorted(marks, following[None], out_type=tf.int64)[0],
                                             tf.size(marks, tf.int64) - 1))
        return (tf.where(is_scan, beyond, following), tf.where(tf.logical_and(is_frame, frame == 0), at, frame),
                tf.where(tf.logical_and(is_scan, scan == 0), following, scan), tf.where(has_exif, at + 10, exif),
                scans + tf.cast(is_scan, tf.int64), tf.logical_or(restarts, restart),
                tf.logical_and(sound, tf.logical_not(end)), tf.logical_and(sound, end))

    at, frame, scan, exif, scans, restarts, _, whole = tf.while_loop(
        lambda *state: state[6], walk, (zero + 2, zero, zero, zero - 1, zero, False, True, False))
    whole = tf.logical_and(whole, tf.logical_and(frame > 0, scan > 0))
    codes = tf.boolean_mask(ahead, tf.logical_and(data[:-1] == 255, tf.logical_and(ahead > 0, ahead < 255)))
    places = tf.where(tf.logical_and(data[:-1] == 255, tf.logical_and(ahead > 0, ahead < 255)))[:, 0]
    codes = tf.boolean_mask(codes, tf.logical_and(places >= scan, places < at))
    before = tf.concat([[zero], codes[:-1]], 0)[:tf.size(codes)]
    is_restart, follows = _restart(codes), _restart(before)
    wanted = tf.where(follows, 0xD0 + (before - 0xD0 + 1) % 8, 0xD0)
    order = tf.reduce_all(tf.logical_or(tf.logical_not(is_restart), codes == wanted))
    return {"frame": frame, "scan": scan, "end": at, "exif": exif, "restarts": restarts, "several": scans > 1,
            "whole": tf.logical_and(whole, order)}


def _restart(codes):
    return tf.logical_and(codes >= 0xD0, codes <= 0xD7)


def _suspicious(contents, layout, pixels):
    data = tf.io.decode_raw(_part(contents, layout["scan"], layout["end"] - layout["scan"]), tf.uint8)
    parts = tf.reshape(data[:tf.size(data) // RUN * RUN], (-1, RUN))
    runs = tf.reduce_any(tf.reduce_all(parts == parts[:, :1], 1))
    grey = tf.reduce_all(pixels == 128, -1)
    height, width = tf.shape(grey)[0] // 8, tf.shape(grey)[1] // 8
    blocks = tf.reshape(grey[:8 * height, :8 * width], (height, 8, width, 8))
    empty = tf.logical_or(tf.reduce_any(grey[-1:, -1:]), tf.reduce_any(tf.reduce_all(blocks, [1, 3])))
    return tf.logical_or(layout["several"], tf.logical_or(empty, runs))


def _damaged(contents, layout, sides):
    """Whether one of the two changed copies shows that the scans are not whole."""
    frame, scan, end = layout["frame"], layout["scan"], layout["end"]
    marks = [b"\xff" + bytes([code]) for code in (0xC4, 0xDA, *range(0xD0, 0xD8))]
    data = _part(contents, scan, end - scan)
    for mark in marks:
        parts = tf.raw_ops.StringSplitV2(input=[data], sep=mark, maxsplit=-1).values
        data = tf.strings.reduce_join(parts, separator=SENTINEL + mark)
    tail = tf.where(layout["restarts"], b"".join(bytes([0xFF, 0xD0 + i]) + SENTINEL for i in range(8)), b"")
    start = _part(contents, 0, scan)
    longer = tf.strings.join([start, data, SENTINEL, tail, EOI])
    header = tf.cast(_numbers(contents, frame, 20, tf.uint8), tf.int64)
    factors = tf.where(header[9] > 1, tf.reduce_max(tf.stack([header[11], header[14], header[17]]) % 16), 1)
    unit, filled = 8 * factors, tf.where(layout["several"], tf.constant(8, tf.int64), 1)
    rows = -(-filled // -(-sides[1] // 32))
    height = -(-sides[0] // unit) * unit
    added = height + (rows + 1) * unit
    high = tf.strings.join([_byte(added // 256), _byte(added % 256)])
    higher = tf.strings.join([_part(contents, 0, frame + 5), high, _part(contents, frame + 7, end - frame - 7), EOI])
    plain = tf.strings.join([_part(contents, 0, end), EOI])

    def grey(c):
        return tf.io.decode_jpeg(c, 1, dct_method="INTEGER_ACCURATE")

    a, b, c = (_isolated(tf.constant(True), grey, copy, 1, tf.uint8) for copy in (plain, longer, higher))
    same = tf.cond(tf.reduce_all(tf.shape(a) == tf.shape(b)), lambda: tf.reduce_all(a == b), lambda: False)
    below = c[tf.cast(height, tf.int32):] != 128
    shown = tf.logical_or(tf.reduce_any(below[tf.cast(rows * unit, tf.int32):]),
                          tf.reduce_any(below[:, tf.cast(32 * filled, tf.int32):]))
    none = tf.logical_or(tf.size(a) == 0, tf.size(c) == 0)
    return tf.logical_or(tf.logical_not(same), tf.logical_or(shown, none))


# Bytes ---------------------------------------------------------------------------------------------------------------


def _orientation(contents, start):
    """`headers.orientation`; int32."""
    little = tf.equal(_part(contents, start, 2), b"II")
    length = tf.cast(tf.strings.length(contents), tf.int64)

    def number(at, size):
        digits = tf.cast(tf.io.decode_raw(_padded(contents, at, size), tf.uint8), tf.int64)
        return tf.reduce_sum(tf.where(little, digits, digits[::-1]) * [256**i for i in range(size)])

    first = start + number(start + 4, 4)
    count = tf.minimum(number(first, 2), 1 + tf.maximum(length - first, 0) // 12)
    entries = tf.reshape(tf.io.decode_raw(_padded(contents, first + 2, 12 * count), tf.uint8), (-1, 12))
    entries = tf.cast(tf.where(little, entries, tf.gather(entries, [1, 0, *range(2, 8), 9, 8, 10, 11], axis=1)), tf.int32)
    values = tf.boolean_mask(entries[:, 8] + 256 * entries[:, 9], entries[:, 0] + 256 * entries[:, 1] == 274)
    value = tf.concat([values, [1]], 0)[0]
    return tf.where(tf.logical_and(value >= 1, value <= 8), value, 1)


def _upright(pixels, turned):
    pixels = tf.cond(turned >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    pixels = tf.cond(tf.reduce_any(turned == [3, 4, 7, 8]), lambda: pixels[::-1], lambda: pixels)
    return tf.cond(tf.reduce_any(turned == [2, 3, 6, 7]), lambda: pixels[:, ::-1], lambda: pixels)


def _isolated(sound, read, contents, channels, dtype):
    """read(contents), (h, w, channels) of `dtype`; (0, 0, channels) where it fails or `sound` is not.

    TensorFlow catches an error only in a `tf.data` pipeline. One around all of a picture's reading took 75 ms of processor
    time, for its branches are set up anew in each call; around the decoding operation alone it takes 6 ms.
    """
    empty = tf.zeros((0, 0, channels), dtype)
    plain = tf.data.Options()  # nothing to tune in a pipeline of one element, and each call would do it anew
    plain.autotune.enabled = False
    plain.experimental_optimization.apply_default_optimizations = False

    def isolated():
        tried = tf.data.Dataset.from_tensors(contents).map(read).ignore_errors().with_options(plain)
        return tried.reduce(empty, lambda _, pixels: pixels)

    return tf.ensure_shape(tf.cond(sound, isolated, lambda: empty), (None, None, channels))


def _fits(contents, sides, least, max_pixels):
    """Whether two sides int64 are in the limit, and a file of so many bytes can hold them."""
    pixels = sides[0] * sides[1]
    sound = tf.logical_and(tf.reduce_all(sides > 0), pixels <= max_pixels)
    return tf.logical_and(sound, least <= tf.cast(tf.strings.length(contents), tf.int64))


def _numbers(contents, start, count, dtype, little_endian=True):
    """(count,) of a header; zeros where the file is shorter."""
    found = tf.io.decode_raw(_padded(contents, start, count * dtype.size), dtype, little_endian=little_endian)
    return tf.ensure_shape(found, (count,))


def _padded(contents, start, length):
    start, length = tf.cast(start, tf.int64), tf.cast(length, tf.int64)
    part = _part(contents, start, length)
    missing = length - tf.cast(tf.strings.length(part), tf.int64)
    zeros = tf.strings.reduce_join(tf.fill([missing], b"\0"))
    return tf.strings.join([part, zeros])


def _part(contents, start, length):
    start = tf.minimum(tf.cast(start, tf.int64), tf.cast(tf.strings.length(contents), tf.int64))
    return tf.strings.substr(contents, start, tf.cast(length, tf.int64))


def _byte(number):
    return tf.gather(tf.constant([bytes([i]) for i in range(256)]), number)


def _starts(contents, magic):
    return tf.equal(tf.strings.substr(contents, 0, len(magic)), magic)
