"""Thresholds of a run: fitted on good images it did not train on, and kept with it in calibration.json.

They stand nowhere else. With them: how they were made, for which weights, on which pictures, under which settings of
the station (station.yaml), and those that were in force before.
"""
import logging
import os
import time
from typing import NamedTuple, Optional, Tuple

import numpy as np

from ..console import watched
from ..errors import InputError
from ..kinds import OptionError, Section, pair, whole
from ..options import Share
from ..storage import read_json, write_json
from . import metrics, thresholds
from .histogram import PixelHistogram
from .measure import Least, scan

logger = logging.getLogger(__name__)

FILE = "calibration.json"
LARGEST = 500  # scores that are kept of the good pictures; of more, as many quantiles
WHOLE = {"min_area": 1, "tiles": None, "roi_sha256": None}  # under which settings: those of a run that was told none


class Kept(Section):
    """A `thresholds.Threshold` as it is kept, and what it was fitted on, in words."""
    value: Share
    method: str
    n: whole(1, 2**62)
    above: whole(0, 2**62)
    false_reject_interval: Optional[pair(Share)]
    fitted_on: str
    good_scores: Optional[Tuple[Share, ...]] = None


class Samples(NamedTuple):
    """The scores of some images and of their pixels; those as cut by the ROI are None without one.

    `highest`: the good picture with the highest score, inside the ROI where there is one; None without good ones.
    """
    image: metrics.Ranking
    pixel: metrics.Ranking
    image_roi: object
    pixel_roi: object
    source: str
    highest: Optional[str] = None


def collect(predict, batches, records, pool, source, least=None, sees_roi=False) -> Samples:
    """Scores of `records`; arguments as of `measure.scan`. `source` says in words what they are."""
    rows, paths, histogram, given = [], [], PixelHistogram(), PixelHistogram()
    for seen in scan(predict, batches, records, pool, least, sees_roi):
        inside = seen.mask if seen.mask is None or seen.roi is None else seen.mask & seen.roi
        label_roi = seen.record.label if inside is None else int(inside.any())
        rows.append((seen.score, seen.record.label, seen.score_roi, label_roi))
        paths.append(seen.record.image)
        if seen.mask is not None:
            histogram.add(seen.anomaly_map, seen.mask, seen.roi)
            if sees_roi:
                given.add(seen.inside, seen.mask, seen.roi)
    score, label, score_roi, label_roi = zip(*rows)
    cells, has_roi = histogram.cells(), any(record.roi for record in records)
    inside = given.cells() if sees_roi else cells
    good = [(own if has_roi else whole, path) for (whole, label, own, _), path in zip(rows, paths) if not label]
    highest = max(good)[1] if good else None
    return Samples(metrics.rank(score, label), metrics.rank_pixels(cells),
                   metrics.rank(score_roi, label_roi) if has_roi else None,
                   metrics.rank_pixels(inside, inside_roi=True) if has_roi else None, source, highest)


def calibrate(for_images: Samples, for_pixels: Samples, image_method=thresholds.IMAGE_METHOD,
              pixel_method=thresholds.PIXEL_METHOD, look_method=thresholds.LOOK_METHOD) -> dict:
    """{"image", "pixel", "look", and with a ROI the same with "_roi"}, each a `thresholds.Threshold` as plain data.

    Above "image" a picture is rejected, above "look" it is looked at again; that one is never the higher of the two,
    and not there where its method is "none".

    Those of images carry `good_scores`, what production is compared with (`serving.client.Drift`).

    Raises: InputError naming the samples on which a method cannot be fitted.
    """
    found = {}
    asked = [("image", "image", for_images, image_method), ("pixel", "pixel", for_pixels, pixel_method)]
    if look_method != thresholds.NO_LOOK:
        asked.append(("look", "image", for_images, look_method))
    for name, what, samples, method in asked:
        for end in ("", "_roi"):
            ranking, key = getattr(samples, what + end), name + end
            if ranking is None:
                continue
            try:
                most = found["image" + end]["value"] if name == "look" else None
                threshold = thresholds.fit(ranking, method, independent=what == "image", most=most)
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{samples.source}: {error}") from None
            found[key] = dict(threshold._asdict(), fitted_on=samples.source)
            if name == "image":
                found[key]["good_scores"] = good_scores(ranking)
    return found


def _every_good(ranking):
    return np.repeat(ranking.score, ranking.good.astype(int))[::-1]


def good_scores(ranking: metrics.Ranking) -> list:
    """The scores of the good pictures, the lowest first; of more than `LARGEST`, as many at equal shares of them."""
    scores = _every_good(ranking)
    if len(scores) > LARGEST:
        scores = scores[((np.arange(LARGEST) + 0.5) * len(scores) / LARGEST).astype(int)]
    return [float(f"{score:.7g}") for score in scores]


