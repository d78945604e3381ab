"""The outline of a synthetic defect: contours of the noise, specks, cut-out rectangles, and the turning of the noise.

Each function answers for a whole batch with booleans (B, H, W). `v` (B, 16) holds uniforms in [0, 1) for the shape's
parameters; a sample has one shape, so the shapes share them. `roi` (B, H, W, 1) or None is where a defect may be
centred. Lengths grow with the shorter side of the picture.
"""

import numpy as np
import tensorflow as tf

from .sources import look_up

SPOTS = 4  # at most, in one picture
LINE_CELLS = 4.0  # of the lattice, at most, for a line: contours of a finer one look like a fingerprint


def line(noise, v, roi):
    """Scratches, cracks, hairs: a contour of the noise, some pixels thick, cut to a disc around one of its points."""
    _, height, width = noise.shape
    side = min(height, width)
    centre_y, centre_x = places(v[:, 0:1], v[:, 1:2], roi, height, width)
    at = tf.cast(centre_y, tf.int32) * width + tf.cast(centre_x, tf.int32)  # (B, 1)
    level = tf.gather(tf.reshape(noise, (-1, height * width)), at, batch_dims=1)  # the contour goes through the centre
    step = 2  # pixels each way, so that the slope does not see the steps that the turned noise has
    padded = tf.pad(noise, [[0, 0], [step, step], [step, step]], "SYMMETRIC")
    slope_y = padded[:, 2 * step :, step:-step] - padded[:, : -2 * step, step:-step]
    slope_x = padded[:, step:-step, 2 * step :] - padded[:, step:-step, : -2 * step]
    slope = tf.sqrt(tf.square(slope_y) + tf.square(slope_x)) / (2.0 * step)  # of the noise, per pixel
    thickness = 1.5 + v[:, 2] * side / 64.0
    on_contour = tf.abs(noise - level[:, :, None]) < 0.5 * column(thickness) * slope
    reach = column(_log_between(0.05, 0.4, v[:, 3]) * side)
    return on_contour & (_distance(centre_y, centre_x, height, width) < reach)


def spots(noise, v, roi):
    """Specks, pores, stains: one to SPOTS discs of 3 pixels to 1/12 of the side across, dented by the noise."""
    _, height, width = noise.shape
    smallest, largest = 1.5, max(1.5, min(height, width) / 24.0)
    count = tf.cast(v[:, 0] * SPOTS, tf.int32)  # one less than the number of spots
    centre_y, centre_x = places(v[:, 1 : 1 + SPOTS], v[:, 5 : 5 + SPOTS], roi, height, width)  # (B, SPOTS)
    inside = tf.zeros_like(noise, tf.bool)
    for spot in range(SPOTS):
        radius = column(_log_between(smallest, largest, v[:, 9 + spot]))
        distance = _distance(centre_y[:, spot : spot + 1], centre_x[:, spot : spot + 1], height, width)
        inside |= column(spot <= count) & (distance < radius * (1.0 + 0.6 * noise))
    return inside


def rectangle(v, roi, height, width):
    """From a scar to a square, at any angle (the shapes of CutPaste, Li et al. 2021)."""
    side = min(height, width)
    centre_y, centre_x = places(v[:, 0:1], v[:, 1:2], roi, height, width)
    y = tf.range(height, dtype=tf.float32)[None, :, None] - centre_y[:, :, None]
    x = tf.range(width, dtype=tf.float32)[None, None, :] - centre_x[:, :, None]
    angle = column(np.pi * v[:, 4])
    along, across = tf.cos(angle) * x + tf.sin(angle) * y, tf.cos(angle) * y - tf.sin(angle) * x
    length, breadth = _log_between(0.05, 0.4, v[:, 2]) * side, _log_between(0.01, 0.25, v[:, 3]) * side
    return (tf.abs(along) < 0.5 * column(length)) & (tf.abs(across) < 0.5 * tf.maximum(column(breadth), 2.0))


def places(u, v, roi, height, width):
    """Whole pixel coordinates y, x (B, m) as floats: anywhere, or with a ROI one of its pixels, all equally likely."""
    if roi is None:
        return tf.floor(u * height), tf.floor(v * width)
    roi = tf.cast(roi[..., 0] > 0.0, tf.float32)  # (B, H, W)
    y = _pick(tf.reduce_sum(roi, 2)[:, None, :], u)  # first a row, by the number of pixels it has, then one of those
    return y, _pick(tf.gather(roi, tf.cast(y, tf.int32), batch_dims=1), v)


def _pick(weights, u):
    """Index drawn by weight, the last if all are 0: weights (B, m or 1, n), u (B, m) -> (B, m) float."""
    upto = tf.cumsum(weights, axis=2)
    index = tf.reduce_sum(tf.cast(upto <= u[:, :, None] * upto[:, :, -1:], tf.float32), 2)
    return tf.minimum(index, weights.shape[2] - 1.0)


def _distance(centre_y, centre_x, height, width):
    """Pixels from the centre (B, 1): (B, H, W)."""
    y = tf.range(height, dtype=tf.float32)[None, :, None] - centre_y[:, :, None]
    x = tf.range(width, dtype=tf.float32)[None, None, :] - centre_x[:, :, None]
    return tf.sqrt(tf.square(y) + tf.square(x))


def turn(noise, angle):
    """The noise turned about its centre by `angle` (B,) radians, reflected at the borders, nearest pixel."""
    _, height, width = noise.shape
    y = tf.range(height, dtype=tf.float32)[None, :, None] - 0.5 * (height - 1)
    x = tf.range(width, dtype=tf.float32)[None, None, :] - 0.5 * (width - 1)
    cos, sin = column(tf.cos(angle)), column(tf.sin(angle))
    from_y = tf.cast(tf.round(cos * y - sin * x + 0.5 * (height - 1)), tf.int32)
    from_x = tf.cast(tf.round(cos * x + sin * y + 0.5 * (width - 1)), tf.int32)
    return look_up(noise[..., None], from_y, from_x)[..., 0]


def column(values):
    return values[:, None, None]  # (B,) -> (B, 1, 1), to meet (B, H, W)


def _log_between(lowest, highest, u):
    return lowest * tf.exp(u * float(np.log(highest / lowest)))
