"""Predict a data set and measure the result: for the whole image, inside the ROI, and by type of defect.

Three readings, told apart by the suffix of a key in the report:
    (none)         the raw map and score against the whole ground truth
    _roi           map and score cut by the ROI, ground truth cut by the ROI: a line that gives the ROI with each image
    _roi_unmasked  the raw map and score, ground truth cut by the ROI: what the *network* learnt of the ROI

An image counts as defective in the last two where its ground truth meets the ROI. Images stream through; what is kept is
one row an image and one `PixelHistogram` a type.
"""
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf
from skimage.measure import label as connected

from . import metrics, thresholds
from .errors import InputError
from .pixel_histogram import PixelHistogram
from .scoring import anomaly_score

READINGS = ("", "_roi", "_roi_unmasked")
NO_ROI = "the data has no ROI"
NO_MASKS = "no ground-truth masks"
NO_CALIBRATION = "no held-out good images to fit a threshold on"
OUTSIDE = "no image whose defect lies wholly outside the ROI"
PIXEL_METHOD = "quantile:0.999"


class Seen(NamedTuple):
    """One image as it was predicted; `anomaly_map` raw, arrays (H, W) but for the two pictures (H, W, C)."""
    record: object
    image: np.ndarray
    reconstruction: np.ndarray
    anomaly_map: np.ndarray
    roi: Optional[np.ndarray]   # bool; None: the record has none
    mask: Optional[np.ndarray]  # bool; None: not known where the defect is
    score: float
    score_roi: float            # of the map cut by the ROI


class Row(NamedTuple):
    """What is kept of an image. `label_roi`: whether its ground truth meets the ROI."""
    path: str
    defect: str
    label: int
    label_roi: int
    score: float
    score_roi: float


class Evaluation(NamedTuple):
    """`report` is plain data, ready for JSON; one row an image."""
    report: dict
    rows: list


def predictor(model):
    """`model` as a compiled function of images alone: (reconstruction, raw anomaly map, score)."""
    return tf.function(lambda images: tuple(model(images, training=False)), reduce_retracing=True)


def scan(predict, batches, records, pool):
    """Yields `Seen` for each record, in the order of `batches`.

    Args:
      predict: images (B, H, W, C) -> (reconstruction, anomaly_map (B, H, W, 1) raw, score (B,)).
      batches: dicts {"image", "roi", "mask", "index"} as `pipeline.evaluation_dataset` makes them of `records`.
      pool: side of the score's average pool.

    Raises: InputError naming the image whose map holds NaN or leaves [0, 1].
    """
    for batch in batches:
        detection = predict(batch["image"])
        maps, scores = np.asarray(detection[1], np.float32), np.asarray(detection[2], np.float32)
        chosen = [records[i] for i in np.asarray(batch["index"])]
        for record, single in zip(chosen, maps):
            if not (single.min() >= 0 and single.max() <= 1):
                what = "holds NaN" if np.isnan(single).any() else "leaves [0, 1]"
                raise InputError(f"{record.image}: the anomaly map {what}; the run's weights cannot be used")
        rois, masks = np.asarray(batch["roi"])[..., 0] > 0, np.asarray(batch["mask"])[..., 0] > 0
        cut = scores
        if any(record.roi for record in chosen):
            cut = np.asarray(anomaly_score(maps, pool, batch["roi"]))
        images, reconstructions = np.asarray(batch["image"]), np.asarray(detection[0])
        for i, record in enumerate(chosen):
            known = record.mask is not None or not record.label
            yield Seen(record, images[i], reconstructions[i], maps[i, ..., 0], rois[i] if record.roi else None,
                       masks[i] if known else None, float(scores[i]), float(cut[i]) if record.roi else float(scores[i]))


def calibrate(predict, batches, records, pool=21, method="max_normal", pixel_method=PIXEL_METHOD) -> dict:
    """Thresholds from good images that were not trained on: {"image", "pixel", and with a ROI "image_roi", "pixel_roi"}."""
    rows, histogram = [], PixelHistogram()
    for seen in scan(predict, batches, records, pool):
        if seen.record.label:
            raise ValueError(f"{seen.record.image} is defective: a threshold is fitted on good images alone")
        rows.append((seen.score, seen.score_roi))
        histogram.add(seen.anomaly_map, roi=seen.roi)
    cells = histogram.cells()
    found = {"image": thresholds.fit([row[0] for row in rows], method),
             "pixel": thresholds.fit_pixels(cells.score, cells.good.sum(axis=1), pixel_method)}
    if any(record.roi for record in records):
        found["image_roi"] = thresholds.fit([row[1] for row in rows], method)
        found["pixel_roi"] = thresholds.fit_pixels(cells.score, cells.good[:, 1], pixel_method)
    return {name: threshold._asdict() for name, threshold in found.items()}


