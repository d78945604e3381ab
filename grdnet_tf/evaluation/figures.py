"""The figures of a report, out of one row an image and one histogram of pixels a type of defect. NumPy only.

Three readings, told apart by the suffix of a key:
    (none)         the raw map and score against the whole ground truth
    _roi           map and score cut by the ROI, ground truth cut by the ROI: a line that gives the ROI with each image
    _roi_unmasked  the raw map and score, ground truth cut by the ROI: what the *network* learnt of the ROI

An image counts as defective in the last two where its ground truth meets the ROI. A figure that is not defined is None,
and the reason stands in "absent" under the same key.
"""
from typing import NamedTuple, Optional, Sequence

import numpy as np

from . import metrics
from .histogram import PixelHistogram
from .regions import Defect, Region, by_size
from .thresholds import Limits

READINGS = ("", "_roi", "_roi_unmasked")
NO_ROI = "the data has no ROI"
NO_MASKS = "no ground-truth masks"
NO_THRESHOLD = "no threshold: there are no held-out good images to fit one on"
NONE_OUTSIDE = "no image whose defect lies wholly outside the ROI"


class Row(NamedTuple):
    """What is kept of an image. `label_roi`: whether its ground truth meets the ROI. `score_roi`: of the cut map.

    `n_regions` found (None without a pixel threshold), the first of them in `regions`; `defects`: each region of its
    ground truth, cut by the ROI if there is one, and whether it was found.
    """
    path: str
    defect: str
    label: int
    label_roi: int
    score: float
    score_roi: float
    n_regions: Optional[int] = None
    regions: Sequence[Region] = ()
    defects: Sequence[Defect] = ()

    def judged(self, reading):
        """(score, label) in one reading."""
        return (self.score_roi if reading == "_roi" else self.score), (self.label_roi if reading else self.label)


def summarise(rows, histograms, thresholds, has_roi, resamples=1000, given=None) -> dict:
    """The whole report as plain data.

    Args:
      rows: one `Row` an image.
      histograms: {type: PixelHistogram} of the images whose ground truth is known.
      thresholds: as `calibration.calibrate` gives them, or {}.
      given: as `histograms`, of the maps of a network that was shown the ROI; None: its maps are no others.
    """
    whole = [None if found is None else _merged(found.values()) for found in (histograms, given)]
    report = _measure(rows, *whole, thresholds, has_roi)
    report.update(n_images=len(rows), n_defective=sum(row.label for row in rows),
                  n_defective_roi=sum(row.label_roi for row in rows) if has_roi else None)
    readings = READINGS if has_roi else READINGS[:1]
    report["intervals"] = {name + reading: metrics.bootstrap(*_judged(rows, reading), metric, resamples)
                           for reading in readings
                           for name, metric in (("image_auroc", "auroc"), ("image_ap", "average_precision"))}
    report["per_type"] = {name: _one_type(name, rows, (histograms, given), thresholds, has_roi)
                          for name in sorted({row.defect for row in rows})}
    report["sizes"] = by_size([defect for row in rows for defect in row.defects])
    report["curves"] = {reading: _curves(rows, reading) for reading in readings}
    report["thresholds"] = {name: {key: value for key, value in entry.items() if key != "good_scores"}
                            for name, entry in thresholds.items()}
    return report


def _one_type(name, rows, both, thresholds, has_roi):
    """The same figures for one type of defect against the good images."""
    chosen = [row for row in rows if row.defect in (name, "good")]
    pixels = [None if found is None else _merged(found[part] for part in sorted({name, "good"}) if part in found)
              for found in both]
    own = [row for row in rows if row.defect == name]
    return dict(_measure(chosen, *pixels, thresholds, has_roi), n_images=len(own),
                sizes=by_size([defect for row in own for defect in row.defects]))


def _measure(rows, histogram, given, thresholds, has_roi):
    """The flat keys of all readings, and "absent"."""
    report, absent, cells = {}, {}, histogram.cells()
    inside = (cells, histogram) if given is None else (given.cells(), given)
    for reading in READINGS:
        ranking = metrics.rank(*_judged(rows, reading))
        limits = Limits.of(thresholds, inside=reading == "_roi")
        at = metrics.decisions(ranking, *limits) if limits else metrics.Decisions(*[None] * 5)
        reason = metrics.missing(ranking)
        found = {"image_auroc": (metrics.auroc(ranking), reason),
                 "image_ap": (metrics.average_precision(ranking), reason),
                 "image_f1_max": (metrics.f1_max(ranking)[0], reason),
                 "threshold": (limits and limits.reject, NO_THRESHOLD), "look": (limits and limits.look, NO_THRESHOLD)}
        found.update({name: (share, reason if limits else NO_THRESHOLD) for name, share in at._asdict().items()})
        pixels, shares, n_regions = _pixels(*(inside if reading == "_roi" else (cells, histogram)), reading)
        reason = metrics.missing(pixels, "pixels")
        if not histogram.n_regions and any(row.label for row in rows):
            reason = NO_MASKS
        found.update(pixel_auroc=(metrics.auroc(pixels), reason), pixel_ap=(metrics.average_precision(pixels), reason),
                     pixel_f1_max=(metrics.f1_max(pixels)[0], reason),
                     aupro=(metrics.aupro(pixels, shares, n_regions), reason),
                     aupro_05=(metrics.aupro(pixels, shares, n_regions, limit=0.05), reason))
        for name, (number, reason) in found.items():
            _put(report, absent, name + reading, number, NO_ROI if reading and not has_roi else None, reason)
    outside = [row.score for row in rows if row.label and not row.label_roi]
    fired = thresholds and outside and float(np.mean(np.array(outside) > thresholds["image"]["value"]))
    _put(report, absent, "outside_roi_alarm_rate", fired if thresholds and outside else None,
         None if has_roi else NO_ROI, NONE_OUTSIDE if thresholds else NO_THRESHOLD)
    return dict(report, absent=absent)


def _put(report, absent, key, value, forbidden, reason):
    report[key] = None if forbidden else value
    if report[key] is None:
        absent[key] = forbidden or reason


def _pixels(cells, histogram, reading):
    """(ranking of the pixels, region shares, number of regions) in one reading."""
    if reading == "_roi":
        return metrics.rank_pixels(cells, inside_roi=True), cells.regions_roi, histogram.n_regions_roi
    ranking = metrics.rank_pixels(cells)
    if reading == "":
        return ranking, cells.regions, histogram.n_regions
    inside = cells.defective[:, 1].astype(np.float64)
    ranking = metrics.Ranking(cells.score, ranking.good + ranking.defective - inside, inside)
    return ranking, cells.regions_roi, histogram.n_regions_roi


def _judged(rows, reading):
    """(scores, labels) of all rows."""
    judged = [row.judged(reading) for row in rows]
    return np.array([score for score, _ in judged]), np.array([label for _, label in judged])


def _curves(rows, reading):
    ranking = metrics.rank(*_judged(rows, reading))
    return None if metrics.missing(ranking) else metrics.curve(ranking)


def _merged(histograms):
    total = PixelHistogram()
    for histogram in histograms:
        total.merge(histogram)
    return total
