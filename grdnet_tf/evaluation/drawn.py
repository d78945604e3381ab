"""How well does a run find defects that no training noise knows? Drawn by OpenCV on the pictures that it held out.

The held-out figures of every epoch are of defects from the family of the training noise, which networks learn by its
marks: they do not tell a run that will find real defects from one that will not. These do so better
(docs/lab/experiments.md, sections 6 and 13).
"""
from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from ..data import foreground
from ..data.decoding import adapted, resize
from ..data.files import read_picture
from ..data.records import evenly
from ..data.regions import resized
from ..data.roi import read_roi
from ..defects import drawn
from . import metrics

PICTURES = 32  # held-out ones at most
POOR = 0.8      # an image AUROC below it is warned of: tiles of which most defects are missed have 0.73
SEED = 1       # of the drawings: the same ones for every run on the same pictures


class Drawn(NamedTuple):
    """`image_auroc` of all kinds and of each, against the same pictures as they are.

    `repaired`: how much of what the drawings change the reconstruction takes back, 1 all, 0 nothing, the median;
    None where there is no reconstruction.
    """
    pictures: int
    drawings: int
    image_auroc: float
    kinds: dict
    repaired: Optional[float]


def check(predictor, records, each: int, progress=None) -> Optional[Drawn]:
    """Draws `each` defects of every kind on the `records`, good pictures, and lets `predictor` judge them.

    Where a record has a ROI the defects lie in it, and nothing else counts. None for pictures of 16 bit, which are not
    drawn on, and where no drawing shows.
    """
    records = evenly(records, PICTURES)
    pictures = [read_picture(record.image) for record in records]
    if not pictures or pictures[0].dtype != np.uint8:
        return None
    rng, scores, repaired = np.random.default_rng(SEED), {}, []
    for i, (record, picture) in enumerate(zip(records, pictures)):
        roi = read_roi(record.roi, picture.shape[:2]) if record.roi else None
        shown, names = [picture], ["good"]
        part = foreground.find(picture)
        for kind, draw in drawn.kinds(part).items():
            for _ in range(i, each, len(records)):
                other = pictures[rng.integers(len(pictures))]
                made = drawn.drawing(kind, draw, picture, other, roi, part, rng)
                if made is not None:
                    shown.append(made[0])
                    names.append(kind)
        images, found, reconstructions = _judged(predictor, shown, record, roi)
        for name, score in zip(names, found):
            scores.setdefault(name, []).append(float(score))
        if reconstructions is not None:
            repaired += [_repaired(images[0], *pair) for pair in zip(images[1:], reconstructions[1:])]
        if progress is not None:
            progress(i + 1, len(records))
    good = scores.pop("good")
    if not scores:
        return None
    kinds = {name: _auroc(good, found) for name, found in scores.items()}
    every = [score for found in scores.values() for score in found]
    return Drawn(len(records), len(every), _auroc(good, every), kinds,
                 float(np.median(repaired)) if repaired else None)


def words(found: Drawn) -> str:
    """What a person reads at the end of a run."""
    worst = sorted(found.kinds.items(), key=lambda one: one[1])[:3]
    least = ", ".join(f"{kind} {auroc:.2f}" for kind, auroc in worst)
    repaired = "" if found.repaired is None else f"; the reconstruction takes back {found.repaired:.0%} of a defect"
    return (f"{found.drawings} defects that no training noise knows, drawn on {found.pictures} held-out pictures: image "
            f"AUROC {found.image_auroc:.2f}; found least: {least}{repaired}")


def _judged(predictor, shown, record, roi):
    """(images (N, H, W, C), scores (N,), reconstructions or None) of pictures that share a ROI."""
    model, images = predictor.model, []
    for pixels in shown:
        pixels, peak = adapted(pixels, record.image, model.channels, predictor.white)
        images.append(resize(tf.cast(pixels, tf.float32), model.image_size, model.channels).numpy() / peak)
    images = np.stack(images).astype(np.float32)
    given = [] if roi is None else [np.repeat(resized(roi, model.image_size)[None, ..., None].astype(np.float32),
                                              len(images), axis=0)]
    parts = []
    for start in range(0, len(images), predictor.batch):
        chosen = [part[start:start + predictor.batch] for part in (images, *given)]
        parts.append(predictor.predict(*chosen))
    reconstructions, _, scores = zip(*parts)
    reconstructions = None if reconstructions[0] is None else np.concatenate(reconstructions)
    return images, np.concatenate(scores), reconstructions


def _repaired(clean, disturbed, reconstruction):
    """1 - |X^ - X| / |X_d - X|, summed where the drawing shows; not below 0."""
    change = np.abs(disturbed - clean).max(axis=-1)
    seen = change > drawn.LEAST_CHANGE / 255
    left = np.abs(reconstruction - clean).max(axis=-1)[seen].sum()
    return max(0.0, 1.0 - float(left) / max(float(change[seen].sum()), 1e-6))


def _auroc(good, defective):
    return metrics.auroc(metrics.rank(good + defective, [0] * len(good) + [1] * len(defective)))
