"""What a synthetic defect shows: colours, the picture's own texture, pieces of it, shading, foreign textures.

Every source answers for a whole batch at every pixel; `perlin.perturb` shows it only inside the mask. All numbers come
in as uniforms in [0, 1) drawn per sample, so a source is a pure function, the same on every device and in XLA.
"""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from .errors import InputError

SOURCES = ("color_image", "color_blob", "color_pixel", "own_texture", "cut_paste", "shade", "texture")

PATCHES = 8  # own_texture cuts the picture into PATCHES x PATCHES pieces; color_blob has as many lattice points
TEXTURE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class SourceDraws(NamedTuple):
    """Uniforms in [0, 1) of one batch. A sample shows one source, so the sources share them."""

    scalars: tf.Tensor  # (B, 8): colour (0-2), lighten (3), strength (4), orientation (5), place y, x (6-7)
    grid: tf.Tensor  # (B, PATCHES, PATCHES, 3): colours of the lattice, or place y, x and orientation of each patch
    pixels: tf.Tensor  # (B, H, W, C), only drawn for color_pixel


def source_image(name, image, mask, draws, textures=None):
    """The source `name` for each picture, in [0, 1]: (B, H, W, C), or what broadcasts to it.

    `mask` (B, H, W, 1) is where it will be seen.
    """
    if name == "color_image":
        return draws.scalars[:, None, None, : image.shape[3]]
    if name == "color_blob":
        return _smooth(draws.grid[..., : image.shape[3]], image.shape[1], image.shape[2])
    if name == "color_pixel":
        return draws.pixels
    if name == "own_texture":
        return _regain(_shuffled(image, draws.grid), image, mask, draws.scalars, 0.05, 0.3)
    if name == "cut_paste":
        return _regain(_moved(image, draws.scalars), image, mask, draws.scalars, 0.05, 0.3)
    if name == "shade":
        return _regain(image, image, mask, draws.scalars, 0.1, 0.6)
    crop = _texture_crop(textures, draws.scalars, image.shape[1], image.shape[2])
    return _regain(crop, image, mask, draws.scalars, 0.0, 0.3)


def load_textures(folder, size, channels):
    """All pictures of `folder` and its subfolders as one uint8 array (T, size, size, channels), sorted by path.

    The whole picture is resized, so its aspect changes where it is not square. A large array belongs into one
    `tf.constant` made outside any tf.function; a NumPy array would be copied into each graph. Raises InputError for a
    missing or empty folder and for a file that cannot be read.
    """
    import cv2  # here, because only this source needs it and perlin must import fast

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


def _smooth(grid, height, width):
    """(B, n, n, C) values on a lattice over the picture's extent -> (B, H, W, C), faded linearly between them."""
    for axis, side in ((1, height), (2, width)):
        at = np.arange(side) * (grid.shape[axis] - 1) / side  # in lattice cells; the same for every sample
        before = at.astype(int)
        share = tf.constant((at - before).reshape((-1, 1, 1) if axis == 1 else (1, -1, 1)), tf.float32)
        grid = (1.0 - share) * tf.gather(grid, before, axis=axis) + share * tf.gather(grid, before + 1, axis=axis)
    return grid


def _regain(content, image, mask, scalars, weakest, strongest):
    """Lighter or darker by a drawn strength, so that it differs from the picture on a uniform surface too.

    The brighter the picture is under the mask, the likelier it darkens: the other way it would often change nothing.
    """
    inside = tf.reduce_sum(mask, (1, 2, 3))
    brightness = tf.reduce_sum(image * mask, (1, 2, 3)) / (tf.maximum(inside, 1.0) * image.shape[3])
    strength = weakest + (strongest - weakest) * scalars[:, 4]
    signed = tf.where(scalars[:, 3] < brightness, -strength, strength)[:, None, None, None]
    return tf.clip_by_value(content * (1.0 + signed) + 0.1 * signed, 0.0, 1.0)  # the offset shows on black


def _shuffled(image, grid):
    """Each patch shows the picture around another place of it, mirrored or transposed; pixels stay whole."""
    _, height, width, _ = image.shape
    # Which patch a pixel lies in does not depend on the sample, so nearest enlargement is two gathers by constants.
    rows = np.arange(height) * grid.shape[1] // height
    columns = np.arange(width) * grid.shape[2] // width
    place = tf.gather(tf.gather(grid, rows, axis=1), columns, axis=2)  # (B, H, W, 3)
    return look_up(image, *_oriented(place[..., 0], place[..., 1], place[..., 2], height, width))


def _moved(image, scalars):
    """The picture displaced as a whole, mirrored or transposed: what a piece of it looks like elsewhere."""
    _, height, width, _ = image.shape
    place = scalars[:, None, None, :]
    return look_up(image, *_oriented(place[..., 6], place[..., 7], place[..., 5], height, width))


def _texture_crop(textures, scalars, height, width):
    """A random picture of the folder, from a random place on, reflected at its borders."""
    count, side_y, side_x, channels = textures.shape
    place = scalars[:, None, None, :]
    y, x = _oriented(place[..., 6], place[..., 7], place[..., 5], height, width, side_y, side_x)
    which = tf.cast(place[..., 0] * count, tf.int32)
    index = (which * side_y + _reflect(y, side_y)) * side_x + _reflect(x, side_x)  # (B, H, W)
    found = tf.gather(tf.reshape(textures, (-1, channels)), index)
    return tf.cast(found, tf.float32) / 255.0


def _oriented(place_y, place_x, orientation, height, width, side_y=None, side_x=None):
    """Coordinates (B, H, W) to read from: the pixel's own in one of 8 orientations, moved to a place in [0, 1)^2."""
    y = tf.range(height)[None, :, None] + tf.zeros((1, 1, width), tf.int32)
    x = tf.range(width)[None, None, :] + tf.zeros((1, height, 1), tf.int32)
    which = tf.cast(orientation * 8.0, tf.int32)
    swapped = which >= 4
    y, x = tf.where(swapped, x, y), tf.where(swapped, y, x)
    y, x = tf.where(which % 2 == 1, -y, y), tf.where(which % 4 >= 2, -x, x)
    return y + tf.cast(place_y * (side_y or height), tf.int32), x + tf.cast(place_x * (side_x or width), tf.int32)


def look_up(image, y, x):
    """(B, H, W, C) of the picture at whole coordinates (B, H, W), reflected at the borders."""
    _, height, width, channels = image.shape
    index = _reflect(y, height) * width + _reflect(x, width)
    return tf.gather(tf.reshape(image, (-1, height * width, channels)), index, batch_dims=1)


def _reflect(at, side):
    """... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    at = tf.math.floormod(at, 2 * side)
    return tf.minimum(at, 2 * side - 1 - at)
