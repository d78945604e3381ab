"""`headers.jpeg_layout`, `suspicious` and `scan_reason` in TensorFlow's operations."""
from __future__ import annotations

import tensorflow as tf

from .graph_bytes import byte, isolated, numbers, part
from .headers import EOI, RUN, SENTINEL

_ROOM = 64  # zeros behind a file's bytes: what a header that is cut off reads


def layout_of(contents):
    """{"frame", "scan", "end", "exif" (-1: none)} int64, {"restarts", "several", "whole"} bool."""
    length = tf.cast(tf.strings.length(contents), tf.int64)
    data = tf.io.decode_raw(tf.strings.join([contents, b"\0" * _ROOM]), tf.uint8)  # and stays so
    ahead = data[1:]
    marked = tf.logical_and(data[:-1] == 255, tf.logical_and(tf.logical_and(ahead != 0, ahead != 255), tf.logical_or(
        ahead < 0xD0, ahead > 0xD7)))
    marks = tf.concat([tf.where(marked)[:, 0], [length]], 0)
    zero = tf.constant(0, tf.int64)

    def walk(at, frame, scan, exif, scans, restarts, going, whole):
        here = tf.cast(tf.gather(data, tf.minimum(at + tf.range(6, dtype=tf.int64), length + _ROOM - 1)), tf.int64)
        marker, span = here[1], here[2] * 256 + here[3]
        fill, end = marker == 0xFF, marker == 0xD9
        sound = tf.logical_and(at + 2 <= length, here[0] == 0xFF)
        sound = tf.logical_and(sound, tf.logical_or(tf.logical_or(fill, end), span >= 2))
        has_exif = tf.logical_and(tf.logical_and(marker == 0xE1, exif < 0), tf.equal(
            part(contents, at + 4, 6), b"Exif\0\0"))
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
    whole = tf.cond(whole, lambda: _in_order(data[scan:at + 1]), lambda: False)
    return {"frame": frame, "scan": scan, "end": at, "exif": exif, "restarts": restarts, "several": scans > 1,
            "whole": whole}


def _in_order(scans):
    """Whether the restart markers count 0 to 7 and again from 0; of all scans and the byte behind, uint8."""
    coded = tf.logical_and(scans[:-1] == 255, tf.logical_and(scans[1:] > 0, scans[1:] < 255))
    codes = tf.boolean_mask(scans[1:], coded)
    before = tf.concat([tf.constant([0], tf.uint8), codes[:-1]], 0)[:tf.size(codes)]
    wanted = tf.where(_restart(before), 0xD0 + (before - 0xD0 + 1) % 8, tf.constant(0xD0, tf.uint8))
    return tf.reduce_all(tf.logical_or(tf.logical_not(_restart(codes)), codes == wanted))


def _restart(codes):
    return tf.logical_and(codes >= 0xD0, codes <= 0xD7)


def suspicious(contents, layout, pixels):
    data = tf.io.decode_raw(part(contents, layout["scan"], layout["end"] - layout["scan"]), tf.uint8)
    parts = tf.reshape(data[:tf.size(data) // RUN * RUN], (-1, RUN))
    runs = tf.reduce_any(tf.reduce_all(parts == parts[:, :1], 1))
    grey = tf.reduce_all(pixels == 128, -1)
    height, width = tf.shape(grey)[0] // 8, tf.shape(grey)[1] // 8
    blocks = tf.reshape(grey[:8 * height, :8 * width], (height, 8, width, 8))
    empty = tf.logical_or(tf.reduce_any(grey[-1:, -1:]), tf.reduce_any(tf.reduce_all(blocks, [1, 3])))
    return tf.logical_or(layout["several"], tf.logical_or(empty, runs))


def damaged(contents, layout, sides):
    """Whether one of the two changed copies shows that the scans are not whole."""
    frame, scan, end = layout["frame"], layout["scan"], layout["end"]
    marks = [b"\xff" + bytes([code]) for code in (0xC4, 0xDA, *range(0xD0, 0xD8))]
    data = part(contents, scan, end - scan)
    for mark in marks:
        parts = tf.raw_ops.StringSplitV2(input=[data], sep=mark, maxsplit=-1).values
        data = tf.strings.reduce_join(parts, separator=SENTINEL + mark)
    tail = tf.where(layout["restarts"], b"".join(bytes([0xFF, 0xD0 + i]) + SENTINEL for i in range(8)), b"")
    start = part(contents, 0, scan)
    longer = tf.strings.join([start, data, SENTINEL, tail, EOI])
    header = tf.cast(numbers(contents, frame, 20, tf.uint8), tf.int64)
    factors = tf.where(header[9] > 1, tf.reduce_max(tf.stack([header[11], header[14], header[17]]) % 16), 1)
    unit, filled = 8 * factors, tf.where(layout["several"], tf.constant(8, tf.int64), 1)
    rows = -(-filled // -(-sides[1] // 32))
    height = -(-sides[0] // unit) * unit
    added = height + (rows + 1) * unit
    high = tf.strings.join([byte(added // 256), byte(added % 256)])
    higher = tf.strings.join([part(contents, 0, frame + 5), high, part(contents, frame + 7, end - frame - 7), EOI])
    plain = tf.strings.join([part(contents, 0, end), EOI])

    def grey(c):
        return tf.io.decode_jpeg(c, 1, dct_method="INTEGER_ACCURATE")

    a, b, c = (isolated(tf.constant(True), grey, copy, 1, tf.uint8) for copy in (plain, longer, higher))
    same = tf.cond(tf.reduce_all(tf.shape(a) == tf.shape(b)), lambda: tf.reduce_all(a == b), lambda: False)
    below = c[tf.cast(height, tf.int32):] != 128
    shown = tf.logical_or(tf.reduce_any(below[tf.cast(rows * unit, tf.int32):]),
                          tf.reduce_any(below[:, tf.cast(32 * filled, tf.int32):]))
    none = tf.logical_or(tf.size(a) == 0, tf.size(c) == 0)
    return tf.logical_or(tf.logical_not(same), tf.logical_or(shown, none))