def evaluate(predict, batches, records, *, pool=21, calibration=None, resamples=1000) -> Evaluation:
    """All metrics of `predict` on `records`; arguments as of `scan`, `calibration` as `calibrate` gives it.

    Numbers that are not defined are None in the report, and "absent" gives the reason under the same key.
    """
    rows, histograms, lost = [], {}, []
    for seen in scan(predict, batches, records, pool):
        record, mask = seen.record, seen.mask
        inside = mask if seen.roi is None or mask is None else mask & seen.roi
        if record.label and mask is not None and not mask.any():  # too small to survive the resize
            lost.append(record.image)
            mask = inside = None
        label_roi = record.label if inside is None else int(inside.any())
        rows.append(Row(record.image, record.defect, record.label, label_roi, seen.score, seen.score_roi))
        if mask is None:
            continue
        regions = connected(mask, connectivity=2) if record.label else None  # 8 neighbours, as in MVTec's own code
        regions_roi = regions if seen.roi is None or not record.label else connected(inside, connectivity=2)
        histograms.setdefault(record.defect, PixelHistogram()).add(seen.anomaly_map, mask, seen.roi, regions, regions_roi)
    if len(rows) != len(records):
        raise ValueError(f"{len(rows)} images came for {len(records)} records")
    has_roi = any(record.roi for record in records)
    everything = _merged(histograms.values())
    report, absent = {}, {}
    _measure(report, absent, rows, everything, calibration, has_roi)
    report.update(n_images=len(rows), n_defective=sum(row.label for row in rows),
                  n_defective_roi=sum(row.label_roi for row in rows) if has_roi else None)
    report["intervals"] = _intervals(rows, has_roi, resamples)
    report["per_type"] = {name: _per_type(name, rows, histograms, calibration, has_roi)
                          for name in sorted({row.defect for row in rows})}
    report["absent"] = absent
    report["thresholds"] = calibration or {}
    report["warnings"] = [f"{path}: its mask vanishes when it is resized; the image is left out of the pixel metrics"
                          for path in lost]
    unknown = sum(1 for record in records if record.label and record.mask is None)
    if unknown and everything.n_regions:
        report["warnings"].append(f"{unknown} defective images have no mask; they are left out of the pixel metrics")
    return Evaluation(report, rows)


def _measure(report, absent, rows, histogram, calibration, has_roi):
    """Fill `report` with the flat keys of all readings, and `absent` with the reason for each that is None."""
    cells = histogram.cells()
    for suffix in READINGS:
        cut = suffix == "_roi" and has_roi
        labels = np.array([row.label_roi if suffix else row.label for row in rows])
        scores = np.array([row.score_roi if cut else row.score for row in rows])
        ranking = metrics.rank(scores, labels)
        threshold = (calibration or {}).get("image_roi" if cut else "image", {}).get("value")
        reason = metrics.missing(ranking)
        values = {"image_auroc": metrics.auroc(ranking), "image_ap": metrics.average_precision(ranking),
                  "image_f1_max": metrics.f1_max(ranking)[0]}
        _put(report, absent, suffix, values, NO_ROI if suffix and not has_roi else reason)
        at = metrics.decisions(ranking, threshold) if threshold is not None else metrics.Decisions(None, None, None)
        _put(report, absent, suffix, {"threshold": threshold, **at._asdict()},
             NO_ROI if suffix and not has_roi else NO_CALIBRATION if threshold is None else reason)
        pixels, regions, n_regions = _pixels(cells, histogram, suffix)
        reason = NO_MASKS if not histogram.n_regions and any(row.label for row in rows) else metrics.missing(pixels, "pixels")
        values = {"pixel_auroc": metrics.auroc(pixels), "pixel_ap": metrics.average_precision(pixels),
                  "pixel_f1_max": metrics.f1_max(pixels)[0], "aupro": metrics.aupro(pixels, regions, n_regions),
                  "aupro_05": metrics.aupro(pixels, regions, n_regions, limit=0.05)}
        _put(report, absent, suffix, values, NO_ROI if suffix and not has_roi else reason)
    _put(report, absent, "", {"outside_roi_alarm_rate": _outside_alarms(rows, calibration) if has_roi else None},
         NO_ROI if not has_roi else NO_CALIBRATION if not calibration else OUTSIDE)


def _pixels(cells, histogram, suffix):
    """(ranking of the pixels, region shares, number of regions) in one reading."""
    if suffix == "_roi":
        return metrics.rank_pixels(cells, inside_roi=True), cells.regions_roi, histogram.n_regions_roi
    ranking = metrics.rank_pixels(cells)
    if suffix == "":
        return ranking, cells.regions, histogram.n_regions
    inside = cells.defective[:, 1].astype(np.float64)
    ranking = metrics.Ranking(cells.score, ranking.good + ranking.defective - inside, inside)
    return ranking, cells.regions_roi, histogram.n_regions_roi


def _put(report, absent, suffix, values, reason):
    """Values under their keys; `reason` for those that are None, and with a ROI reading without ROI for all."""
    for name, value in values.items():
        key = name + suffix
        report[key] = None if reason == NO_ROI else value
        if report[key] is None:
            absent[key] = reason


def _outside_alarms(rows, calibration):
    """Share of the images with a defect wholly outside the ROI on whose raw map the model fires all the same."""
    outside = [row.score for row in rows if row.label and not row.label_roi]
    if not outside or not calibration:
        return None
    return float(np.mean(np.array(outside) > calibration["image"]["value"]))


def _intervals(rows, has_roi, resamples):
    found = {}
    for suffix in READINGS if has_roi else ("",):
        scores = [row.score_roi if suffix == "_roi" else row.score for row in rows]
        labels = [row.label_roi if suffix else row.label for row in rows]
        for name, metric in (("image_auroc", "auroc"), ("image_ap", "average_precision")):
            found[name + suffix] = metrics.bootstrap(scores, labels, metric, resamples)
    return found


def _per_type(name, rows, histograms, calibration, has_roi):
    """The same numbers for one type of defect against the good images."""
    chosen = [row for row in rows if row.defect in (name, "good")]
    own = [row for row in rows if row.defect == name]
    report, absent = {"n_images": len(own)}, {}
    parts = [histograms[part] for part in sorted({name, "good"}) if part in histograms]
    _measure(report, absent, chosen, _merged(parts), calibration, has_roi)
    report["absent"] = absent
    return report


def _merged(histograms):
    total = PixelHistogram()
    for histogram in histograms:
        total.merge(histogram)
    return total
