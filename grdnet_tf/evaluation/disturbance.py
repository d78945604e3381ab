"""What becomes of a run's decisions when light, focus or the camera change a little?

Each disturbance changes the pictures as the network gets them (resized, in [0, 1]) and nothing else: the thresholds stay
those of the undisturbed good pictures, as they would on a line. Only pictures are judged, not pixels.
"""
from typing import Callable, Dict, NamedTuple, Optional

import cv2
import numpy as np

from ..data.records import evenly
from ..data.varying import compressed, varied
from . import measure, metrics
from .thresholds import Limits

NOISE = 0.02       # standard deviation, of a range of 1
SHIFT = 1 / 32     # of the shorter side, down and to the right
BLUR = 1 / 256     # of the shorter side, the Gaussian's standard deviation
SOME, MOST = 32, 2000  # good pictures that are varied, at most; and of which the threshold is
FEW, MANY = 8, 0.25    # of fewer nothing is warned of; the share of them that is


class Effect(NamedTuple):
    """Of one disturbance; None where there are no pictures to take it of, or no threshold."""
    what: str
    image_auroc: Optional[float]
    change: Optional[float]         # of the AUROC, from that of the pictures as they are
    false_rejects: Optional[float]  # share of the good ones above the threshold
    misses: Optional[float]         # share of the defective ones not above it


def brighter(factor):
    return lambda image, rng: image * np.float32(factor)


def gamma(exponent):
    return lambda image, rng: image ** np.float32(exponent)


def contrast(factor):
    """About the picture's own mean."""
    return lambda image, rng: (image - image.mean()) * np.float32(factor) + image.mean()


def blurred(image, rng):
    return cv2.GaussianBlur(image, (0, 0), max(0.5, BLUR * min(image.shape[:2]))).reshape(image.shape)


def noisy(image, rng):
    return image + rng.normal(0, NOISE, image.shape).astype(np.float32)


def shifted(image, rng):
    far = max(1, round(SHIFT * min(image.shape[:2])))
    return np.pad(image, ((far, 0), (far, 0), (0, 0)), "reflect")[:image.shape[0], :image.shape[1]]


def jpeg(quality):
    return lambda image, rng: compressed(image, quality)


AS_THEY_ARE = "as they are"
DISTURBANCES: Dict[str, Callable] = {  # (H, W, C) float32 in [0, 1], a generator -> the same, clipped afterwards
    AS_THEY_ARE: lambda image, rng: image,
    "brightness -20 %": brighter(0.8), "brightness -10 %": brighter(0.9),
    "brightness +10 %": brighter(1.1), "brightness +20 %": brighter(1.2),
    "contrast -20 %": contrast(0.8), "contrast +20 %": contrast(1.2),
    "gamma 0.8": gamma(0.8), "gamma 1.25": gamma(1.25),
    "blur": blurred, "noise": noisy, "shift": shifted, "JPEG, quality 75": jpeg(75), "JPEG, quality 40": jpeg(40),
}


def disturbed(batches, change):
    """Batches of `pipeline.evaluation_dataset` with their pictures changed, in [0, 1]; the same ones at every pass."""
    for batch in batches:
        images = np.asarray(batch["image"], np.float32)
        changed = [change(image, np.random.default_rng(int(index)))
                   for image, index in zip(images, np.asarray(batch["index"]))]
        yield dict(batch, image=np.clip(np.stack(changed), 0, 1).astype(np.float32))


def effects(predictor, records, thresholds, min_area=1, progress=lambda batches: batches) -> list:
    """An `Effect` for each of DISTURBANCES, the pictures as they are first.

    Args:
      predictor: `predict.Predictor`.
      thresholds: as `calibration.calibrate` gives them.
      progress: is given each iterable of batches, and gives it back.
    """
    has_roi, found = any(record.roi for record in records), []
    limits = Limits.of(thresholds, has_roi)
    least = measure.Least.of(min_area, thresholds)
    for what, change in DISTURBANCES.items():
        batches = progress(disturbed(predictor.batches(records), change))
        scores, labels = [], []
        for seen in measure.scan(predictor.predict, batches, records, predictor.pool, least, predictor.sees_roi):
            labels.append(seen.label_roi if has_roi else seen.record.label)
            scores.append(seen.score_roi if has_roi else seen.score)
        found.append(_effect(what, np.array(scores), np.array(labels), limits, found))
    return found


class Varied(NamedTuple):
    """Of `pictures` good ones, with light, focus, noise and JPEG a little other, so many would be `rejected`."""
    pictures: int
    rejected: int

    @property
    def many(self) -> bool:
        return self.pictures >= FEW and self.rejected > MANY * self.pictures


def when_varied(predictor, records, depth=8) -> Varied:
    """How many of up to 32 of the good `records` would score above the highest of all as they are, were they `varied`.

    That highest score, here of up to 2,000, is the default threshold. `depth`: bits of the files.
    """
    def scores(chosen, change):
        batches = disturbed(predictor.batches(chosen), change)
        return np.array([seen.score_roi for seen in measure.scan(predictor.predict, batches, chosen, predictor.pool,
                                                                 sees_roi=predictor.sees_roi)])

    highest = scores(evenly(records, MOST), DISTURBANCES[AS_THEY_ARE]).max()
    other = scores(evenly(records, SOME), lambda image, rng: varied(image, rng, depth))
    return Varied(len(other), int((other > highest).sum()))


def _effect(what, scores, labels, limits, before):
    ranking = metrics.rank(scores, labels)
    auroc = float(metrics.auroc(ranking)) if 0 < labels.sum() < len(labels) else None
    at = metrics.decisions(ranking, *limits) if limits else None
    change = None if auroc is None or not before else auroc - before[0].image_auroc
    return Effect(what, auroc, change, at and at.false_reject_rate, at and at.miss_rate)


def lines(found) -> list:
    """Rows of a table, the head first."""
    def shown(value, form):
        return "-" if value is None else format(value, form)

    return [["disturbed by", "image AUROC", "change", "false rejects", "misses"],
            *([one.what, shown(one.image_auroc, ".3f"), shown(one.change, "+.3f"), shown(one.false_rejects, ".1%"),
               shown(one.misses, ".1%")] for one in found)]
