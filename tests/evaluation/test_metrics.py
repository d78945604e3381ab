"""Metrics of rankings against scikit-learn, against numbers derived by hand, and their edge cases."""
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from grdnet_tf.evaluation import metrics


def cases():
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.3
    scores = rng.standard_normal(400) + labels
    return {"random": (scores, labels), "tied": (np.round(scores), labels), "constant": (np.ones(400), labels),
            "perfect": (labels * 1.0, labels), "inverted": (1.0 - labels, labels),
            "one defective": (scores, np.arange(400) == 7)}


@pytest.mark.parametrize("name", cases())
def test_image_metrics_equal_scikit_learn(name):
    scores, labels = cases()[name]
    ranking = metrics.rank(scores, labels)
    assert metrics.auroc(ranking) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.average_precision(ranking) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    best, threshold = metrics.f1_max(ranking)
    assert best == pytest.approx(max(f1_score(labels, scores >= t) for t in np.unique(scores)), abs=1e-12)
    assert f1_score(labels, scores > threshold) == pytest.approx(best, abs=1e-12)  # the threshold reaches it


def test_auroc_by_hand():
    # Pairs (defective, good): 3 > 2, 3 > 1, 2 = 2 counts half, 2 > 1: 3.5 of 4.
    assert metrics.auroc(metrics.rank([3, 2, 2, 1], [1, 1, 0, 0])) == 3.5 / 4


def test_average_precision_by_hand():
    # Ranked 1 0 1: recall 1/2 at precision 1, recall 1 at precision 2/3.
    assert metrics.average_precision(metrics.rank([3, 2, 1], [1, 0, 1])) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("labels,reason", [([0, 0], "no defective images"), ([1, 1], "no good images")])
def test_one_class_is_not_defined_and_says_why(labels, reason):
    ranking = metrics.rank([0.1, 0.9], labels)
    assert metrics.missing(ranking) == reason
    assert metrics.auroc(ranking) is None and metrics.average_precision(ranking) is None
    assert metrics.f1_max(ranking) == (None, None)
    assert metrics.bootstrap([0.1, 0.9], labels, "auroc") is None
    assert metrics.aupro(ranking, np.ones(2), 1) is None


def test_wrong_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        metrics.rank([0.1, np.nan], [0, 1])
    with pytest.raises(ValueError, match="expected"):
        metrics.rank([0.1, 0.2], [0])


def test_decisions_by_hand():
    # Above 0.5: one of three good, one of two defective. From 0.3 to 0.5 a person looks: at one good, one defective.
    ranking = metrics.rank([0.1, 0.5, 0.6, 0.4, 0.9], [0, 0, 0, 1, 1])
    assert metrics.decisions(ranking, 0.5, 0.5) == pytest.approx((3 / 5, 1 / 3, 1 / 2, 0, 0))
    assert metrics.decisions(ranking, 0.3, 0.5) == pytest.approx((4 / 5, 1 / 3, 0, 1 / 3, 1 / 2))


def test_a_score_at_the_threshold_is_accepted():  # so that the highest good score is a threshold that accepts it
    assert metrics.decisions(metrics.rank([0.5], [0]), 0.5, 0.5) == (1.0, 0.0, None, 0.0, None)


def test_bootstrap_interval_matches_resampling_images():
    rng = np.random.default_rng(1)
    labels = np.arange(60) < 25
    scores = np.round(rng.standard_normal(60) + labels, 1)  # with ties
    values = []
    for _ in range(2000):  # the plain way: draw images, good and defective apart
        chosen = np.concatenate([rng.choice(np.flatnonzero(labels == c), (labels == c).sum()) for c in (True, False)])
        values.append(roc_auc_score(labels[chosen], scores[chosen]))
    low, high = metrics.bootstrap(scores, labels, "auroc", 2000)
    assert (low, high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.015)  # 3 standard errors
    assert low < metrics.auroc(metrics.rank(scores, labels)) < high


