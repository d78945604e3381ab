"""A network that takes the region as an input: what counts inside is its map with the region given."""
import os

import cv2
import numpy as np
import pytest

from grdnet_tf.data import pipeline
from grdnet_tf.data.records import Record
from grdnet_tf.errors import InputError
from grdnet_tf.evaluation import measure
from grdnet_tf.evaluation.calibration import calibrate, collect
from grdnet_tf.model.scoring import anomaly_score

SIZE = 32


def predict(images, roi=None):
    """The map is the picture's brightness; with a region given what is bright becomes dark, and dark bright."""
    amap = np.asarray(images)[..., :1]
    amap = amap if roi is None else 1.0 - amap
    return images, amap, anomaly_score(amap, 1)


@pytest.fixture
def records(tmp_path):
    """A good picture and one with a dark defect: of 200 and 100, inside the left half."""
    region = np.zeros((SIZE, SIZE), np.uint8)
    region[:, :16] = 255
    found = []
    for name, defect in (("plain", None), ("dark", np.s_[4:10, 4:10])):
        pixels, truth = np.full((SIZE, SIZE), 200, np.uint8), np.zeros((SIZE, SIZE), np.uint8)
        if defect:
            pixels[defect], truth[defect] = 100, 255
        paths = [os.path.join(str(tmp_path), f"{name}{end}.png") for end in ("", "_mask", "_roi")]
        for path, array in zip(paths, (pixels, truth, region)):
            cv2.imwrite(path, array)
        mask, label = (paths[1], 1) if defect else (None, 0)
        found.append(Record(paths[0], mask, paths[2], label, name if defect else "good"))
    return found


def batches(records):
    return pipeline.evaluation_dataset(records, image_size=(SIZE, SIZE), channels=1, batch_size=2)


def test_inside_counts_the_map_that_was_made_with_the_region(records):
    samples = collect(predict, batches(records[:1]), records[:1], 1, "one picture", sees_roi=True)
    thresholds = calibrate(samples, samples)
    # 200 / 255 as it is, 1 - 200 / 255 with the region given
    assert thresholds["image"]["value"] == pytest.approx(200 / 255, abs=1e-5)
    assert thresholds["pixel_roi"]["value"] == pytest.approx(55 / 255, abs=1e-5)
    for sees, right in ((True, 1.0), (False, 0.0)):
        report = measure.evaluate(predict, batches(records), records, pool=1, thresholds=thresholds, resamples=5,
                                  sees_roi=sees).report
        assert (report["pixel_auroc"], report["pixel_auroc_roi_unmasked"]) == (0.0, 0.0)
        assert report["pixel_auroc_roi"] == report["per_type"]["dark"]["pixel_auroc_roi"] == right
        # The dark picture's highest value is 155 / 255 with the region, where the plain one has 55; else both have 200.
        assert report["image_auroc_roi"] == (1.0 if sees else 0.5)


def test_the_map_to_be_shown_is_the_one_inside(records):
    plain, dark = measure.scan(predict, batches(records), records, 1, sees_roi=True)
    assert dark.inside[5, 5] == pytest.approx(155 / 255) and dark.anomaly_map[5, 5] == pytest.approx(100 / 255)
    assert plain.inside[:, :16] == pytest.approx(55 / 255) and not plain.inside[:, 16:].any()
    plain, dark = measure.scan(predict, batches(records), records, 1)
    assert dark.inside[5, 5] == dark.anomaly_map[5, 5]


def test_a_picture_without_a_region_has_one_map(records):
    whole = [record._replace(roi=None) for record in records]
    assert [seen.given for seen in measure.scan(predict, batches(whole), whole, 1, sees_roi=True)] == [None, None]


def test_a_broken_map_with_the_region_names_the_picture(records):
    def broken(images, roi=None):
        found = predict(images)
        return found if roi is None else (found[0], found[1] * np.nan, found[2])

    with pytest.raises(InputError, match="plain.png: the anomaly map holds NaN"):
        list(measure.scan(broken, batches(records), records, 1, sees_roi=True))
