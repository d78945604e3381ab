"""Where to reject, found on good parts alone: a factory has thousands of those and hardly any defect.

A part is rejected when its score is *above* the threshold. With it comes what the good parts seen can promise: the
Clopper-Pearson interval of the false-reject rate, the rate at which further good parts will be rejected.
"""
from typing import NamedTuple, Optional, Tuple

import numpy as np
from scipy.stats import beta

from .errors import InputError


class Threshold(NamedTuple):
    """`value`; how it was found; how many of the `n` good samples lie above it, and the rate's interval (or None)."""
    value: float
    method: str
    n: int
    above: int
    false_reject_interval: Optional[Tuple[float, float]] = None


def parse(text) -> Tuple[str, Optional[float]]:
    """"max_normal", "quantile:0.99" or "target_fpr:0.01" -> (name, number). Raises InputError."""
    name, _, number = text.partition(":")
    if name == "max_normal" and not number:
        return name, None
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if name in ("quantile", "target_fpr") and 0 < value < 1:
        return name, value
    raise InputError(f"threshold '{text}': expected max_normal, quantile:Q or target_fpr:P with a number between 0 and 1")


def fit(scores, method="max_normal") -> Threshold:
    """Threshold of image scores (n,) of good parts.

    `max_normal`: the highest of them. `quantile:Q`: the smallest score with at least a share Q at or below it.
    `target_fpr:P`: the lowest score that at most a share P of them exceeds.
    """
    scores = np.sort(np.asarray(scores, np.float64))
    if not len(scores) or np.isnan(scores).any():
        raise ValueError("one score at least, and none of them NaN, is needed")
    return _fit(scores, np.ones(len(scores)), method, interval=True)


def fit_pixels(score, count, method) -> Threshold:
    """Threshold of pixel scores, given as distinct `score` (n,), highest first, and their `count` (n,).

    There is no interval: neighbouring pixels are not independent samples.
    """
    return _fit(np.asarray(score)[::-1], np.asarray(count, np.float64)[::-1], method, interval=False)


def _fit(score, count, method, interval):
    """`score` ascending."""
    name, number = parse(method)
    upto = np.cumsum(count)
    n = upto[-1]
    if name == "max_normal":
        value = score[count > 0][-1]
    else:
        share = number if name == "quantile" else 1 - number
        value = score[np.searchsorted(upto, share * n - 1e-9 * n)]  # a share like 0.9 * 10 must count as 9
    above = int(count[score > value].sum())
    bounds = clopper_pearson(above, int(n)) if interval else None
    return Threshold(float(value), method, int(n), above, bounds)


def clopper_pearson(k, n, level=0.95) -> Tuple[float, float]:
    """The exact interval of a rate of which k of n were seen (Clopper & Pearson 1934)."""
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high
