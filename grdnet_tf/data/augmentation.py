"""Random rotation, flips and crop of picture and region of interest together (the paper: a turn in [-pi/2, pi/2]).

And light: a gain and a contrast of the whole picture; light, focus and noise of a camera. What is drawn into it later, a
shade too, is local, and stays so.
"""
from __future__ import annotations

import warnings
from typing import Optional, Tuple

import tensorflow as tf

from ..compat import KERAS_3
from . import varying

# Folded into the sample's seed, so that noise and augmentation share no numbers.
_STREAM, _LIGHT, _CAMERA, _GRAIN = 0xA061, 0xA062, 0xA063, 0xA064


def augment(image, roi, seed, **options):
    """One sample, turned by an angle from [-rotation, rotation] rad, flipped and cropped, image and ROI together.

    image (H, W, C) float32, resampled bilinearly; roi (H, W, 1), nearest neighbour; seed (2,) int32, of which all
    numbers drawn are a pure function; options as `augment_batch` has them. Both get the same `border`: "reflect",
    "nearest" and "wrap" continue the picture and the ROI along with it; "constant" is black, and outside the ROI.
    Returns (image, roi), (h, w, C) and (h, w, 1) with a `crop` of (h, w).
    """
    images, rois = augment_batch(image[None], roi[None], seed[None], **options)
    return images[0], rois[0]


def augment_batch(images, rois, seeds, *, rotation: float, flip_horizontal: bool, flip_vertical: bool, border: str,
                  crop: Optional[Tuple[int, int]] = None, turned: float = 1.0, brightness: float = 0.0,
                  contrast: float = 0.0, varied: float = 0.0):
    """`augment` of a batch: (B, H, W, C), (B, H, W, 1) or None, (B, 2) -> the same. Each sample has its own seed.

    Only a share of `turned` is turned. The others keep every pixel as it is: a turn blurs a picture a little, and a
    network that sees none but blurred ones takes the grain of the pictures to be inspected for something new.
    `crop` (h, w) keeps a window of that size, at a whole-pixel place that is uniform in the turned and flipped picture.
    Then x -> gain (mean + factor (x - mean)), cut to [0, 1]: the gain from 1 +- `brightness`, the factor from 1 +-
    `contrast`, the mean that of the picture. Last, a share of `varied` is as `varying.varied` would have it, but neither
    moved nor compressed.
    """
    if rotation or flip_horizontal or flip_vertical or crop:
        images, rois = _placed(images, rois, seeds, rotation, flip_horizontal, flip_vertical, border, crop, turned)
    images = _lit(images, seeds, brightness, contrast) if brightness or contrast else images
    return (_varied(images, seeds, varied) if varied else images), rois


def _placed(images, rois, seeds, rotation, flip_horizontal, flip_vertical, border, crop, turned):
    numbers = tf.map_fn(lambda seed: tf.random.stateless_uniform([6], tf.random.experimental.stateless_fold_in(
        seed, _STREAM)), seeds, fn_output_signature=tf.float32)  # (B, 6): 1 ms a batch
    angles = tf.where(numbers[:, 5] < turned, rotation * (2.0 * numbers[:, 0] - 1.0), 0.0)
    transforms = _transforms(angles, tf.logical_and(numbers[:, 1] < 0.5, flip_horizontal),
                             tf.logical_and(numbers[:, 2] < 0.5, flip_vertical), tf.shape(images)[1:3])
    if crop:
        room = [float(side - kept + 1) for side, kept in zip(images.shape[1:3], crop)]
        transforms = _shifted(transforms, tf.floor(numbers[:, 3] * room[0]), tf.floor(numbers[:, 4] * room[1]))
    images = _warp(images, transforms, "bilinear", border, crop)
    return images, rois if rois is None else _warp(rois, transforms, "nearest", border, crop)


def _lit(images, seeds, brightness, contrast):
    drawn = tf.map_fn(lambda seed: tf.random.stateless_uniform([2], tf.random.experimental.stateless_fold_in(
        seed, _LIGHT), -1.0, 1.0), seeds, fn_output_signature=tf.float32)  # (B, 2)
    gain, factor = (1.0 + drawn[:, None, None, i:i + 1] * far for i, far in enumerate((brightness, contrast)))
    mean = tf.reduce_mean(images, (1, 2, 3), keepdims=True)
    return tf.clip_by_value(gain * (mean + factor * (images - mean)), 0.0, 1.0)


