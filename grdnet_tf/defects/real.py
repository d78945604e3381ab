"""The source "real": defects of real parts, cut out by their own mask and laid somewhere else.

A piece is turned by quarters and flipped, no more: its pixels stay whole, and a network cannot know it by a blur that
no real defect has.
"""

import tensorflow as tf

from .shapes import places


def pasted(pieces, scalars, place, height, width):
    """(B, H, W, C) float32 in [0, 1], a piece for each sample, and (B, H, W, 1) bool, where its mask lies.

    Args:
      pieces: (N, s, s, C + 1) uint8 or uint16, s odd: pictures of defects, and last their masks, 0 or not.
      scalars: (B, 8) uniforms in [0, 1), as of `sources.SourceDraws`: the piece (0), how it lies (5), where (6-7).
      place: (B, H, W, 1), where the middle of a piece may lie, or None for anywhere; it may reach over the border.

    Beyond its own pixels a piece goes on as at its border, outside of its mask.
    """
    pieces = tf.convert_to_tensor(pieces)
    count, side, _, depth = pieces.shape
    which = tf.cast(scalars[:, 0] * float(count), tf.int32)[:, None, None]
    centre_y, centre_x = places(scalars[:, 6:7], scalars[:, 7:8], place, height, width)  # (B, 1) whole numbers
    y = tf.range(height)[None, :, None] - tf.cast(centre_y, tf.int32)[:, :, None]  # (B, H, 1)
    x = tf.range(width)[None, None, :] - tf.cast(centre_x, tf.int32)[:, :, None]  # (B, 1, W)
    lies = tf.cast(scalars[:, 5] * 8.0, tf.int32)[:, None, None]
    y, x = y * tf.where(lies % 2 == 1, -1, 1), x * tf.where(lies % 4 >= 2, -1, 1)
    y, x = tf.where(lies >= 4, x, y), tf.where(lies >= 4, y, x)
    reach = side // 2
    within = (tf.abs(y) <= reach) & (tf.abs(x) <= reach)
    y, x = (tf.clip_by_value(at, -reach, reach) + reach for at in (y, x))
    found = tf.gather(tf.reshape(pieces, (-1, depth)), (which * side + y) * side + x)  # (B, H, W, C + 1)
    shown = tf.cast(found[..., :-1], tf.float32) / float(pieces.dtype.max)
    return shown, within[..., None] & (found[..., -1:] > 0)
