"""Drift: the test against SciPy's, its false alarms on what does not drift, and what is found, written and told."""
import json

import numpy as np
import pytest
from scipy.stats import ks_2samp

from grdnet_tf.errors import InputError
from grdnet_tf.evaluation import calibration, metrics
from grdnet_tf.inspection import drift
from grdnet_tf.serving.client import Drift, good_scores, kolmogorov_smirnov


@pytest.mark.parametrize("n, m, shift", [(1, 1, 0), (5, 7, 0.5), (27, 100, 0.7), (40, 40, 0.2), (150, 60, 3)])
def test_distance_and_chance_are_those_of_scipy(n, m, shift):
    rng = np.random.default_rng(n)
    one, other = rng.normal(size=n), rng.normal(shift, size=m)
    expected = ks_2samp(one, other, method="exact")
    assert kolmogorov_smirnov(one, other) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_equal_scores_are_no_distance():
    assert kolmogorov_smirnov([0.1, 0.2, 0.2, 0.2], [0.2, 0.2, 0.1, 0.2]) == (0.0, 1.0)
    distance, chance = kolmogorov_smirnov([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    assert (distance, chance) == (1.0, 0.1)  # 2 of the C(6, 3) = 20 orders are as far apart


@pytest.mark.parametrize("good, window", [(20, 40), (60, 20)])
def test_no_more_false_alarms_than_are_stated(good, window):
    """Streams of 160 pictures, of which nothing changes; a new reference for each, as every line has its own."""
    rng, streams, length, rate = np.random.default_rng(0), 100, 160, 0.002
    alarms = 0
    for _ in range(streams):
        watched = Drift(rng.beta(2, 5, good), window, rate)
        alarms += sum(bool(told and told["drift"]) for told in map(watched.add, rng.beta(2, 5, length)))
    expected = rate * streams * length  # 32
    assert 0 < alarms <= expected
    shifted = Drift(rng.beta(2, 5, good), window, rate)
    told = [entry for entry in map(shifted.add, rng.beta(4, 3, 2 * window)) if entry]
    assert told and told[0]["drift"] and told[0]["pictures"] <= 2 * window
    assert told[0]["median"] > told[0]["median_good"]


def test_it_is_over_when_the_scores_are_as_before():
    rng = np.random.default_rng(1)
    watched = Drift(rng.uniform(0, 0.3, 50), 40)
    told = [watched.add(score) for score in [*rng.uniform(0, 0.3, 80), *rng.uniform(0.3, 0.6, 60),
                                             *rng.uniform(0, 0.3, 80)]]
    assert [(number, entry["drift"]) for number, entry in enumerate(told, 1) if entry] == [(110, True), (170, False)]
    assert not watched.drifted


def test_what_cannot_be_compared_is_refused(tmp_path):
    for good, window in (([], 100), ([0.1, float("nan")], 100), ([0.1, 0.2], 100), ([0.1] * 50, 0), ([0.1] * 50, 2)):
        with pytest.raises(ValueError, match="drift: "):
            Drift(good, window)
    with pytest.raises(InputError, match="without the scores"):
        drift.Watch(None, 100)
    (tmp_path / "manifest.json").write_text('{"thresholds": {"image": {"value": 1}}}')
    with pytest.raises(ValueError, match="no manifest with the scores"):
        good_scores(str(tmp_path / "manifest.json"))


def test_the_manifest_names_the_scores_of_whole_pictures_and_of_the_region(tmp_path):
    path = tmp_path / "manifest.json"
    thresholds = {"image": {"good_scores": [0.1]}, "image_roi": {"good_scores": [0.2]}}
    told = {"thresholds": thresholds, "station": {"roi": None}}
    path.write_text(json.dumps(told))
    assert [good_scores(str(path), inside) for inside in (None, False, True)] == [[0.1], [0.1], [0.2]]
    path.write_text(json.dumps({**told, "station": {"roi": "roi.png"}}))
    assert good_scores(str(path)) == [0.2]
    for left_out in ({"follow": "follow.png"}, {"tiles": [64, 16]}):  # of the graph, which judges the whole picture
        path.write_text(json.dumps({**told, "station": {"roi": "roi.png", **left_out}}))
        assert good_scores(str(path)) == [0.1]


def test_a_health_check_reads_what_a_watch_wrote(tmp_path):
    with pytest.raises(InputError, match="missing"):
        drift.health(str(tmp_path))
    watched = drift.Watch([0.1 + 0.001 * i for i in range(40)], 20, str(tmp_path))
    assert drift.health(str(tmp_path))[0] == 0
    for score in [None] * 5 + [0.9] * 20:  # what is unreadable has no score
        told = watched.add(score)
    assert told["drift"] and watched.drifted and told["pictures"] == 20
    status, last = drift.health(str(tmp_path))
    assert status == 4 and json.loads(last) == told
    with open(tmp_path / "drift.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"drift": fal')  # torn
    assert drift.health(str(tmp_path)) == (status, last)
    drift.Watch([0.1] * 40, 20, str(tmp_path))  # started anew
    assert drift.health(str(tmp_path))[0] == 0


def test_few_good_scores_are_kept_as_they_are_and_many_as_quantiles():
    rng = np.random.default_rng(2)
    few, many = rng.uniform(size=21), rng.uniform(size=5003)
    kept = calibration.good_scores(metrics.rank([*few, few[0], 0.99], [0] * 22 + [1]))
    assert kept == pytest.approx(sorted([*few, few[0]]), rel=1e-6)
    kept = calibration.good_scores(metrics.rank(many, np.zeros(5003)))
    assert len(kept) == calibration.LARGEST and kept == sorted(kept)
    assert ks_2samp(kept, many).statistic < 1.1 / calibration.LARGEST
