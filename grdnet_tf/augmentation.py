"""Random rotation and flips of picture and region of interest together (the paper: a turn in [-pi/2, pi/2])."""
from __future__ import annotations

import warnings

import tensorflow as tf

from .compat import KERAS_3

_STREAM = 0xA061  # folded into the sample's seed, so that noise and augmentation share no numbers


def augment(image, roi, seed, *, rotation: float, flip_horizontal: bool, flip_vertical: bool, border: str):
    """One sample, turned by an angle from [-rotation, rotation] rad and flipped, image and ROI together.

    image (H, W, C) float32, resampled bilinearly; roi (H, W, 1), nearest neighbour; seed (2,) int32, of which all
    numbers drawn are a pure function. Both get the same `border`: "reflect", "nearest" and "wrap" continue the
    picture and the ROI along with it; "constant" is black, and outside the ROI. Returns (image, roi).
    """
    images, rois = augment_batch(image[None], roi[None], seed[None], rotation=rotation, border=border,
                                 flip_horizontal=flip_horizontal, flip_vertical=flip_vertical)
    return images[0], rois[0]


def augment_batch(images, rois, seeds, *, rotation: float, flip_horizontal: bool, flip_vertical: bool, border: str):
    """`augment` of a batch: (B, H, W, C), (B, H, W, 1) or None, (B, 2) -> the same. Each sample has its own seed."""
    if not (rotation or flip_horizontal or flip_vertical):
        return images, rois
    numbers = tf.map_fn(lambda seed: tf.random.stateless_uniform([3], tf.random.experimental.stateless_fold_in(
        seed, _STREAM)), seeds, fn_output_signature=tf.float32)  # (B, 3): 1 ms a batch
    transforms = _transforms(rotation * (2.0 * numbers[:, 0] - 1.0),
                             tf.logical_and(numbers[:, 1] < 0.5, flip_horizontal),
                             tf.logical_and(numbers[:, 2] < 0.5, flip_vertical), tf.shape(images)[1:3])
    images = _warp(images, transforms, "bilinear", border)
    return images, rois if rois is None else _warp(rois, transforms, "nearest", border)


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


def _warp(images, transforms, interpolation, border):
    if KERAS_3:  # where tensorflow-addons cannot be installed: the op that it calls
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images, transforms=transforms, output_shape=tf.shape(images)[1:3], fill_value=0.0,
            interpolation=interpolation.upper(), fill_mode=border.upper())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces the end of its support at every import
        import tensorflow_addons
    return tensorflow_addons.image.transform(images, transforms, interpolation, border)