def test_bootstrap_is_the_same_for_the_same_seed_and_any_order():
    scores, labels = cases()["random"]
    order = np.random.default_rng(2).permutation(len(scores))
    first = metrics.bootstrap(scores, labels, "average_precision", 200)
    assert first == metrics.bootstrap(scores[order], labels[order], "average_precision", 200)
    assert first != metrics.bootstrap(scores, labels, "average_precision", 200, seed=1)


def test_bootstrap_of_a_perfect_ranking_is_a_point():
    assert metrics.bootstrap([0, 0, 1, 1], [0, 0, 1, 1], "auroc", 50) == (1.0, 1.0)


def test_bootstrap_is_of_1000_resamples_and_95_percent():
    scores, labels = cases()["random"]
    said = metrics.bootstrap(scores, labels, "auroc")
    assert said == metrics.bootstrap(scores, labels, "auroc", 1000, 0.95, 0)
    assert said not in [metrics.bootstrap(scores, labels, "auroc", count) for count in (999, 1001)]


def test_bootstrap_of_one_resample_is_a_point():
    low, high = metrics.bootstrap(*cases()["random"], "auroc", 1)
    assert low == high and 0.5 < low < 1.0


def test_bootstrap_of_many_images_takes_little_memory():
    scores = np.random.default_rng(0).random(20_000)
    tracemalloc.start()
    try:
        metrics.bootstrap(scores, np.arange(20_000) % 2, "auroc", 160)  # 26 MB an array if drawn at once
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()


def test_the_threshold_that_rejects_everything_lies_half_below():
    assert metrics.f1_max(metrics.rank([0.75, 0.5, 0.25], [0, 1, 1])) == (pytest.approx(4 / 5), -0.25)


def test_a_curve_of_many_points_is_thinned_evenly():
    rng = np.random.default_rng(0)
    labels = np.arange(10_000) % 2
    points = metrics.curve(metrics.rank(rng.standard_normal(10_000) + labels, labels))
    steps = np.abs(np.diff(points["fpr"])) + np.abs(np.diff(points["tpr"]))
    assert 390 < len(steps) <= 402 and steps.max() < 2 / 399 + 2 / 5000  # the whole way is 2, one image 1/5000
    assert points["precision"][0] == points["precision"][1] and points["precision"][-1] == 0.5


def test_curve_ends_at_its_corners_and_has_the_area():
    scores, labels = cases()["random"]
    points = metrics.curve(metrics.rank(scores, labels))
    fpr, tpr = np.array(points["fpr"]), np.array(points["tpr"])
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2) == pytest.approx(roc_auc_score(labels, scores), abs=2e-3)
    assert len(fpr) <= 403


# AUPRO: rankings of pixels written out by hand ------------------------------------------------------------------------


def test_aupro_of_a_perfect_map_is_one():
    ranking = metrics.Ranking(np.array([1.0, 0.0]), np.array([0.0, 100.0]), np.array([10.0, 0.0]))
    assert metrics.aupro(ranking, np.array([1.0, 0.0]), 1) == 1.0


@pytest.mark.parametrize("limit", [0.3, 0.05])
def test_aupro_of_a_ramp_is_half_the_limit(limit):
    # Every score takes the same share of good pixels and of the region: PRO = FPR, area limit^2 / 2, over limit.
    ramp = np.ones(1000)
    ranking = metrics.Ranking(np.linspace(1, 0, 1000), ramp, ramp)
    assert metrics.aupro(ranking, ramp / 1000, 1, limit) == pytest.approx(limit / 2)


def test_aupro_averages_regions_not_pixels():
    # A region of 1 pixel found before any false alarm, one of 99 never found below the limit: (1 + 0) / 2.
    ranking = metrics.Ranking(np.array([1.0, 0.5, 0.0]), np.array([0.0, 100.0, 0.0]), np.array([1.0, 0.0, 99.0]))
    assert metrics.aupro(ranking, np.array([1.0, 0.0, 1.0]), 2) == pytest.approx(0.5)
