"""AUPRO where the limit falls between two of the curve's points."""
import numpy as np
import pytest

from grdnet_tf.evaluation.metrics import Ranking, aupro


def test_the_curve_is_cut_at_the_limit_between_its_points():
    """Points (0, 0), (1/3, 0.5), (2/3, 1): at 0.3 the curve stands at 0.45, the area up to there is 0.3 * 0.45 / 2."""
    ranking = Ranking(np.array([0.9, 0.6, 0.3]), np.ones(3), np.ones(3))
    assert aupro(ranking, np.array([0.5, 0.5, 0.0]), 1, 0.3) == pytest.approx(0.225)
    # at 0.5: a triangle to (1/3, 0.5), then a trapezium to (0.5, 0.75)
    expected = (0.5 / 3 / 2 + (0.5 + 0.75) / 2 / 6) / 0.5
    assert aupro(ranking, np.array([0.5, 0.5, 0.0]), 1, 0.5) == pytest.approx(expected)
