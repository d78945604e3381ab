"""Does a converted model judge as the one it was made from? Compared on pictures; above a limit the export stops."""
from typing import NamedTuple

import numpy as np

from ...data.decoding import load_image
from ...data.records import evenly, has_split, inspect, list_mvtec
from ...errors import ExportStopped, InputError

CALIBRATION_PICTURES = 64
COMPARED_PICTURES = 500
BATCH = 8


class Limit(NamedTuple):
    """`score`: the largest change of a score (of 1) that passes; `flipped`: the largest share of changed decisions.

    One changed decision always passes: among few pictures it is that of a score beside the threshold.
    """
    score: float
    flipped: float


# fp32 is not exact: on a GPU its products may be rounded to TF32, which keeps as many bits as fp16.
LIMITS = {"fp32": Limit(0.01, 0.01), "fp16": Limit(0.01, 0.01), "int8": Limit(0.05, 0.02)}


class Pictures(NamedTuple):
    """Good pictures to calibrate on and pictures to compare on, as `Record`s."""
    calibration: list
    compared: list
    white: int = 0  # data.white of the run


def find(root: str, white: int = 0) -> Pictures:
    """Of a data folder in the MVTec layout: out of train/good, and out of test/ (train/good where there is none).

    Evenly spaced in the order of the paths, at most CALIBRATION_PICTURES and COMPARED_PICTURES of them. No TensorFlow.
    Raises: InputError naming the folder or file that cannot be used.
    """
    good = list_mvtec(root, "train")
    test = list_mvtec(root, "test") if has_split(root, "test") else good
    chosen = evenly(good, CALIBRATION_PICTURES), evenly(test, COMPARED_PICTURES)
    return Pictures(*(inspect([record._replace(mask=None, roi=None) for record in records], white=white).records
                      for records in chosen), white)


def load(records, image_size, channels, white=0) -> np.ndarray:
    """(N, H, W, C) float32 in [0, 1]."""
    return np.stack([load_image(record.image, image_size, channels, white).numpy() for record in records])


def gate(precision: str, reference, candidate, records, image_size, channels: int, limits,
         white: int = 0) -> dict:
    """Compare two models on `records`.

    Args:
      precision: a key of LIMITS.
      reference, candidate: functions from images (n, H, W, C) float32 to scores (n,).
      limits: the thresholds, one or several: a decision is between which of them a score lies.
      white: data.white of the run.

    Returns: {"pictures", "largest_score_difference", "mean_score_difference", "flipped"} for the manifest.
    Raises: ExportStopped where a limit is passed, naming the worst picture.
    """
    scores = []
    for start in range(0, len(records), BATCH):
        images = load(records[start:start + BATCH], image_size, channels, white)
        scores.append((reference(images), candidate(images)))
    expected, found = (np.concatenate(parts).astype(np.float64) for parts in zip(*scores))
    return judge(precision, expected, found, limits, [record.image for record in records])


def judge(precision: str, expected, found, limits, names) -> dict:
    """`gate` of scores that are known already."""
    if not len(expected):
        raise InputError(f"--precision {precision}: no pictures to compare on")
    limit, difference = LIMITS[precision], np.abs(expected - found)
    levels = np.reshape(limits, (-1, 1))
    flipped = (expected > levels).sum(axis=0) != (found > levels).sum(axis=0)
    worst = int(np.argmax(np.where(np.isfinite(difference), difference, np.inf)))
    if not difference[worst] <= limit.score:  # NaN is not
        raise ExportStopped(f"{precision}: the score of {names[worst]} is {found[worst]:.4f}, the SavedModel's "
                            f"{expected[worst]:.4f}; at most {limit.score:g} apart passes")
    if flipped.sum() > max(1, limit.flipped * len(names)):
        first = names[int(np.argmax(flipped))]
        raise ExportStopped(f"{precision}: {flipped.sum()} of {len(names)} decisions are not those of the SavedModel, "
                            f"the first on {first}; at most {limit.flipped:.0%}, or one, passes")
    return {"pictures": len(names), "largest_score_difference": float(difference.max()),
            "mean_score_difference": float(difference.mean()), "flipped": int(flipped.sum())}
