"""The areas that a validation reports, against scikit-learn, however close the scores lie."""
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import average_precision_score, roc_auc_score

from grdnet_tf.model.monitors import RankingArea

REFERENCE = {"roc": roc_auc_score, "precision": average_precision_score}


def area(curve, truth, score, batches=3):
    found = RankingArea(curve, "area")
    for part in np.array_split(np.arange(len(truth)), batches):
        found.update_state(truth[part], score[part])
    return float(found.result())


@pytest.mark.parametrize("curve", REFERENCE)
@pytest.mark.parametrize("low,high", [(0.0, 1.0), (0.119, 0.121), (0.5, 0.502), (0.9985, 0.9995), (1e-6, 1e-5)])
def test_the_area_is_scikit_learns(curve, low, high):
    """5,000 scores that tell a little; within 0.002 they fill some 60 bins and more."""
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.3
    score = (low + (high - low) * (0.8 * rng.random(5000) + 0.2 * truth)).astype(np.float32)
    assert area(curve, truth, score) == pytest.approx(REFERENCE[curve](truth, score), abs=0.01)


@pytest.mark.parametrize("curve", REFERENCE)
@pytest.mark.parametrize("centre", [0.01, 0.12, 0.5, 0.9])
def test_a_perfect_ranking_within_a_thousandth_is_perfect(curve, centre):
    score = np.float32(centre) + np.linspace(0.0, 1e-3, 64, dtype=np.float32)
    truth = np.arange(64) >= 32
    assert area(curve, truth, score) == pytest.approx(1.0, abs=1e-3)
    assert area("roc", ~truth, score) == pytest.approx(0.0, abs=1e-3)


def test_by_hand_with_ties_weights_and_both_ends():
    score, truth = np.float32([1.0, 0.7, 0.7, 0.0, 0.7]), np.array([1, 1, 0, 0, 0])
    found = RankingArea("roc", "area")
    found.update_state(truth, score, np.float32([1, 1, 1, 1, 0]))  # the last does not count
    assert float(found.result()) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    found = RankingArea("precision", "area")
    found.update_state(truth, score)  # precision 1 at recall 1/2, 2/4 at recall 1
    assert float(found.result()) == pytest.approx(0.5 * 1.0 + 0.5 * 0.5)


@pytest.mark.parametrize("curve", REFERENCE)
def test_without_one_of_the_classes_it_is_0_and_a_reset_forgets(curve):
    found = RankingArea(curve, "area")
    assert float(found.result()) == 0.0
    for truth in (0.0, 1.0):
        found.update_state([truth], [0.5])
        assert float(found.result()) == 0.0 or truth == 1.0
        if truth == 1.0:
            found.reset_state()
            found.update_state([truth], [0.5])
            assert float(found.result()) == 0.0


def test_the_same_in_a_graph_and_in_xla():
    rng = np.random.default_rng(1)
    truth, score = (rng.random(300) < 0.5).astype(np.float32), rng.random(300).astype(np.float32)
    results = []
    for jit in (None, False, True):
        found = RankingArea("precision", "area")

        def step():
            found.update_state(truth, score)
            return found.result()

        results.append(float((step if jit is None else tf.function(step, jit_compile=jit))()))
    assert results[0] == pytest.approx(average_precision_score(truth, score), abs=1e-4)
    assert results == [results[0]] * 3


def test_counts_of_two_replicas_are_added():
    """One has seen good parts only, 0.2 and 0.6, the other defective ones only, 0.4 and 0.8: 3 of 4 pairs are right."""
    strategy = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        monitor = RankingArea("roc", "area")

    def of(first, second):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(second if context.replica_id_in_sync_group else first))

    strategy.run(monitor.update_state, args=(of([0.0, 0.0], [1.0, 1.0]), of([0.2, 0.6], [0.4, 0.8])))
    assert float(monitor.result()) == pytest.approx(0.75)
