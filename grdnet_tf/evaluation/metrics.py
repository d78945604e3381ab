"""How well scores tell defective from good: AUROC, average precision, F1, AUPRO, for images and for pixels.

Every function takes a `Ranking`, the counts of good and defective at each distinct score. Images are ranked exactly;
pixels come from a `PixelHistogram`, so that the formulas stand here once for both. A number that is not defined, for
want of good or of defective samples, is None, never 0 and never NaN; `missing` says why.
"""
from typing import NamedTuple, Optional, Tuple

import numpy as np


class Ranking(NamedTuple):
    """`score` (n,): distinct, highest first. `good`, `defective` (..., n) float64: how many have that score."""
    score: np.ndarray
    good: np.ndarray
    defective: np.ndarray


class Decisions(NamedTuple):
    """Shares of the verdicts at two thresholds. None where there is no such part."""
    accuracy: Optional[float]           # neither a false reject nor a miss
    false_reject_rate: Optional[float]  # of the good: rejected
    miss_rate: Optional[float]          # of the defective: accepted
    false_look_rate: Optional[float]    # of the good: to be looked at again
    found_look_rate: Optional[float]    # of the defective: to be looked at again


def rank(scores, labels) -> Ranking:
    """Exact ranking of `scores` (n,) with `labels` (n,): 0 good, 1 defective; equal scores fall together."""
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels) != 0
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape}, expected (n,) both")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    distinct, group = np.unique(-scores, return_inverse=True)
    counts = [np.bincount(group[chosen], minlength=len(distinct)).astype(np.float64) for chosen in (~labels, labels)]
    return Ranking(-distinct, *counts)


def rank_pixels(cells, inside_roi=False) -> Ranking:
    """Ranking of the pixels of a `PixelHistogram`'s cells, all or those inside the ROI."""
    good, defective = ((c[:, 1] if inside_roi else c.sum(axis=1)).astype(np.float64)
                       for c in (cells.good, cells.defective))
    return Ranking(cells.score, good, defective)


def missing(ranking, what="images") -> Optional[str]:
    """Why AUROC and the like are not defined, or None if they are."""
    if not ranking.defective.sum():
        return f"no defective {what}"
    return None if ranking.good.sum() else f"no good {what}"


def auroc(ranking):
    """Probability that a defective sample scores above a good one, ties counted half (Mann-Whitney U)."""
    return None if missing(ranking) else float(_auroc(ranking.good, ranking.defective))


def average_precision(ranking):
    """sum_t (R_t - R_(t-1)) P_t over the distinct scores t: precision P, recall R. By chance it is the prevalence."""
    return None if missing(ranking) else float(_average_precision(ranking.good, ranking.defective))


def f1_max(ranking) -> Tuple[Optional[float], Optional[float]]:
    """(the best F1 = 2 TP / (2 TP + FP + FN) over all thresholds, a threshold that reaches it); rejects above it."""
    if missing(ranking):
        return None, None
    tp, fp = np.cumsum(ranking.defective), np.cumsum(ranking.good)
    f1 = 2 * tp / (tp + fp + tp[-1])
    best = int(np.argmax(f1))
    below = ranking.score[best + 1] if best + 1 < len(f1) else ranking.score[best] - 1.0
    return float(f1[best]), float((ranking.score[best] + below) / 2)


def decisions(ranking, look, reject) -> Decisions:
    """What becomes of good and defective parts: rejected above `reject`, looked at again above `look`, else accepted."""
    rejected, accepted = ranking.score > reject, ranking.score <= look
    between = ~rejected & ~accepted
    good, defective = ranking.good.sum(), ranking.defective.sum()

    def share(count, of):
        return float(count / of) if of else None

    wrong = ranking.good[rejected].sum() + ranking.defective[accepted].sum()
    return Decisions(share(good + defective - wrong, good + defective),
                     share(ranking.good[rejected].sum(), good), share(ranking.defective[accepted].sum(), defective),
                     share(ranking.good[between].sum(), good), share(ranking.defective[between].sum(), defective))


def aupro(ranking, regions, n_regions, limit=0.3):
    """Area under the per-region overlap (Bergmann et al. 2020): mean over ground-truth regions of the share found,
    against the false-positive rate over good pixels, integrated up to `limit` and divided by it.

    Args:
      ranking: of pixels.
      regions: (n,) sum over the regions of the share of the region's pixels that have that score.
      n_regions: number of regions.
    """
    if missing(ranking) or not n_regions:
        return None
    fpr = np.concatenate([[0.0], np.cumsum(ranking.good) / ranking.good.sum()])
    pro = np.concatenate([[0.0], np.cumsum(regions) / n_regions])
    at_limit = np.interp(limit, fpr, pro)  # where fpr stands still, the last of its points
    kept = fpr <= limit
    fpr, pro = np.append(fpr[kept], limit), np.append(pro[kept], at_limit)
    return float(np.sum(np.diff(fpr) * (pro[1:] + pro[:-1]) / 2) / limit)


def bootstrap(scores, labels, metric, resamples=1000, level=0.95, seed=0) -> Optional[Tuple[float, float]]:
    """Percentile interval of "auroc" or "average_precision" over images drawn again with replacement.

    Good and defective are drawn apart, so that every resample has both. None where the metric is None.
    """
    ranking = rank(scores, labels)
    if missing(ranking):
        return None
    function = {"auroc": _auroc, "average_precision": _average_precision}[metric]
    rng = np.random.default_rng(seed)
    values = []
    block = max(1, (1 << 20) // len(ranking.score))  # resamples at once: 8 MB an array
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        # Drawing n images of the good is drawing how often each score comes: multinomial, and ties stay together.
        good, defective = (rng.multinomial(int(c.sum()), c / c.sum(), size).astype(np.float64)
                           for c in (ranking.good, ranking.defective))
        values.append(function(good, defective))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(values), [tail, 1 - tail])
    return float(low), float(high)


def curve(ranking, points=400):
    """ROC and precision-recall points for drawing: {"fpr", "tpr", "precision"} lists, at most about `points` long."""
    tp, fp = np.cumsum(ranking.defective), np.cumsum(ranking.good)
    fpr, tpr, precision = fp / fp[-1], tp / tp[-1], tp / (tp + fp)
    way = np.cumsum(np.abs(np.diff(fpr, prepend=0)) + np.abs(np.diff(tpr, prepend=0)))  # length along the ROC curve
    kept = np.unique(np.append(np.searchsorted(way, np.linspace(0, way[-1], points)).clip(0, len(way) - 1),
                               [0, len(way) - 1]))
    return {"fpr": [0.0, *fpr[kept].tolist()], "tpr": [0.0, *tpr[kept].tolist()],
            "precision": [float(precision[kept[0]]), *precision[kept].tolist()]}


# On counts (..., n) along the last axis: one ranking, or many resamples of it at once.


def _auroc(good, defective):
    higher = np.cumsum(defective, axis=-1) - defective / 2
    return np.sum(good * higher, axis=-1) / (good.sum(axis=-1) * defective.sum(axis=-1))


def _average_precision(good, defective):
    tp = np.cumsum(defective, axis=-1)
    precision = tp / np.maximum(tp + np.cumsum(good, axis=-1), 1)  # a resample may lack the highest scores
    return np.sum(defective * precision, axis=-1) / tp[..., -1]
