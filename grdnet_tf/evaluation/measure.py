"""Predict a data set, image by image, and measure the result. What the figures mean: `figures`.

Images stream through; what is kept is one `Row` an image and one `PixelHistogram` a type of defect.
"""
from typing import NamedTuple, Optional

import numpy as np

from ..errors import InputError
from ..model.scoring import anomaly_score
from . import figures
from .histogram import PixelHistogram
from .regions import connected, counted, describe, label_found, match
from .thresholds import ACCEPTED, Limits


class Seen(NamedTuple):
    """One image as it was predicted; `anomaly_map` raw, arrays (H, W) but for the two pictures (H, W, C)."""
    record: object
    image: np.ndarray
    reconstruction: Optional[np.ndarray]  # None: the method makes none
    anomaly_map: np.ndarray
    roi: Optional[np.ndarray]   # bool; None: the record has none
    mask: Optional[np.ndarray]  # bool; None: not known where the defect is
    score: float
    score_roi: float            # of the map cut by the ROI
    given: Optional[np.ndarray] = None  # the raw map of a network that was shown the ROI; None: it is `anomaly_map`

    @property
    def label_roi(self) -> int:
        """1 where a defect lies inside the ROI; without a ROI, or where nobody knows where it lies, the record's own."""
        known = self.mask is not None and self.mask.any()
        return int(self.cut(self.mask).any()) if known else self.record.label

    @property
    def inside(self) -> np.ndarray:
        """The map where the ROI is given: cut by it."""
        return self.cut(self.anomaly_map if self.given is None else self.given)

    def cut(self, array):
        """`array` (H, W), a map or a mask, with nothing outside the ROI."""
        return array if array is None or self.roi is None else array * self.roi


class Least(NamedTuple):
    """Regions too small to count: fewer pixels than `min_area` above the level, of the whole map or of the cut one."""
    min_area: int
    level: float
    level_roi: float

    @classmethod
    def of(cls, min_area, thresholds) -> Optional["Least"]:
        """None where all count, or nothing says what a region is."""
        if min_area <= 1 or not thresholds:
            return None
        whole = thresholds["pixel"]["value"]
        return cls(min_area, whole, thresholds.get("pixel_roi", {}).get("value", whole))

    def scores(self, maps, pool, rois=None):
        """(B,) scores of (B, H, W, 1) maps without their small regions; `rois` as the maps, 0 or 1."""
        if pool is None:
            raise InputError("a least area above 1 does not go with a score that is not the map's maximum (patchcore)")
        level = self.level if rois is None else self.level_roi
        maps = maps if rois is None else maps * rois
        kept = np.stack([counted(one, level, self.min_area) for one in np.asarray(maps)[..., 0]])
        return np.asarray(anomaly_score(kept[..., None], pool))


class Evaluation(NamedTuple):
    """`report` is plain data, ready for JSON; `rows` one `figures.Row` an image."""
    report: dict
    rows: list


def scan(predict, batches, records, pool, least: Optional[Least] = None, sees_roi=False):
    """Yields `Seen` for each record, in the order of `batches`.

    Args:
      predict: images (B, H, W, C) -> (reconstruction or None, anomaly_map (B, H, W, 1) raw, score (B,)).
      batches: dicts {"image", "roi", "mask", "index"} as `pipeline.evaluation_dataset` makes them of `records`.
      pool: side of the score's average pool; None: the score is not of the map, `predict` takes the ROI for it.
      least: regions that count nowhere.
      sees_roi: whether `predict` gives another map where it is given (images, roi).

    Raises: InputError naming the image whose map holds NaN or leaves [0, 1].
    """
    for batch in batches:
        reconstructions, maps, scores = predict(batch["image"])
        maps, scores = np.asarray(maps, np.float32), np.asarray(scores, np.float32)
        reconstructions = [None] * len(maps) if reconstructions is None else np.asarray(reconstructions, np.float32)
        chosen = [records[i] for i in np.asarray(batch["index"])]
        given, has_roi = maps, any(record.roi for record in chosen)
        if has_roi and sees_roi:
            given = np.asarray(predict(batch["image"], batch["roi"])[1], np.float32)
        for record, single in zip(2 * chosen, [*maps] if given is maps else [*maps, *given]):
            if not (single.min() >= 0 and single.max() <= 1):
                what = "holds NaN" if np.isnan(single).any() else "leaves [0, 1]"
                raise InputError(f"{record.image}: the anomaly map {what}; the run's weights cannot be used")
        cut = scores = scores if least is None else least.scores(maps, pool)
        if has_roi and least is not None:
            cut = least.scores(given, pool, np.asarray(batch["roi"]))
        elif has_roi:
            cut = anomaly_score(given, pool, batch["roi"]) if pool else predict(batch["image"], batch["roi"])[2]
            cut = np.asarray(cut)
        images, rois, masks = (np.asarray(batch[name]) for name in ("image", "roi", "mask"))
        for i, record in enumerate(chosen):
            known = record.mask is not None or not record.label
            yield Seen(record, images[i], reconstructions[i], maps[i, ..., 0],
                       rois[i, ..., 0] > 0 if record.roi else None, masks[i, ..., 0] > 0 if known else None,
                       float(scores[i]), float(cut[i] if record.roi else scores[i]),
                       given[i, ..., 0] if record.roi and sees_roi else None)


