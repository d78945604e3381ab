"""Where to reject and where to look again, found on good parts alone: a factory has thousands, and hardly any defect.

A part is rejected when its score is *above* the threshold; between a lower one, that of looking again, and this one a
person decides. With each comes what the good parts seen can promise: the Clopper-Pearson interval of the rate at which
further good parts will lie above it.
"""
from typing import NamedTuple, Optional, Tuple, Union

import numpy as np
from scipy.stats import beta

from ..errors import InputError
from .metrics import Ranking, f1_max

IMAGE_METHOD, PIXEL_METHOD, LOOK_METHOD = "max_normal", "quantile:0.999", "target_fpr:0.1"
ALONE = 1e-3  # of what chance a highest good score is so far above the others that it is told
NO_LOOK = "none"  # instead of a method: nothing between good and rejected
VERDICTS = ACCEPTED, LOOK, REJECTED = "accepted", "look", "rejected"  # served as 0, 1, 2


class Threshold(NamedTuple):
    """`value`, how it was found, how many of `n` good samples lie above it, and the rate's 95 % interval (or None)."""
    value: float
    method: str
    n: int
    above: int
    false_reject_interval: Optional[Tuple[float, float]] = None


class Limits(NamedTuple):
    """Above `reject` a part is rejected; above `look`, which is not higher, it is looked at again."""
    look: float
    reject: float

    @classmethod
    def of(cls, thresholds: dict, inside=False) -> Optional["Limits"]:
        """Of `calibration.calibrate`'s thresholds; `inside`: those of the score inside the ROI, where there are such.

        Where none was fitted for looking again, both are one. None without any.
        """
        end = "_roi" if inside and "image_roi" in thresholds else ""
        if "image" + end not in thresholds:
            return None
        reject = thresholds["image" + end]["value"]
        return cls(min(reject, thresholds.get("look" + end, {}).get("value", reject)), reject)

    def verdict(self, score: float) -> str:
        """One of VERDICTS."""
        return REJECTED if score > self.reject else LOOK if score > self.look else ACCEPTED


def parse(text) -> Tuple[str, Union[None, float, str]]:
    """"max_normal", "quantile:Q", "target_fpr:P", "value:X" or "best_f1:DIR" -> (name, number or path).

    Raises: InputError.
    """
    name, _, rest = text.partition(":")
    if (name == "max_normal" and not rest) or (name == "best_f1" and rest):
        return name, rest or None
    try:
        number = float(rest)
    except ValueError:
        number = -1.0
    if (name in ("quantile", "target_fpr") and 0 < number < 1) or (name == "value" and 0 <= number <= 1):
        return name, number
    raise InputError(f"threshold '{text}': expected max_normal, quantile:Q, target_fpr:P, value:X (numbers between 0 and "
                     "1) or best_f1:DIR")


def checked_look(method: str) -> str:
    """The method of the threshold for looking again; "" is the default. InputError for one that is none."""
    if method and method != NO_LOOK and parse(method)[0] in ("max_normal", "best_f1"):
        raise InputError(f"threshold '{method}': expected, for looking again, target_fpr:P, quantile:Q, value:X or none")
    return method or LOOK_METHOD


def fit(ranking: Ranking, method="max_normal", independent=True, most=None) -> Threshold:
    """Threshold from the scores of good samples, or for `best_f1`, of good and defective ones.

    `max_normal`: the highest good score. `quantile:Q`: the smallest score with at least a share Q of the good at or
    below it. `target_fpr:P`: the lowest score that at most a share P of the good exceeds. `value:X`: X, whatever they
    are. `best_f1:...`: the best F1.

    Args:
      independent: False for pixels: neighbours are not independent samples, so the rate has no such interval.
      most: the value is at most this one.

    Raises: InputError for an unknown method; ValueError where there is nothing to fit on.
    """
    name, number = parse(method)
    score, good = ranking.score[::-1], ranking.good[::-1]
    n = good.sum()
    if not n or (name == "best_f1" and not ranking.defective.sum()):
        raise ValueError(f"{method} needs good samples" + (" and defective ones" if name == "best_f1" else ""))
    if name == "best_f1":
        value = f1_max(ranking)[1]
    elif name == "value":
        value = number
    elif name == "max_normal":
        value = score[good > 0][-1]
    else:
        share = number if name == "quantile" else 1 - number
        value = score[np.searchsorted(np.cumsum(good), share * n - 1e-9 * n)]  # a share like 0.9 * 10 must count as 9
    value = value if most is None else min(value, most)
    above = int(good[score > value].sum())
    interval = clopper_pearson(above, int(n)) if independent else None
    return Threshold(float(value), method, int(n), above, interval)


def chance_of_gap(scores) -> float:
    """How often the highest of `scores` (n,) in [0, 1], of good pictures, would lie as far above the second by chance.

    The log-odds of the upper half are taken for a tail that falls exponentially: the spacing of its i-th and (i+1)-th
    highest, times i, is then the same for all i, on average (Renyi 1953), and the first over the mean of m others has an
    F distribution with 2 and 2 m degrees of freedom. 1.0 for fewer than 8 scores.
    """
    if len(scores) < 8:
        return 1.0
    odds = np.clip(np.sort(np.asarray(scores, np.float64))[::-1], 1e-4, 1 - 1e-4)
    odds = np.log(odds / (1 - odds))[:(len(scores) + 1) // 2]
    spacings = -np.diff(odds) * np.arange(1, len(odds))
    others = spacings[1:].sum()
    if not spacings[0]:
        return 1.0
    return float((1 + spacings[0] / others) ** -(len(spacings) - 1)) if others else 0.0


def clopper_pearson(k, n, level=0.95):
    """The exact interval (low, high) of a rate of which k of n were seen (Clopper & Pearson 1934); k may be an array."""
    tail = (1 - level) / 2
    low = np.where(np.equal(k, 0), 0.0, beta.ppf(tail, k, n - k + 1))
    high = np.where(np.equal(k, n), 1.0, beta.ppf(1 - tail, k + 1, n - k))
    return (low, high) if low.ndim else (float(low), float(high))