def _varied(images, seeds, share):
    """`varying.varied` of a batch, without its shift and its JPEG."""
    fold = tf.random.experimental.stateless_fold_in
    numbers, grain = tf.map_fn(lambda seed: (
        tf.random.stateless_uniform([6], fold(seed, _CAMERA)),
        tf.random.stateless_normal(tf.shape(images)[1:], fold(seed, _GRAIN))), seeds,
        fn_output_signature=(tf.float32, tf.float32))
    chosen, gain, gamma, sharp, sigma, noise = tf.unstack(numbers[:, None, None, None], axis=-1)  # (B, 1, 1, 1) each
    peak = tf.reduce_max(images, (1, 2, 3), keepdims=True)
    changed = peak * tf.math.divide_no_nan(images, peak) ** (1 + varying.GAMMA * (2 * gamma - 1))
    changed = tf.clip_by_value((1 + varying.GAIN * (2 * gain - 1)) * changed, 0.0, 1.0)
    least, most = varying.FOCUS
    beside = tf.exp(-0.5 / (least + (most - least) * sigma) ** 2)  # of 1 in the middle: a Gaussian of three pixels
    beside = tf.where(sharp < 0.5, 0.0, beside / (1 + 2 * beside))
    for axis in (1, 2):
        padded = tf.pad(changed, [[0, 0], *([1, 1] if i == axis else [0, 0] for i in (1, 2)), [0, 0]], "SYMMETRIC")
        before, after = (padded[:, :-2], padded[:, 2:]) if axis == 1 else (padded[:, :, :-2], padded[:, :, 2:])
        changed += beside * (before + after - 2 * changed)
    changed += varying.NOISE * noise * peak * grain
    return tf.where(chosen < share, tf.clip_by_value(changed, 0.0, 1.0), images)


def _shifted(transforms, y, x):
    """The same transforms with the output's (0, 0) at (x, y) of what they gave before."""
    a0, a1, a2, b0, b1, b2, zero, _ = tf.unstack(transforms, axis=1)
    return tf.stack([a0, a1, a2 + a0 * x + a1 * y, b0, b1, b2 + b0 * x + b1 * y, zero, zero], 1)


def _transforms(angles, flip_x, flip_y, size):
    """(B, 8): output (x, y) -> input (a0 x + a1 y + a2, b0 x + b1 y + b2): a turn about the centre, then the flips.

    Without flips it is the matrix of `tfa.image.rotate`. A flip maps x to (W - 1) - x: composed here rather than
    done apart, it costs nothing, and the picture is still resampled once.
    """
    height, width = tf.unstack(tf.cast(size, tf.float32) - 1.0)
    cos, sin = tf.cos(angles), tf.sin(angles)
    x_offset = (width - (cos * width - sin * height)) / 2.0
    y_offset = (height - (sin * width + cos * height)) / 2.0
    x_row = tf.stack([cos, -sin, x_offset], 1)  # (B, 3)
    y_row = tf.stack([sin, cos, y_offset], 1)
    x_row = tf.where(flip_x[:, None], tf.stack([0.0, 0.0, width]) - x_row, x_row)
    y_row = tf.where(flip_y[:, None], tf.stack([0.0, 0.0, height]) - y_row, y_row)
    return tf.concat([x_row, y_row, tf.zeros_like(x_row[:, :2])], 1)


def _warp(images, transforms, interpolation, border, size=None):
    size = tf.shape(images)[1:3] if size is None else tf.constant(size)
    if KERAS_3:  # where tensorflow-addons cannot be installed: the op that it calls
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images, transforms=transforms, output_shape=size, fill_value=0.0,
            interpolation=interpolation.upper(), fill_mode=border.upper())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces the end of its support at every import
        import tensorflow_addons
    return tensorflow_addons.image.transform(images, transforms, interpolation, border, output_shape=size)
