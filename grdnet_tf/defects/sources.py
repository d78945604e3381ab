"""What a synthetic defect shows: colours, the picture's own texture, pieces of it, shading, foreign textures.

Every source answers for a whole batch at every pixel; `perturb.perturb` shows it only inside the mask. All numbers come
in as uniforms in [0, 1) drawn per sample, so a source is a pure function, the same on every device and in XLA.
"""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..ops import pooled

SMOOTH = ("color_image", "color_blob", "smooth")  # have no structure as fine as the picture's noise
PASTED = ("own_texture", "cut_paste", "texture")  # pieces from elsewhere

STRENGTH = {  # by how much, lowest and highest, a source is also made lighter or darker
    "own_texture": (0.05, 0.3),
    "cut_paste": (0.05, 0.3),
    "shade": (0.1, 0.6),
    "texture": (0.0, 0.3),
}
PATCHES = 8  # own_texture cuts the picture into PATCHES x PATCHES pieces; color_blob has as many lattice points
TEXTURE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class SourceDraws(NamedTuple):
    """Uniforms in [0, 1) of one batch. A sample shows one source, so the sources share them."""

    scalars: tf.Tensor  # (B, 8): colour (0-2), lighten (3), strength (4), orientation (5), place y, x (6-7) or shift
    grid: tf.Tensor  # (B, PATCHES, PATCHES, 3): colours of the lattice, or place y, x of each patch
    pixels: tf.Tensor  # (B, H, W, C), only drawn for color_pixel


