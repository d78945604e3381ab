"""What of a station's settings is in the served graph: its ROI and the least area, as the evaluation has them."""
import cv2
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.evaluation import regions
from grdnet_tf.evaluation.measure import Least
from grdnet_tf.serving import export, folding, found_regions
from grdnet_tf.serving.signatures import Station, signatures


def maps(height=24, width=31, n=3):
    """(N, H, W) float32: grain, blobs, and a region that winds through the whole map."""
    rng = np.random.default_rng(5)
    found = rng.random((n, height, width)).astype(np.float32)
    found[1] = np.where(found[1] > 0.9, 1.0, found[1] / 2)
    found[2] = 0
    found[2, ::4] = 1
    for row in range(0, height - 4, 4):
        found[2, row:row + 4, (row // 4 % 2) * (width - 1)] = 1
    return found


@pytest.mark.parametrize("min_area", [1, 2, 5, 32, 33, 600])
def test_small_regions_in_the_graph_are_those_of_the_evaluation(min_area):
    shown = maps()
    found = tf.function(found_regions.counted)(tf.constant(shown[..., None]), 0.7, min_area).numpy()[..., 0]
    for one, wanted in zip(found, shown):
        np.testing.assert_array_equal(one, regions.counted(wanted, 0.7, min_area))
    assert (found[2] == shown[2]).all() == (min_area < 600)  # one region, however long
    assert min_area == 1 or (found[0] != shown[0]).any()


@pytest.mark.parametrize("min_area", [1, 3])
def test_the_rows_of_a_picture_are_its_regions_the_highest_first(min_area):
    shown = cv2.GaussianBlur(maps()[0], (0, 0), 0.6)
    level, few, blank = 0.65, np.where(np.arange(31) < 12, shown, 0).astype(np.float32), np.zeros_like(shown)
    found = tf.function(found_regions.rows)(tf.constant(np.stack([shown, few, blank])[..., None]), level, min_area).numpy()
    for rows, amap in zip(found, (shown, few, blank)):
        wanted = regions.describe(regions.label_found(amap, level, min_area), amap)[:found_regions.ROWS]
        assert rows[:, 4].tolist() == [one.area for one in wanted] + [0] * (found_regions.ROWS - len(wanted))
        boxes = np.array([one.box for one in wanted], np.float32).reshape(-1, 4)
        np.testing.assert_allclose(rows[:len(wanted), :4] * [24, 31, 24, 31], boxes, atol=1e-4)
        np.testing.assert_array_equal(rows[:len(wanted), 5], np.float32([one.peak for one in wanted]))
    assert (found[0, -1, 4] > 0) == (min_area == 1) and 1 < np.count_nonzero(found[1, :, 4]) < found_regions.ROWS


def test_a_picture_without_a_roi_is_cut_by_the_stations(model, pictures):
    shown, given = (tf.constant(part / np.float32(scale)) for part, scale in zip(pictures, (255, 1)))
    roi = np.zeros((32, 48), bool)
    roi[4:20, 8:30] = True
    half = folding.inference_half(model)
    plain = half(shown, roi=tf.constant(np.repeat(roi[None, ..., None], len(shown), 0), tf.float32))
    shown_map = plain.anomaly_map.numpy()
    level, area = float(np.quantile(shown_map[shown_map > 0], 0.9)), 15
    wanted = Least(area, level, level).scores(shown_map, half.score_pool)
    assert (wanted < plain.score.numpy() - 1e-3).any()  # small regions did count before
    limit = float(np.sort(wanted)[1:3].mean())
    thresholds = {"image": {"value": 2.0}, "pixel": {"value": 2.0}, "image_roi": {"value": limit},
                  "pixel_roi": {"value": level}}
    offered = signatures(half, thresholds, (), station=Station(roi, area))
    found = offered["serving_default"].function(shown)
    np.testing.assert_allclose(found["score"], wanted, atol=1e-6)
    np.testing.assert_array_equal(found["is_anomalous"], wanted > limit)
    assert not found["anomaly_map"].numpy()[:, ~roi].any()
    own = offered["serve_roi"].function(shown, given)  # the one that comes with the picture holds
    np.testing.assert_allclose(own["score"], Least(area, level, level).scores(
        half(shown, roi=given).anomaly_map.numpy(), half.score_pool), atol=1e-6)
    broken = offered["serving_default"].function(tf.fill(shown.shape, np.float32(np.nan)))
    assert broken["is_anomalous"].numpy().all() and (broken["score"].numpy() == 1).all()


@pytest.mark.slow
def test_the_servers_files_name_the_threshold_that_the_graph_decides_by(model, tmp_path):
    roi = np.zeros((32, 48), bool)
    roi[4:20, 8:30] = True
    thresholds = {name: {"value": value} for name, value in (
        ("image", 0.9), ("look", 0.8), ("pixel", 0.9), ("image_roi", 0.5), ("look_roi", 0.25), ("pixel_roi", 0.5))}
    for station, words in ((Station(), "above 0.9 is anomalous, one above 0.8"), (Station(roi), "above 0.5 is anomalous, one above 0.25")):
        out = tmp_path / words[6:9]
        export.export(model, thresholds, str(out), "vials", 1, export.Options(batch_sizes=(1,), station=station))
        assert words in (out / "serving" / "README.md").read_text(encoding="utf-8")