def fit(predictor, sources, image_method=thresholds.IMAGE_METHOD, pixel_method=thresholds.PIXEL_METHOD,
        look_method=thresholds.LOOK_METHOD, min_area=1) -> dict:
    """`calibrate` on what `predictor`, a `predict.Predictor`, says of pictures.

    Args:
      sources: {method of images or of pixels: (records to fit it on, what they are in words)}; looking again is fitted
        on those of the images.
      min_area: pixels of the least region that counts; the threshold of pixels, which makes the regions, comes first.
    """
    def seen(records, words, least=None):
        batches = watched(predictor.batches(records), "pictures for the thresholds", len(records),
                          lambda batch: len(batch["index"]))
        return collect(predictor.predict, batches, records, predictor.pool, words, least, predictor.sees_roi)

    samples = {}
    for records, words in sources.values():
        if words not in samples:  # both methods are mostly fitted on the same pictures: seen once
            samples[words] = seen(records, words)
    for_images, for_pixels = (samples[sources[method][1]] for method in (image_method, pixel_method))
    methods = image_method, pixel_method, look_method
    found = calibrate(for_images, for_pixels, *methods)
    least = Least.of(min_area, found)
    if least is not None:
        for_images = seen(*sources[image_method], least)
        found = calibrate(for_images, for_pixels, *methods)
    _warn_of_one(for_images, found)
    return found


def _warn_of_one(samples, found):
    """Where one good picture makes the threshold, far above all the others: it may be none, and hides defects then."""
    end = "" if samples.image_roi is None else "_roi"
    scores = _every_good(getattr(samples, "image" + end))
    if found["image" + end]["value"] == scores[-1] and thresholds.chance_of_gap(scores) < thresholds.ALONE:
        logger.warning("warning: one good picture makes the threshold: %s scores %.3g, the other %d at most %.3g; if it "
                       "shows a defect, take it out of the good pictures", samples.highest, scores[-1], len(scores) - 1,
                       scores[-2])


def keep(run: str, found: dict, weights_sha256: str, pictures_sha256: str, under: Optional[dict] = None) -> None:
    """Write RUN/calibration.json: thresholds of these weights, fitted on these pictures, under these settings.

    What stood there goes to its "history", the newest last. Only a warning where the run cannot be written to: the
    thresholds can be used all the same.
    """
    path, new = os.path.join(run, FILE), {"weights_sha256": weights_sha256, "pictures_sha256": pictures_sha256,
                                          "under": under or WHOLE, "thresholds": found}
    try:
        before, history = _read(path), []
        if before:
            history = before.pop("history", [])
            history += [before] if {key: before.get(key) for key in new} != new else []
        write_json(path, {**new, "made": time.strftime("%Y-%m-%d %H:%M:%S"), "history": history})
    except InputError as error:
        logger.warning("warning: %s", error)


def load(run: str, weights_sha256: str, under: Optional[dict] = None) -> dict:
    """The thresholds that were kept for these weights under these settings; {} if there are none.

    Raises: InputError if the file is damaged, or holds what no threshold can be.
    """
    path = os.path.join(run, FILE)
    try:
        content = _read(path)
        if content is None or content["weights_sha256"] != weights_sha256 or \
                content.get("under", WHOLE) != (under or WHOLE):
            return {}
        found = {name: dict(Kept(**entry)) for name, entry in content["thresholds"].items()}
        for entry in found.values():
            if entry["good_scores"] is None:  # of pixels, and of before they were kept
                del entry["good_scores"]
        if not {"image", "pixel"} <= set(found) <= {name + end for name in ("image", "pixel", "look")
                                                    for end in ("", "_roi")}:
            raise KeyError
        return found
    except OptionError as error:
        raise InputError(f"{path}: {error.key} {error.what}; delete it, and the thresholds are fitted again") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: damaged; delete it, and the thresholds are fitted again") from None


def methods(run: str, weights_sha256: str, said=(None, None, None)) -> Tuple[str, str, str]:
    """How the thresholds of images, pixels, looking again are made: as `said`, as asked for last for these weights, or
    by default.

    Thresholds that were kept by a version that knew no looking again go on without.
    """
    content = _read(os.path.join(run, FILE)) or {}
    found = thresholds.IMAGE_METHOD, thresholds.PIXEL_METHOD, thresholds.LOOK_METHOD
    try:
        if content["weights_sha256"] == weights_sha256:
            kept = content["thresholds"]
            before = kept["image"]["method"], kept["pixel"]["method"], kept.get("look", {}).get("method")
            for method in before:
                thresholds.parse(method or thresholds.LOOK_METHOD)
            found = (*before[:2], before[2] or thresholds.NO_LOOK)
    except (KeyError, TypeError, AttributeError, InputError):
        pass
    return tuple(one or other for one, other in zip(said, found))


def _read(path):
    """What the file holds, or None without one. InputError if it is damaged."""
    if not os.path.isfile(path):
        return None
    try:
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("history", []), list):
            raise ValueError
        return content
    except (OSError, ValueError):
        raise InputError(f"{path}: damaged; delete it, and the thresholds are fitted again") from None
