"""The rules of `headers`, `files` and `regions` in TensorFlow's operations: for a served graph, which has no host.

PNG, JPEG and BMP, in bytes. What `files` refuses is NaN here. TIFF, which TensorFlow cannot decode, is refused.
"""
from __future__ import annotations

import tensorflow as tf

from . import graph_jpeg
from .graph_bytes import fits, isolated, numbers, orientation, part, starts
from .headers import EOI, JPEG_SIDE, most_bytes

PNG = b"\x89PNG\r\n\x1a\n"


@tf.autograph.experimental.do_not_convert  # nothing to convert: it takes long
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


@tf.autograph.experimental.do_not_convert
def decode_region(contents, max_pixels: int):
    """One file's bytes -> (h, w, 1) int64 in {0, 1}, upright, as `files.examine_region`; (0, 0, 1) where refused."""
    contents = _short(contents, max_pixels)

    def png():
        sides, turned = _png_header(contents)[:2]
        pixels = isolated(fits(contents, sides, _png_bytes(contents), max_pixels),
                          lambda c: tf.io.decode_png(c, 4, tf.uint16), contents, 4, tf.uint16)
        return tf.cast(pixels, tf.int32), turned, tf.constant(False)

    def other():
        pixels, _, _, _, turned = _decode(contents, 3, max_pixels)
        colour = 257 * tf.cast(pixels, tf.int32)
        return tf.concat([colour, tf.zeros_like(colour[..., :1])], -1), turned, starts(contents, b"\xff\xd8\xff")

    pixels, turned, lossy = tf.cond(starts(contents, PNG), png, other)
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


