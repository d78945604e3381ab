"""Thresholds on good parts, and the interval of the false-reject rate against SciPy's own."""
import numpy as np
import pytest
from scipy.stats import binomtest

from grdnet_tf import thresholds
from grdnet_tf.errors import InputError

SCORES = np.random.default_rng(0).permutation(np.arange(1, 11)) / 10  # 0.1 ... 1.0


def test_max_normal_accepts_every_good_part_seen():
    found = thresholds.fit(SCORES)
    assert found.value == 1.0 and found.above == 0 and found.n == 10
    assert found.false_reject_interval == (0.0, pytest.approx(1 - 0.025 ** 0.1))  # (1 - p)^10 = 0.025


@pytest.mark.parametrize("method,value,above", [
    ("quantile:0.9", 0.9, 1), ("quantile:0.91", 1.0, 0), ("quantile:0.5", 0.5, 5),
    ("target_fpr:0.1", 0.9, 1), ("target_fpr:0.09", 1.0, 0), ("target_fpr:0.25", 0.8, 2)])
def test_quantile_and_target(method, value, above):
    found = thresholds.fit(SCORES, method)
    assert (found.value, found.above) == (value, above)


def test_ties_are_rejected_together_or_not_at_all():
    # Three of four share the highest score: a target of 50 % would have to reject all three, so it rejects none.
    assert thresholds.fit([0.1, 0.9, 0.9, 0.9], "target_fpr:0.5").value == 0.9


@pytest.mark.parametrize("k,n", [(0, 27), (1, 27), (5, 100), (100, 100), (0, 1)])
def test_clopper_pearson_equals_scipy(k, n):
    reference = binomtest(k, n).proportion_ci(0.95, method="exact")
    assert thresholds.clopper_pearson(k, n) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_pixels_equal_the_same_scores_written_out():
    score, count = np.array([0.9, 0.5, 0.2]), np.array([1, 0, 9])
    written_out = np.repeat(score, count)
    for method in ("max_normal", "quantile:0.9", "target_fpr:0.05"):
        assert thresholds.fit_pixels(score, count, method).value == thresholds.fit(written_out, method).value
    assert thresholds.fit_pixels(score, count, "max_normal").false_reject_interval is None


@pytest.mark.parametrize("text", ["max", "quantile", "quantile:1.5", "target_fpr:0", "target_fpr:x", "max_normal:1"])
def test_unknown_methods_are_named(text):
    with pytest.raises(InputError, match="expected max_normal"):
        thresholds.parse(text)


def test_no_scores_are_refused():
    with pytest.raises(ValueError):
        thresholds.fit([])
