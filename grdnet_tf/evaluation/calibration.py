"""Thresholds of a run: fitted on good images it did not train on, and kept with it in calibration.json."""
import json
import logging
import os
from typing import NamedTuple

from ..errors import InputError
from ..storage import write_json
from . import metrics, thresholds
from .histogram import PixelHistogram
from .measure import scan

logger = logging.getLogger(__name__)

FILE = "calibration.json"


class Samples(NamedTuple):
    """The scores of some images and of their pixels; the last two as cut by the ROI, or None without one."""
    image: metrics.Ranking
    pixel: metrics.Ranking
    image_roi: object
    pixel_roi: object
    source: str


def collect(predict, batches, records, pool, source) -> Samples:
    """Scores of `records`; arguments as of `evaluation.scan`. `source` says in words what they are."""
    rows, histogram = [], PixelHistogram()
    for seen in scan(predict, batches, records, pool):
        inside = seen.mask if seen.mask is None or seen.roi is None else seen.mask & seen.roi
        label_roi = seen.record.label if inside is None else int(inside.any())
        rows.append((seen.score, seen.record.label, seen.score_roi, label_roi))
        if seen.mask is not None:
            histogram.add(seen.anomaly_map, seen.mask, seen.roi)
    score, label, score_roi, label_roi = zip(*rows)
    cells, has_roi = histogram.cells(), any(record.roi for record in records)
    return Samples(metrics.rank(score, label), metrics.rank_pixels(cells),
                   metrics.rank(score_roi, label_roi) if has_roi else None,
                   metrics.rank_pixels(cells, inside_roi=True) if has_roi else None, source)


def describe(method, records) -> str:
    """In words, what `records` are that `method` is fitted on."""
    if method.startswith("best_f1:"):
        defective = sum(record.label for record in records)
        return f"{len(records)} test images, {defective} of them defective, of {method.partition(':')[2]}"
    return f"{len(records)} good images that the run held out"


def calibrate(for_images: Samples, for_pixels: Samples, image_method=thresholds.IMAGE_METHOD,
              pixel_method=thresholds.PIXEL_METHOD) -> dict:
    """{"image", "pixel", and with a ROI "image_roi", "pixel_roi"}, each a `thresholds.Threshold` as plain data.

    Raises: InputError naming the samples on which a method cannot be fitted.
    """
    found = {}
    for name, samples, method in (("image", for_images, image_method), ("pixel", for_pixels, pixel_method)):
        for key in (name, name + "_roi"):
            ranking = getattr(samples, key)
            if ranking is None:
                continue
            try:
                threshold = thresholds.fit(ranking, method, independent=name == "image")
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{samples.source}: {error}") from None
            found[key] = dict(threshold._asdict(), fitted_on=samples.source)
    return found


def fit(predictor, sources, image_method=thresholds.IMAGE_METHOD, pixel_method=thresholds.PIXEL_METHOD) -> dict:
    """`calibrate` on what `predictor`, a `predicting.Predictor`, says of `sources`, {method: records to fit it on}."""
    samples = {method: collect(predictor.predict, predictor.batches(chosen), chosen, predictor.pool,
                               describe(method, chosen)) for method, chosen in sources.items()}
    return calibrate(samples[image_method], samples[pixel_method], image_method, pixel_method)


def keep(run: str, found: dict, weights_sha256: str) -> None:
    """`store`, or only a warning where the run cannot be written to: it can be used all the same."""
    try:
        store(run, found, weights_sha256)
    except InputError as error:
        logger.warning("warning: %s", error)


def store(run: str, found: dict, weights_sha256: str) -> None:
    """Write RUN/calibration.json. It belongs to these weights."""
    write_json(os.path.join(run, FILE), {"weights_sha256": weights_sha256, "thresholds": found})


def load(run: str, weights_sha256: str) -> dict:
    """The thresholds that were stored for these weights; {} if there are none. InputError if the file is damaged."""
    path = os.path.join(run, FILE)
    if not os.path.isfile(path):
        return {}
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
        return content["thresholds"] if content["weights_sha256"] == weights_sha256 else {}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; delete it, and the thresholds are fitted again") from None
