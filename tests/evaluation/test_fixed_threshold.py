"""A threshold that a person sets, and intervals of many counts at once."""
import numpy as np
import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.evaluation import metrics, thresholds


def test_a_set_value_is_kept_and_the_good_above_it_are_counted():
    found = thresholds.fit(metrics.rank([0.1, 0.2, 0.3, 0.4], [0, 0, 0, 0]), "value:0.25")
    assert (found.value, found.method, found.n, found.above) == (0.25, "value:0.25", 4, 2)
    low, high = found.false_reject_interval  # 2 of 4, from the published table
    assert low == pytest.approx(0.0676, abs=5e-5) and high == pytest.approx(0.9324, abs=5e-5)


@pytest.mark.parametrize("text", ["value", "value:", "value:-0.1", "value:1.01", "value:nan", "value:high"])
def test_a_value_that_no_score_can_have_is_refused(text):
    with pytest.raises(InputError, match="value:X"):
        thresholds.parse(text)


def test_zero_and_one_are_values():
    assert thresholds.parse("value:0") == ("value", 0.0) and thresholds.parse("value:1") == ("value", 1.0)


def test_intervals_of_all_counts_are_those_of_each():
    low, high = thresholds.clopper_pearson(np.arange(4), 3)
    assert low[0] == 0 and high[3] == 1
    assert high[0] == pytest.approx(1 - 0.025 ** (1 / 3)) and low[3] == pytest.approx(0.025 ** (1 / 3))
    assert isinstance(thresholds.clopper_pearson(1, 3)[0], float)  # as JSON takes it
    assert thresholds.clopper_pearson(1, 3) == (pytest.approx(low[1]), pytest.approx(high[1]))
