"""Pixel metrics from the histogram: close to scikit-learn's on every kind of map, independent of order, small."""
import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, roc_auc_score

from grdnet_tf.evaluation import metrics
from grdnet_tf.evaluation.histogram import PixelHistogram


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def maps(n=4, size=128, seed=0):
    """Logits that are higher where the truth is 1, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.random((n, size, size)) < 0.03
    return rng.standard_normal(truth.shape) + 1.5 * truth, truth


SHAPES = {
    "usual": lambda z: sigmoid(2 * z - 3),
    "saturated": lambda z: sigmoid(12 * z - 18),
    "untrained": lambda z: sigmoid(1e-4 * z),
    "close to 1": lambda z: 1 - np.exp(-z - 12).clip(0, 1),
    "close to 0": lambda z: np.exp(3 * z - 60),
    "one pixel far off": lambda z: np.where(np.arange(z.size).reshape(z.shape) == 5, 1e-38, 0.5 + 1e-3 * z / 6),
    "tied": lambda z: np.round(sigmoid(z), 2),
    "zeros and ones": lambda z: (z > 1) * 1.0,
    "relu": lambda z: np.maximum(z, 0) / 10,
    "constant": lambda z: np.full(z.shape, 0.3),
    "all zero": lambda z: np.zeros(z.shape),
    "all one": lambda z: np.ones(z.shape),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_pixel_metrics_are_within_1e_4_of_scikit_learn(shape):
    logits, truth = maps()
    scores = SHAPES[shape](logits).astype(np.float32)
    histogram = PixelHistogram()
    for single, mask in zip(scores, truth):
        histogram.add(single, mask)
    ranking = metrics.rank_pixels(histogram.cells())
    assert ranking.good.sum() + ranking.defective.sum() == scores.size
    assert metrics.auroc(ranking) == pytest.approx(roc_auc_score(truth.ravel(), scores.ravel()), abs=1e-4)
    assert metrics.average_precision(ranking) == pytest.approx(average_precision_score(truth.ravel(), scores.ravel()),
                                                               abs=1e-4)


@pytest.mark.slow
def test_ten_million_pixels_are_within_1e_4_of_scikit_learn():
    logits, truth = maps(n=160, size=256)  # 1.05e7
    scores = sigmoid(2 * logits - 3).astype(np.float32)
    histogram = PixelHistogram()
    for single, mask in zip(scores, truth):
        histogram.add(single, mask)
    assert metrics.auroc(metrics.rank_pixels(histogram.cells())) == pytest.approx(
        roc_auc_score(truth.ravel(), scores.ravel()), abs=1e-4)


def test_narrow_maps_are_exact():  # few distinct float32 values: every one has a bin of its own
    logits, truth = maps()
    scores = (0.5 + 1e-4 * logits / 6).astype(np.float32)
    histogram = PixelHistogram()
    for single, mask in zip(scores, truth):
        histogram.add(single, mask)
    cells = histogram.cells()
    np.testing.assert_array_equal(cells.score.astype(np.float32), np.unique(scores)[::-1])


def test_scores_of_the_cells_are_close_to_the_pixels():
    small, large = np.geomspace(1e-30, 0.5, 4000), 1 - np.geomspace(6e-8, 0.5, 4000)
    scores = np.concatenate([small, large, [0, 1]]).astype(np.float32)
    histogram = PixelHistogram()
    histogram.add(scores.reshape(1, -1))
    cells = histogram.cells()
    assert cells.score[0] == 1.0 and cells.score[-1] == 0.0 and (np.diff(cells.score) < 0).all()
    nearest = cells.score[np.abs(cells.score[:, None] - scores[None, ::50]).argmin(axis=0)]
    np.testing.assert_allclose(nearest, scores[::50], rtol=1e-3)


def test_order_and_grouping_change_nothing():
    logits, truth = maps(6, 64)
    scale = np.geomspace(1e-6, 1, 6)[:, None, None]  # the range grows with the maps that come
    scores = (sigmoid(3 * logits) * scale).astype(np.float32)
    regions = np.stack([label(mask)[0] for mask in truth])
    roi = logits[::-1] > 0

    def cells(order, parts=1):
        histograms = [PixelHistogram(pages=3) for _ in range(parts)]
        for i in order:
            histograms[i % parts].add(scores[i], truth[i], roi[i], regions[i], regions[i])
        for other in histograms[1:]:
            histograms[0].merge(other)
        return histograms[0].cells(), histograms[0].n_regions

    (first, n), others = cells(range(6)), [cells([5, 3, 1, 0, 2, 4]), cells(range(6), parts=3)]
    for other, m in others:
        assert m == n == sum(region.max() for region in regions)
        for a, b in zip(first, other):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_roi_of_ones_is_no_roi():
    logits, truth = maps(1)
    scores = sigmoid(logits)[0].astype(np.float32)
    plain, ones = PixelHistogram(), PixelHistogram()
    plain.add(scores, truth[0])
    ones.add(scores, truth[0], roi=np.ones_like(truth[0]))
    for a, b in zip(plain.cells(), ones.cells()):
        np.testing.assert_array_equal(a, b)


def test_inside_the_roi_equals_the_pixels_inside():
    logits, truth = maps(2)
    scores, roi = sigmoid(logits).astype(np.float32), logits[::-1] > -0.5
    histogram = PixelHistogram()
    for i in range(2):
        histogram.add(scores[i], truth[i], roi[i])
    inside = metrics.auroc(metrics.rank_pixels(histogram.cells(), inside_roi=True))
    assert inside == pytest.approx(roc_auc_score(truth[roi], scores[roi]), abs=1e-5)


def brute_force_aupro(scores, truth, limit):
    """The definition, threshold by threshold, with every distinct score a threshold."""
    regions = []
    for single, mask in zip(scores, truth):
        numbers, count = label(mask, np.ones((3, 3)))
        regions += [single[numbers == i + 1] for i in range(count)]
    fpr, pro = [0.0], [0.0]
    for threshold in np.unique(scores)[::-1]:
        fpr.append((scores[~truth] >= threshold).mean())
        pro.append(np.mean([(region >= threshold).mean() for region in regions]))
    grid = np.sort(np.append(np.unique([f for f in fpr if f < limit]), limit))
    # Area under the polyline, split where the false-positive rate stands still: the last value counts.
    area, fpr, pro = 0.0, np.array(fpr), np.array(pro)
    for left, right in zip(grid[:-1], grid[1:]):
        area += (right - left) * (pro[fpr <= left][-1] + np.interp(right, [left, fpr[fpr > left][0]],
                                                                   [pro[fpr <= left][-1], pro[fpr > left][0]])) / 2
    return area / limit


@pytest.mark.parametrize("limit", [0.3, 0.05])
def test_aupro_equals_the_definition(limit):
    rng = np.random.default_rng(3)
    truth = np.zeros((3, 24, 24), bool)
    truth[0, 2:9, 2:5] = truth[0, 15:17, 10:20] = truth[1, 5:20, 5:20] = truth[2, 0, 0] = truth[2, 1, 1] = True
    scores = np.round(sigmoid(rng.standard_normal(truth.shape) + 1.5 * truth), 2).astype(np.float32)
    histogram = PixelHistogram()
    for single, mask in zip(scores, truth):
        histogram.add(single, mask, regions=label(mask, np.ones((3, 3)))[0])
    assert histogram.n_regions == 4  # the two pixels of the last map touch at a corner: one region
    cells = histogram.cells()
    found = metrics.aupro(metrics.rank_pixels(cells), cells.regions, histogram.n_regions, limit)
    assert found == pytest.approx(brute_force_aupro(scores, truth, limit), abs=1e-9)


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1])
def test_scores_outside_the_range_are_refused(bad):
    scores = np.full((4, 4), 0.5, np.float32)
    scores[1, 2] = bad
    with pytest.raises(ValueError, match="0, 1"):
        PixelHistogram().add(scores)


def test_memory_does_not_grow_with_the_number_of_maps():
    logits, truth = maps(2)
    scores = sigmoid(3 * logits).astype(np.float32)

    def peak(count):
        tracemalloc.start()
        histogram = PixelHistogram()
        for i in range(count):
            histogram.add(scores[i % 2], truth[i % 2])
        histogram.cells()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(100), peak(1000)  # 1.6 and 16 million pixels
    assert many < 1.05 * few < 100e6