@tf.autograph.experimental.do_not_convert
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
        sound = fits(contents, sides, _png_bytes(contents), max_pixels)

        def read(kind):
            return tf.cast(isolated(sound, lambda c: tf.io.decode_png(c, channels, kind), contents, channels, kind),
                           tf.float32)

        deep = tf.equal(depth, 16)
        return (tf.cond(deep, lambda: read(tf.uint16), lambda: read(tf.uint8)), tf.where(deep, 65535.0, 255.0), found,
                alpha, turned)

    def bmp():
        sides = tf.cast(tf.abs(numbers(contents, 18, 2, tf.int32)), tf.int64)
        bits = tf.cast(numbers(contents, 28, 1, tf.uint16)[0], tf.int64)
        least = (sides[0] * bits // 8 + 3) // 4 * 4 * sides[1]
        sound = tf.logical_and(fits(contents, sides, least, max_pixels), _plain_bmp(contents, bits))

        def read(c):
            pixels = tf.io.decode_bmp(c)  # (h, w, as stored): the op cannot be asked for 1 channel
            return tf.broadcast_to(pixels, [tf.shape(pixels)[0], tf.shape(pixels)[1], channels])

        # An op that is asked for more channels than there are would fail: a colour picture is refused before.
        found = tf.cast(bits // 8, tf.int32)
        sound = tf.logical_and(sound, tf.logical_or(found == 1, found == channels))
        pixels = isolated(sound, read, contents, channels, tf.uint8)
        return tf.cast(pixels, tf.float32), 255.0, found, False, 1

    def jpeg():
        layout = graph_jpeg.layout_of(contents)
        header = numbers(contents, layout["frame"], 10, tf.uint8)
        header = tf.cast(header, tf.int64)
        sides = tf.stack([header[5] * 256 + header[6], header[7] * 256 + header[8]])
        sound = tf.logical_and(fits(contents, sides, sides[0] * sides[1] // 512, max_pixels), layout["whole"])
        sound = tf.logical_and(sound, tf.logical_and(tf.reduce_any(header[1] == [0xC0, 0xC1, 0xC2]), header[4] == 8))
        sound = tf.logical_and(sound, tf.reduce_all(sides <= JPEG_SIDE))
        sound = tf.logical_and(sound, tf.reduce_any(header[9] == [1, 3]))

        def read(c):
            # The fast default differs between processors by a few grey levels.
            return tf.io.decode_jpeg(c, channels, dct_method="INTEGER_ACCURATE")

        cut = tf.strings.join([part(contents, 0, layout["end"]), EOI])
        pixels = isolated(sound, read, cut, channels, tf.uint8)
        damaged = tf.cond(tf.logical_and(tf.size(pixels) > 0, graph_jpeg.suspicious(contents, layout, pixels)),
                          lambda: graph_jpeg.damaged(contents, layout, sides), lambda: False)
        turned = tf.cond(layout["exif"] >= 0, lambda: orientation(contents, layout["exif"]), lambda: 1)
        return (tf.cast(tf.cond(damaged, lambda: pixels[:0, :0], lambda: pixels), tf.float32), 255.0,
                tf.cast(header[9], tf.int32), False, turned)

    def none():
        return tf.zeros((0, 0, channels)), 255.0, 0, False, 1

    contents = _short(contents, max_pixels)
    return tf.cond(starts(contents, PNG), png, lambda: tf.cond(
        starts(contents, b"BM"), bmp, lambda: tf.cond(starts(contents, b"\xff\xd8\xff"), jpeg, none)))


def _short(contents, max_pixels):
    """`contents`; of no format where there are more bytes than `headers.most_bytes`."""
    most = [tf.constant(most_bytes(kind, max_pixels), tf.int64) for kind in ("JPEG", "PNG")]
    short = tf.cast(tf.strings.length(contents), tf.int64) <= tf.where(starts(contents, b"\xff\xd8\xff"), *most)
    return tf.where(short, contents, b"")


def _png_header(contents):
    """(width, height), orientation, channels, whether transparent, depth."""
    sides = tf.cast(numbers(contents, 16, 2, tf.int32, little_endian=False), tf.int64)  # over 2^31 - 1: negative
    depth, colour = tf.unstack(tf.cast(numbers(contents, 24, 2, tf.uint8), tf.int32))
    head = tf.raw_ops.StringSplitV2(input=[contents], sep="IDAT", maxsplit=1).values[0]
    opaque = tf.size(tf.raw_ops.StringSplitV2(input=[head], sep="tRNS", maxsplit=1).values) == 1
    alpha = tf.logical_or(tf.logical_not(opaque), tf.logical_or(colour == 4, colour == 6))
    before = [tf.strings.length(tf.raw_ops.StringSplitV2(input=[contents], sep=chunk, maxsplit=1).values[0])
              for chunk in (b"eXIfII*\0", b"eXIfMM\0*")]
    first = tf.cast(tf.minimum(*before), tf.int64)
    length = tf.cast(tf.strings.length(contents), tf.int64)
    turned = tf.cond(first < length, lambda: orientation(contents, first + 4), lambda: 1)
    return sides, turned, tf.where(tf.logical_or(colour == 0, colour == 4), 1, 3), alpha, depth


def _png_bytes(contents):
    """The fewest that a PNG of such a header can take: deflate shrinks by 1032 at most."""
    width, height = tf.unstack(tf.cast(numbers(contents, 16, 2, tf.int32, little_endian=False), tf.int64))
    depth, colour = tf.unstack(tf.cast(numbers(contents, 24, 2, tf.uint8), tf.int64))
    samples = tf.gather(tf.constant([1, 1, 3, 1, 2, 1, 4, 1], tf.int64), tf.minimum(colour, 7))
    return height * (width * samples * depth // 8) // 1032


def _plain_bmp(contents, bits):
    """Whether a BMP is of 8 or 24 bit, not compressed, and its palette 0, 1, 2 ...: decoding ignores these."""
    size, offset = numbers(contents, 14, 1, tf.int32)[0], numbers(contents, 10, 1, tf.int32)[0]
    start = tf.minimum(14 + tf.clip_by_value(size, 0, 2**30), tf.strings.length(contents))
    entries = tf.maximum(offset - start, 0) // 4
    palette = tf.io.decode_raw(tf.strings.substr(contents, start, 4 * entries), tf.uint8)
    colours = tf.reshape(palette[:tf.size(palette) // 4 * 4], (-1, 4))[:, :3]  # blue, green, red, unused
    ramp = tf.cast(tf.range(tf.shape(colours)[0]), tf.uint8)[:, None]
    plain = tf.logical_and(entries > 0, tf.reduce_all(colours == ramp))
    known = tf.logical_or(tf.logical_and(bits == 8, plain), bits == 24)
    return tf.logical_and(numbers(contents, 30, 1, tf.int32)[0] == 0, known)


def _upright(pixels, turned):
    pixels = tf.cond(turned >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    pixels = tf.cond(tf.reduce_any(turned == [3, 4, 7, 8]), lambda: pixels[::-1], lambda: pixels)
    return tf.cond(tf.reduce_any(turned == [2, 3, 6, 7]), lambda: pixels[:, ::-1], lambda: pixels)