def source_image(names, index, image, mask, draws, textures=None, matched=None, piece=None):
    """What each picture shows of its own source, names[index], in [0, 1]: (B, H, W, C).

    index (B,) int; mask (B, H, W, 1) is where it will be seen. Only what `names` need is computed. Where `matched` (B,)
    bool, a pasted source takes on the mean colour of what it covers, instead of being made lighter or darker. `piece`
    (B, H, W, C) is what the source "real" shows.
    """
    _, height, width, channels = image.shape
    views = {}  # name -> picture; own_texture and cut_paste share one, for the look-up is what costs
    if "color_image" in names:
        colour = draws.scalars[:, None, None, :channels]
        views["color_image",] = tf.broadcast_to(colour, tf.shape(image))
    if "color_blob" in names:
        views["color_blob",] = _smooth(draws.grid[..., :channels], height, width)
    if "color_pixel" in names:
        views["color_pixel",] = draws.pixels
    if "shade" in names:
        views["shade",] = image
    if "smooth" in names:
        views["smooth",] = pooled(image, min(height, width) // 12 | 1)
    if {"own_texture", "cut_paste", "shift"} & set(names):
        views["own_texture", "cut_paste", "shift"] = _moved(image, draws, _is_any(index, names, ("own_texture",)),
                                                            _is_any(index, names, ("shift",)))
    if "warp" in names:
        views["warp",] = _warped(image, mask, draws)
    if "texture" in names:
        views["texture",] = _texture_crop(textures, draws.scalars, height, width)
    if "real" in names:
        views["real",] = piece
    (_, shown), *others = views.items()
    for alike, view in others:
        shown = select(_is_any(index, names, alike), view, shown)
    weakest, strongest = np.float32([STRENGTH.get(name, (0.0, 0.0)) for name in names]).T
    if not strongest.any():
        return shown
    weakest, strongest = tf.gather(weakest, index), tf.gather(strongest, index)
    if matched is not None:
        matched = matched & _is_any(index, names, PASTED)
        shown = select(matched, shown + _mean(image - shown, mask), shown)
        weakest, strongest = tf.where(matched, 0.0, weakest), tf.where(matched, 0.0, strongest)
    return _regain(shown, image, mask, draws.scalars[:, 3], weakest + (strongest - weakest) * draws.scalars[:, 4])


def load_textures(folder, size, channels):
    """All pictures of `folder` and its subfolders as one uint8 array (T, size, size, channels), sorted by path.

    The whole picture is resized, so its aspect changes where it is not square. A large array belongs into one
    `tf.constant` made outside any tf.function; a NumPy array would be copied into each graph. Raises InputError for a
    missing or empty folder and for a file that cannot be read.
    """
    import cv2  # here, because only this source needs it and the noise must import fast

    paths = sorted(
        os.path.join(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(TEXTURE_FILES)
    )
    if not paths:
        raise InputError(f"{folder}: no texture images found (expected {', '.join(TEXTURE_FILES)})")
    textures = np.empty((len(paths), size, size, channels), np.uint8)
    for row, path in zip(textures, paths):
        # Through a buffer: cv2.imread cannot open every path on Windows, and prints instead of raising.
        contents = np.fromfile(path, np.uint8)
        flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR
        picture = cv2.imdecode(contents, flag) if contents.size else None
        if picture is None:
            raise InputError(f"{path}: not a readable image")
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        row[...] = picture[..., None] if channels == 1 else picture[..., ::-1]  # BGR to RGB
    return textures


def _is_any(index, names, wanted):
    """(B,) whether the sample's source is one of `wanted`."""
    return tf.gather(tf.constant([name in wanted for name in names]), index)


def _smooth(grid, height, width):
    """(B, n, n, C) values on a lattice over the picture's extent -> (B, H, W, C), linear between them."""
    for axis, side in ((1, height), (2, width)):
        at = np.arange(side) * (grid.shape[axis] - 1) / side  # in lattice cells; the same for every sample
        before = at.astype(int)
        share = tf.constant((at - before).reshape((-1, 1, 1) if axis == 1 else (1, -1, 1)), tf.float32)
        step = tf.roll(grid, -1, axis) - grid  # the last one, round the end, is never reached
        grid = tf.gather(grid, before, axis=axis) + share * tf.gather(step, before, axis=axis)
    return grid


def _moved(image, draws, shuffled, shifted):
    """Another place of the same picture, mirrored or transposed; pixels stay whole.

    cut_paste moves the picture as a whole; where `shuffled` (B,) each patch of a grid comes from a place of its own;
    where `shifted` the picture is only moved, by 1/64 to 1/12 of the shorter side.
    """
    _, height, width, _ = image.shape
    place = tf.where(shuffled[:, None, None, None], draws.grid[..., :2], draws.scalars[:, None, None, 6:8])
    place = place * [float(height), float(width)]  # (B, PATCHES, PATCHES, 2)
    angle, far = 2.0 * np.pi * draws.scalars[:, 6], draws.scalars[:, 7]
    far = min(height, width) / 64.0 * tf.exp(far * float(np.log(64.0 / 12.0)))
    near = tf.round(tf.stack([tf.sin(angle) * far, tf.cos(angle) * far], 1))  # (B, 2)
    place = tf.cast(tf.where(shifted[:, None, None, None], near[:, None, None, :], place), tf.int32)
    # Which patch a pixel lies in does not depend on the sample, so nearest enlargement is two gathers by constants.
    rows, columns = np.arange(height) * PATCHES // height, np.arange(width) * PATCHES // width
    place = tf.gather(tf.gather(place, rows, axis=1), columns, axis=2)  # (B, H, W, 2)
    y, x = _oriented(tf.where(shifted, 0.0, draws.scalars[:, 5]), height, width)
    return look_up(image, y + place[..., 0], x + place[..., 1])


def _warped(image, mask, draws):
    """The picture drawn aside under the mask, as a bent or dented part is: by 1/64 to 1/8 of the shorter side where
    the mask is thickest, and less and less towards its rim. Linear between pixels."""
    _, height, width, _ = image.shape
    side = min(height, width)
    weight = pooled(mask, side // 8 | 1)
    weight = (weight / tf.maximum(tf.reduce_max(weight, (1, 2, 3), keepdims=True), 1e-6))[..., 0]  # (B, H, W)
    angle, far = 2.0 * np.pi * draws.scalars[:, 6], side / 64.0 * tf.exp(draws.scalars[:, 7] * float(np.log(8.0)))
    y = tf.range(height, dtype=tf.float32)[None, :, None] + weight * (tf.sin(angle) * far)[:, None, None]
    x = tf.range(width, dtype=tf.float32)[None, None, :] + weight * (tf.cos(angle) * far)[:, None, None]
    top, left = tf.floor(y), tf.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    top, left = tf.cast(top, tf.int32), tf.cast(left, tf.int32)
    above = (1.0 - right) * look_up(image, top, left) + right * look_up(image, top, left + 1)
    below = (1.0 - right) * look_up(image, top + 1, left) + right * look_up(image, top + 1, left + 1)
    return (1.0 - down) * above + down * below


def _regain(shown, image, mask, lighten, strength):
    """Lighter or darker by `strength` (B,), so that it differs from the picture on a uniform surface too.

    The brighter the picture is under the mask, the likelier it darkens: the other way it would often change nothing.
    A strength of 0 leaves every bit as it is.
    """
    brightness = tf.reduce_mean(_mean(image, mask), (1, 2, 3))
    signed = tf.where(lighten < brightness, -strength, strength)[:, None, None, None]
    return tf.clip_by_value(shown * (1.0 + signed) + 0.1 * signed, 0.0, 1.0)  # the offset shows on black


def _mean(values, mask):
    """Mean of (B, H, W, C) inside the mask, by channel: (B, 1, 1, C); 0 where it is empty."""
    inside = tf.reduce_sum(mask, (1, 2), keepdims=True)
    return tf.reduce_sum(values * mask, (1, 2), keepdims=True) / tf.maximum(inside, 1.0)


def _texture_crop(textures, scalars, height, width):
    """A random picture of the folder, from a random place on, reflected at its borders."""
    count, side_y, side_x, channels = textures.shape
    which, place_y, place_x = (
        tf.cast(scalars[:, i] * number, tf.int32)[:, None, None] for i, number in ((0, count), (6, side_y), (7, side_x))
    )
    y, x = _oriented(scalars[:, 5], height, width)
    index = (which * side_y + _reflect(y + place_y, side_y)) * side_x + _reflect(x + place_x, side_x)  # (B, H, W)
    return tf.cast(tf.gather(tf.reshape(textures, (-1, channels)), index), tf.float32) / 255.0


def _oriented(u, height, width):
    """The coordinates y, x of every pixel, (B, H, W) int32, in one of 8 orientations drawn by u (B,)."""
    which = tf.cast(u * 8.0, tf.int32)[:, None, None]
    y = tf.range(height)[None, :, None] * tf.where(which % 2 == 1, -1, 1)  # (B, H, 1)
    x = tf.range(width)[None, None, :] * tf.where(which % 4 >= 2, -1, 1)  # (B, 1, W)
    swapped = which >= 4
    return tf.where(swapped, x, y), tf.where(swapped, y, x)


def select(chosen, yes, no):
    """tf.where row by row: chosen (n,), yes and no (n, ...) of one shape."""
    return tf.raw_ops.Select(condition=chosen, x=yes, y=no)  # copies rows; tf.where, which broadcasts, takes thrice


def look_up(image, y, x):
    """(B, H, W, C) of the picture at whole coordinates (B, H, W), reflected at the borders."""
    _, height, width, channels = image.shape
    index = _reflect(y, height) * width + _reflect(x, width)
    return tf.gather(tf.reshape(image, (-1, height * width, channels)), index, batch_dims=1)


def _reflect(at, side):
    """... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    at = tf.math.floormod(at, 2 * side)
    return tf.minimum(at, 2 * side - 1 - at)
