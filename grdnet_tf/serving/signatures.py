"""What a server can ask an exported model: each signature's inputs and outputs, and the SavedModel that holds them.

    serving_default   images (N, H, W, C) float32 [0, 1]   -> the decision, anomaly_map
    serve_uint8       images (N, H, W, C) uint8            -> the same
    score             images (N, H, W, C) float32 [0, 1]   -> the decision
    serve_roi         images, roi (N, H, W, 1) float32     -> the decision, anomaly_map, valid; 0 outside the ROI
    serve_bytes       image_bytes (N,) string              -> the decision, anomaly_map, valid
    serve_bytes_roi   image_bytes, roi_bytes (N,) string   -> the same, 0 outside the ROI
    serve_bytes_map   image_bytes (N,) string              -> the decision, valid, overlay_bytes (N,) string: PNG
    serve_regions     image_bytes (N,) string              -> the decision, valid, regions (N, 16, 6) float32
    serve_reconstruction  images (N, H, W, C) float32 [0, 1]  -> the decision, reconstruction (N, H, W, C)
    static_b<n>       images (n, H, W, C) float32 [0, 1]   -> the decision, anomaly_map; of fixed shape: TensorRT

A server that knows one signature only calls serving_default: any of the others can stand there too (`default`); then
what is described above under that name is serve_float. Methods without a reconstruction have no serve_reconstruction.
regions: see `found_regions.rows`; not of accepted pictures.

The decision: score (N,) float32, is_anomalous and verdict (N,) int32. is_anomalous is 1 where the score is above the
threshold, verdict then 2; it is 1 where a person should look again, 0 where the picture is accepted. anomaly_map
(N, H, W, 1) float32, like score in [0, 1]; valid (N,) int32 of 0 or 1. What is no picture, pixels that are not finite or
outside [0, 1], an empty ROI, has valid 0, is_anomalous 1, verdict 2, score 1 and a map of ones, and does not touch the
other rows.
"""
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from ..compat import KERAS_3
from ..data.decoding import decode_or_nan, region_or_nan
from ..data.files import MAX_PIXELS
from ..evaluation.thresholds import Limits
from ..model.scoring import anomaly_score
from ..report.pictures import IMAGE_SHARE, jet
from . import found_regions
from .names import DEFAULT, TENSORS

PIXELS, LEAST_FILES = 1 << 23, 16  # of all pictures of a call, as the network gets them; files that any call may bring


class Station(NamedTuple):
    """What of the station's settings is in the graph: (H, W) bool of the ROI, pixels of the least region that counts.

    Where a picture comes with a ROI, that one holds.
    """
    roi: Optional[np.ndarray] = None
    min_area: int = 1


class Signature(NamedTuple):
    """A function of tensors, and what it takes: one `tf.TensorSpec` an argument, named as it is."""
    function: object
    inputs: tuple