def evaluate(predict, batches, records, *, pool=21, thresholds=None, min_area=1, um_per_pixel=None,
             resamples=1000, sees_roi=False) -> Evaluation:
    """All figures of `predict` on `records`.

    Args:
      predict, batches, records, pool, sees_roi: as of `scan`.
      thresholds: as `calibration.calibrate` gives them; without them no decisions and no regions.
      min_area: pixels; a smaller found region counts nowhere, in the score neither.
      um_per_pixel: function of a record, (height, width) in um of a pixel of its map; None: not known.
      resamples: of the bootstrap intervals.
    """
    rows, histograms, given, lost = [], {}, {}, []
    has_roi = any(record.roi for record in records)
    level = (thresholds or {}).get("pixel_roi" if has_roi else "pixel", {}).get("value")
    limits = Limits.of(thresholds or {}, has_roi)
    for seen in scan(predict, batches, records, pool, Least.of(min_area, thresholds), sees_roi):
        record = seen.record
        if record.label and seen.mask is not None and not seen.mask.any():  # too small to survive the resize
            lost.append(record.image)
            seen = seen._replace(mask=None)
        inside = seen.cut(seen.mask)
        truth = connected(seen.mask) if record.label and seen.mask is not None else None
        truth_roi = connected(inside) if truth is not None and seen.roi is not None else truth
        row = figures.Row(record.image, record.defect, record.label, seen.label_roi, seen.score, seen.score_roi)
        if level is not None:
            scale = um_per_pixel(record) if um_per_pixel else None
            shown = limits.verdict(row.score_roi if has_roi else row.score) != ACCEPTED
            row = _with_regions(row, seen, level, min_area, scale, truth_roi, shown)
        rows.append(row)
        if seen.mask is not None:
            of_type = [(histograms, seen.anomaly_map)] + [(given, seen.inside)] * (sees_roi and has_roi)
            for found, amap in of_type:
                histogram = found.setdefault(record.defect, PixelHistogram())
                histogram.add(amap, seen.mask, seen.roi, truth, truth_roi)
    if len(rows) != len(records):
        raise ValueError(f"{len(rows)} images came for {len(records)} records")
    report = figures.summarise(rows, histograms, thresholds or {}, has_roi, resamples, given or None)
    report["warnings"] = [f"{path}: its mask vanishes when it is resized; the image is left out of the pixel metrics"
                          for path in lost]
    unknown = sum(1 for record in records if record.label and record.mask is None)
    if unknown and any(record.mask for record in records):
        report["warnings"].append(f"{unknown} defective images have no mask; they are left out of the pixel metrics")
    return Evaluation(report, rows)


def _with_regions(row, seen, level, min_area, scale, truth, shown):
    """An accepted picture has no regions: its map shows too little. Of the truth, what the map shows is found."""
    amap = seen.inside
    labels = label_found(amap, level, min_area)
    row = row._replace(n_regions=0, defects=match(truth, labels, scale) if truth is not None else [])
    if not shown:
        return row
    return row._replace(n_regions=len(np.unique(labels[labels > 0])), regions=describe(labels, amap, scale))
