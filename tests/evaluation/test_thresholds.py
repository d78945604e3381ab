"""Thresholds on good parts, and the interval of the false-reject rate against SciPy's own."""
import numpy as np
import pytest
from scipy.stats import binomtest, expon, f

from grdnet_tf.errors import InputError
from grdnet_tf.evaluation import thresholds
from grdnet_tf.evaluation.metrics import Ranking, rank


def fit(scores, method="max_normal"):
    return thresholds.fit(rank(scores, np.zeros(len(scores))), method)


SCORES = np.random.default_rng(0).permutation(np.arange(1, 11)) / 10  # 0.1 ... 1.0


def test_max_normal_accepts_every_good_part_seen():
    found = fit(SCORES)
    assert found.value == 1.0 and found.above == 0 and found.n == 10
    assert found.false_reject_interval == (0.0, pytest.approx(1 - 0.025 ** 0.1))  # (1 - p)^10 = 0.025


@pytest.mark.parametrize("method,value,above", [
    ("quantile:0.9", 0.9, 1), ("quantile:0.91", 1.0, 0), ("quantile:0.5", 0.5, 5),
    ("target_fpr:0.1", 0.9, 1), ("target_fpr:0.09", 1.0, 0), ("target_fpr:0.25", 0.8, 2)])
def test_quantile_and_target(method, value, above):
    found = fit(SCORES, method)
    assert (found.value, found.above) == (value, above)


def test_the_highest_good_score_is_that_of_a_good_part_where_defective_ones_lie_above():
    assert thresholds.fit(rank(np.array([0.2, 0.4, 0.9]), np.array([0, 0, 1]))).value == 0.4


def test_methods_are_read_with_their_number_or_path():
    assert thresholds.parse("max_normal") == ("max_normal", None)
    assert thresholds.parse("best_f1:other/data") == ("best_f1", "other/data")
    assert thresholds.parse("value:1") == ("value", 1.0) and thresholds.parse("quantile:0.9") == ("quantile", 0.9)


def test_ties_are_rejected_together_or_not_at_all():
    # Three of four share the highest score: a target of 50 % would have to reject all three, so it rejects none.
    assert fit([0.1, 0.9, 0.9, 0.9], "target_fpr:0.5").value == 0.9


@pytest.mark.parametrize("k,n", [(0, 27), (1, 27), (5, 100), (100, 100), (0, 1)])
def test_clopper_pearson_equals_scipy(k, n):
    reference = binomtest(k, n).proportion_ci(0.95, method="exact")
    assert thresholds.clopper_pearson(k, n) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_counts_equal_the_same_scores_written_out():
    score, count = np.array([0.9, 0.5, 0.2]), np.array([1.0, 0, 9])
    pixels = Ranking(score, count, np.array([5.0, 1, 0]))  # defective pixels have no say
    for method in ("max_normal", "quantile:0.9", "target_fpr:0.05"):
        found = thresholds.fit(pixels, method, independent=False)
        assert found.value == fit(np.repeat(score, count.astype(int)), method).value
        assert found.false_reject_interval is None


def test_best_f1_lies_between_the_samples_it_separates():
    found = thresholds.fit(rank([0.1, 0.3, 0.5, 0.9], [0, 0, 1, 1]), "best_f1:some/folder")
    assert found == (pytest.approx(0.4), "best_f1:some/folder", 2, 0, thresholds.clopper_pearson(0, 2))


@pytest.mark.parametrize("text", ["max", "quantile", "quantile:1.5", "target_fpr:0", "target_fpr:x", "max_normal:1", "quantile:1",
                                  "target_fpr:1", "value:1.1",
                                  "best_f1", "best_f1:"])
def test_unknown_methods_are_named(text):
    with pytest.raises(InputError, match="expected max_normal"):
        thresholds.parse(text)


def test_nothing_to_fit_on_is_refused():
    with pytest.raises(ValueError, match="good samples"):
        fit([])
    with pytest.raises(ValueError, match="and defective"):
        fit(SCORES, "best_f1:folder")


def test_between_two_thresholds_a_person_looks_again():
    limits = thresholds.Limits(0.3, 0.5)
    assert [limits.verdict(score) for score in (0.0, 0.3, 0.30001, 0.5, 0.50001)] == [
        "accepted", "accepted", "look", "look", "rejected"]
    kept = {name: {"value": value} for name, value in [("image", 0.5), ("look", 0.3), ("image_roi", 0.2)]}
    assert thresholds.Limits.of(kept) == (0.3, 0.5)
    assert thresholds.Limits.of(kept, inside=True) == (0.2, 0.2)  # none was fitted there: two verdicts
    assert thresholds.Limits.of({"image": {"value": 0.1}, "look": {"value": 0.3}}) == (0.1, 0.1)
    assert thresholds.Limits.of({}) is None


def test_looking_again_is_never_above_rejecting():
    found = thresholds.fit(rank(SCORES, np.zeros(10)), "target_fpr:0.1", most=0.65)
    assert (found.value, found.above) == (0.65, 4)


@pytest.mark.parametrize("method", ["max_normal", "best_f1:data", "often", "value:2"])
def test_what_is_no_method_of_looking_again(method):
    with pytest.raises(InputError, match=f"threshold '{method}'"):
        thresholds.checked_look(method)
    assert thresholds.checked_look("") == "target_fpr:0.1" and thresholds.checked_look("none") == "none"


def test_the_chance_of_a_gap_is_that_of_the_f_distribution():
    odds = np.array([9.0, 4.0, 3.5, 3.0, 2.0, -1.0, -2.0, -5.0, -6.0])  # the upper five: spacings 5, 2 x 0.5, 3 x 0.5, 4
    scores = np.random.default_rng(0).permutation(1 / (1 + np.exp(-odds)))
    assert thresholds.chance_of_gap(scores) == pytest.approx(f.sf(5 / ((1 + 1.5 + 4) / 3), 2, 6))


def test_scores_of_an_exponential_tail_are_seldom_told():
    odds = expon.rvs(size=(4000, 32), random_state=0) - 3
    chances = np.array([thresholds.chance_of_gap(row) for row in 1 / (1 + np.exp(-odds))])
    assert [(chances < level).mean() for level in (0.01, 0.1, 0.5)] == pytest.approx([0.01, 0.1, 0.5], rel=0.4)


def test_one_score_far_above_equal_ones_is_no_chance_and_of_few_nothing_is_said():
    assert thresholds.chance_of_gap([0.1] * 9 + [0.9]) == 0.0 and thresholds.chance_of_gap([0.1] * 10) == 1.0
    assert thresholds.chance_of_gap([0.1] * 6 + [0.9]) == 1.0
    assert thresholds.chance_of_gap([0.0] * 9 + [1e-6]) == 1.0  # of no odds that matter