def signatures(model, thresholds, batch_sizes=(1, 8), max_pixels=MAX_PIXELS, white=0, station=Station(),
               default=DEFAULT) -> dict:
    """{name: Signature} of `model`, a `folding.inference_half`, at its own picture size.

    Args:
      thresholds: as `calibration.calibrate` gives them; "image" and "look" decide, with a ROI those of it.
      batch_sizes: of the static signatures.
      max_pixels: a picture whose header claims more is not decoded.
      white: the value of a pixel of a file that counts as white, 0: the full range of its depth.
      station: its ROI cuts every picture that comes without one, and "image_roi" decides.
      default: of MAY_BE_DEFAULT, which one serving_default is.
    """
    height, width, channels = size = (*model.image_size, model.channels)
    plain, inside = (Limits(*map(decision_threshold, Limits.of(thresholds, cut))) for cut in (False, True))

    levels = [thresholds.get(name, {}).get("value") for name in ("pixel", "pixel_roi")]
    small = small_roi = None
    if station.min_area > 1:
        small, small_roi = ((levels[0] if level is None else level, station.min_area) for level in levels)

    def detect(images):
        if station.roi is None:
            return _detect(model, images, plain, None, small)
        roi = tf.constant(station.roi[None, ..., None], tf.float32) * tf.ones_like(images[..., :1])
        return _detect(model, images, inside, roi, small_roi)

    def judged(found):
        return {name: found[name] for name in ("score", "is_anomalous", "verdict")}

    def mapped(found):
        return dict(judged(found), anomaly_map=found["anomaly_map"])

    def whole(found):
        return dict(mapped(found), valid=found["valid"])

    def serving_default(images):
        return mapped(detect(tf.ensure_shape(images, (None, *size))))

    def serve_uint8(images):
        return mapped(detect(tf.cast(tf.ensure_shape(images, (None, *size)), tf.float32) / 255.0))

    def score(images):
        return judged(detect(tf.ensure_shape(images, (None, *size))))

    def serve_roi(images, roi):
        roi = tf.ensure_shape(roi, (None, height, width, 1))
        return whole(_detect(model, tf.ensure_shape(images, (None, *size)), inside, roi, small_roi))

    # Functions of their own: in the graph once, for all signatures that read files. No tensor decides a Python `if` in
    # what is traced here: AutoGraph would only take time.
    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def decode(image_bytes):
        return decode_or_nan(image_bytes, (height, width), channels, max_pixels, white)

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def decode_region(roi_bytes):
        return region_or_nan(roi_bytes, (height, width), max_pixels)

    def decode_both(files):
        return decode(files[0]), decode_region(files[1])

    def decoded(read, files, shapes):
        """One after the other, so that a batch takes the memory of its largest file, and no more files than allowed."""
        few = tf.raw_ops.Assert(condition=tf.size(tf.nest.flatten(files)[0]) <= most_files(height, width), data=[
            tf.constant(f"more than {most_files(height, width)} files in one call")])
        with tf.control_dependencies([] if few is None else [few]):
            files = tf.nest.map_structure(tf.identity, files)
        return tf.map_fn(read, files, fn_output_signature=shapes, parallel_iterations=1)

    picture, region = tf.TensorSpec(size, tf.float32), tf.TensorSpec((height, width, 1), tf.float32)

    def serve_bytes(image_bytes):
        return whole(detect(decoded(decode, image_bytes, picture)))

    def serve_bytes_roi(image_bytes, roi_bytes):
        images, roi = decoded(decode_both, (image_bytes, roi_bytes), (picture, region))
        return whole(_detect(model, images, inside, roi, small_roi))

    def serve_bytes_map(image_bytes):
        images = decoded(decode, image_bytes, picture)
        found = detect(images)
        return dict(judged(found), valid=found["valid"], overlay_bytes=_overlays(images, found["anomaly_map"]))

    def serve_regions(image_bytes):
        found = detect(decoded(decode, image_bytes, picture))
        own = [levels[1]] if station.roi is not None else []
        level = next(value for value in (*own, levels[0], thresholds["image"]["value"]) if value is not None)
        doubtful = tf.reshape(tf.minimum(found["verdict"], 1) * found["valid"], (-1, 1, 1, 1))
        shown = found["anomaly_map"] * tf.cast(doubtful, tf.float32)
        return dict(judged(found), valid=found["valid"], regions=found_regions.rows(shown, level, station.min_area))

    def serve_reconstruction(images):
        found = detect(tf.ensure_shape(images, (None, *size)))
        return dict(judged(found), reconstruction=tf.ensure_shape(found["reconstruction"], (None, *size)))

    images = tf.TensorSpec((None, *size), tf.float32, "images")
    image_bytes, roi_bytes = (tf.TensorSpec((None,), tf.string, name) for name in ("image_bytes", "roi_bytes"))
    found = {
        "serving_default": Signature(serving_default, (images,)),
        "serve_uint8": Signature(serve_uint8, (tf.TensorSpec((None, *size), tf.uint8, "images"),)),
        "score": Signature(score, (images,)),
        "serve_roi": Signature(serve_roi, (images, tf.TensorSpec((None, height, width, 1), tf.float32, "roi"))),
        "serve_bytes": Signature(serve_bytes, (image_bytes,)),
        "serve_bytes_roi": Signature(serve_bytes_roi, (image_bytes, roi_bytes)),
        "serve_bytes_map": Signature(serve_bytes_map, (image_bytes,)),
        "serve_regions": Signature(serve_regions, (image_bytes,)),
    }
    if model.reconstructs:
        found["serve_reconstruction"] = Signature(serve_reconstruction, (images,))
    for batch in batch_sizes:
        found[f"static_b{batch}"] = Signature(lambda images: mapped(detect(images)),
                                              (tf.TensorSpec((batch, *size), tf.float32, "images"),))
    if default != DEFAULT:
        found.update({TENSORS: found[DEFAULT], DEFAULT: found[default]})
    return found


def write_saved_model(folder: str, model, thresholds, batch_sizes=(1, 8), max_pixels=MAX_PIXELS, white=0,
                      station=Station(), default=DEFAULT) -> dict:
    """Write `signatures` as a SavedModel to `folder`, and return them. The weights are in it once."""
    offered = signatures(model, thresholds, batch_sizes, max_pixels, white, station, default)
    root = tf.Module()  # what holds the variables; of a Keras model of Keras 3 they lie within Keras' own
    root.weights = [weight.value if KERAS_3 else weight for weight in model.weights]
    # Each traced here, once, though it may have two names: Keras' archive traced it, and `save` once more.
    traced = {signature: tf.function(signature.function, signature.inputs, autograph=False).get_concrete_function()
              for signature in dict.fromkeys(offered.values())}
    tf.saved_model.save(root, folder, {name: traced[signature] for name, signature in offered.items()})
    return offered


def most_files(height: int, width: int) -> int:
    """How many files one call may bring: a byte that is no picture takes as much memory as a picture of H x W."""
    return max(LEAST_FILES, PIXELS // (height * width))


def decision_threshold(value: float) -> np.float32:
    """The largest float32 not above `value`: a float32 score exceeds the one exactly when it exceeds the other."""
    rounded = np.float32(value)
    return rounded if rounded <= value else np.nextafter(rounded, np.float32(-np.inf))


def _detect(model, images, limits, roi=None, small=None):
    """All outputs but overlay and regions. Only ops that TensorRT knows: no "All", "IsFinite" or "LessEqual".

    `small` (level, pixels): regions above it of fewer pixels count for nothing in the score.
    """
    sound = _everywhere(tf.abs(images - 0.5) < 0.501)  # NaN compares as false; resizing may leave [0, 1] by a rounding
    if roi is not None:
        inside = tf.where(roi > 0, 1.0, 0.0)
        sound = tf.logical_and(sound, _everywhere(tf.abs(roi) < np.float32(np.inf)))
        sound = tf.logical_and(sound, tf.reduce_max(inside, axis=[1, 2, 3]) > 0.5)
    found = model(tf.where(_rows(sound), images, 0.0), roi=None if roi is None else inside)
    sound = tf.logical_and(sound, _everywhere(found.anomaly_map < 2.0))  # in half precision a network may overflow
    score = found.score
    if small is not None:
        score = anomaly_score(found_regions.counted(found.anomaly_map, *small), model.score_pool)
    score = tf.where(sound, score, 1.0)
    rejected, doubtful = (_flag(tf.logical_or(score > limit, tf.logical_not(sound)))
                          for limit in (limits.reject, limits.look))
    told = {"score": score, "is_anomalous": rejected, "verdict": rejected + doubtful, "valid": _flag(sound),
            "anomaly_map": tf.where(_rows(sound), found.anomaly_map, 1.0)}
    if found.reconstruction is not None:
        told["reconstruction"] = tf.where(_rows(sound), found.reconstruction, 0.0)
    return told


def _everywhere(condition):
    """(N, h, w, c) bool -> (N,): whether it holds at every pixel."""
    return tf.reduce_min(tf.where(condition, 1.0, 0.0), axis=[1, 2, 3]) > 0.5


def _rows(flags):
    return tf.reshape(tf.where(flags, 1.0, 0.0), (-1, 1, 1, 1)) > 0.5  # (N,) -> (N, 1, 1, 1); TensorRT reshapes no bool


def _flag(condition):
    return tf.where(condition, 1, 0)  # TensorRT casts no bool


def _overlays(images, anomaly_map):
    """(N,) PNG files: the picture under the map in the jet colours, as the sheets of the evaluation show it."""
    colours = tf.constant(jet(np.arange(256, dtype=np.float32)[None] / 255)[0])  # (256, 3) uint8
    heat = tf.gather(colours, tf.cast(anomaly_map[..., 0] * 255 + 0.5, tf.int32))  # (N, H, W, 3)
    picture = tf.floor(tf.where(tf.abs(images - 0.5) < 0.501, images, 0.0) * 255 + 0.5)  # one channel: broadcast
    blended = tf.cast(tf.round(IMAGE_SHARE * picture + (1 - IMAGE_SHARE) * tf.cast(heat, tf.float32)), tf.uint8)
    return tf.map_fn(tf.io.encode_png, blended, fn_output_signature=tf.TensorSpec((), tf.string))
