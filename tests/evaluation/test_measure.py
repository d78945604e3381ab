"""What an evaluation reports, on drawn pictures whose brightness *is* the anomaly map: every number is known."""
import json
import os
import tracemalloc

import cv2
import numpy as np
import pytest

from grdnet_tf.data import pipeline
from grdnet_tf.data.records import Record
from grdnet_tf.errors import InputError
from grdnet_tf.evaluation import figures, measure
from grdnet_tf.evaluation.calibration import calibrate, collect, fit
from grdnet_tf.evaluation.predict import Predictor
from grdnet_tf.model.grdnet import Detection
from grdnet_tf.model.scoring import anomaly_score

SIZE, POOL = 32, 5
LEFT = np.zeros((SIZE, SIZE), np.uint8)
LEFT[:, :16] = 255


def predict(images):
    """A network whose anomaly map is the picture's brightness; its reconstruction is the picture."""
    return images, images[..., :1], anomaly_score(images[..., :1], POOL)


class Brightness:
    """The same as a model."""
    image_size, channels, score_pool, total_stride, one_size, name = (SIZE, SIZE), 1, POOL, 1, False, "brightness"

    def __call__(self, images, roi=None, training=False):
        return Detection(*predict(images))


def write(path, pixels):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    cv2.imwrite(str(path), pixels)
    return str(path)


def picture(folder, name, defect="good", spot=None, value=200, roi=None, mask=True, seed=0):
    """One record: dim noise, and a bright square of `value` at `spot` (row, column)."""
    pixels = np.random.default_rng([seed, len(name)]).integers(0, 40, (SIZE, SIZE)).astype(np.uint8)
    truth = np.zeros((SIZE, SIZE), np.uint8)
    if spot:
        truth[spot[0]:spot[0] + 6, spot[1]:spot[1] + 6] = 255
        pixels[truth > 0] = value
    image = write(f"{folder}/{name}.png", pixels)
    mask = write(f"{folder}/{name}_mask.png", truth) if spot and mask else None
    roi = write(f"{folder}/{name}_roi.png", roi) if roi is not None else None
    return Record(image, mask, roi, int(spot is not None), defect)


def batches(records, batch_size=4):
    return pipeline.evaluation_dataset(records, image_size=(SIZE, SIZE), channels=1, batch_size=batch_size)


def evaluate(records, **options):
    return measure.evaluate(predict, batches(records), records, pool=POOL, resamples=50, **options)


def calibration(records, *methods):
    samples = collect(predict, batches(records), records, POOL, f"{len(records)} drawn pictures")
    return calibrate(samples, samples, *methods)


@pytest.fixture
def mixed(tmp_path):
    """3 good pictures, 2 with a defect inside the ROI (the left half), 2 with one outside it."""
    return ([picture(tmp_path, f"good{i}", roi=LEFT, seed=i) for i in range(3)]
            + [picture(tmp_path, f"in{i}", "spot", (4 + i, 4), roi=LEFT, seed=5 + i) for i in range(2)]
            + [picture(tmp_path, f"out{i}", "dirt", (4 + i, 22), roi=LEFT, seed=8 + i) for i in range(2)])


def test_numbers_of_the_three_readings(mixed):
    good = calibration([record for record in mixed if not record.label])
    report = evaluate(mixed, thresholds=good).report
    assert (report["n_images"], report["n_defective"], report["n_defective_roi"]) == (7, 4, 2)
    # The whole picture: all four are brighter than the good ones. Inside the ROI: only "in" is, and it should be.
    for key in ("image_auroc", "image_ap", "image_f1_max", "accuracy", "pixel_auroc", "pixel_ap", "aupro", "aupro_05"):
        assert report[key] == report[key + "_roi"] == pytest.approx(1.0, abs=1e-9), key
    # The network alone fires on the dirt as on the defects: of 2 x 5 pairs, 2 x 3 are right and 2 x 2 stand in between.
    assert 0.6 <= report["image_auroc_roi_unmasked"] < 1.0
    assert report["outside_roi_alarm_rate"] == 1.0
    assert (report["miss_rate"], report["false_reject_rate"]) == (0.0, 0.0)
    assert report["false_reject_rate_roi_unmasked"] == pytest.approx(2 / 5)  # the two with dirt are good parts there
    assert report["absent"] == {}
    assert report["threshold"] == good["image"]["value"]
    json.dumps(report, allow_nan=False)


def test_each_type_against_the_good(mixed):
    report = evaluate(mixed, thresholds=calibration(mixed[:3])).report["per_type"]
    assert {name: part["n_images"] for name, part in report.items()} == {"good": 3, "spot": 2, "dirt": 2}
    assert report["spot"]["image_auroc"] == report["spot"]["pixel_auroc_roi"] == 1.0
    assert report["dirt"]["image_auroc"] == 1.0
    assert report["dirt"]["image_auroc_roi"] is None  # nothing of it lies inside the ROI
    assert report["dirt"]["absent"]["image_auroc_roi"] == "no defective images"
    assert report["good"]["false_reject_rate"] == 0.0


def test_defects_outside_the_roi_change_no_roi_metric(mixed, tmp_path):
    clean = mixed[:5] + [picture(tmp_path / "clean", f"out{i}", roi=LEFT, seed=8 + i) for i in range(2)]
    good = calibration(mixed[:3])
    with_dirt, without = (evaluate(records, thresholds=good).report for records in (mixed, clean))
    for key in without:
        if key.endswith("_roi"):
            assert with_dirt[key] == without[key], key
    assert with_dirt["image_auroc"] is not None and with_dirt["n_defective"] != without["n_defective"]


def test_roi_of_ones_is_no_roi(tmp_path):
    def records(folder, roi):
        return [picture(tmp_path / folder, f"{i}", "good" if i < 3 else "spot", (3 * i, 9) if i > 2 else None, 9 * i,
                        roi, seed=i) for i in range(7)]
    ones = evaluate(records("a", np.full((SIZE, SIZE), 255, np.uint8)), thresholds=calibration(records("a", None)[:2]))
    none = evaluate(records("b", None), thresholds=calibration(records("b", None)[:2]))
    for key in ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro"):
        expected = none.report[key]
        assert ones.report[key] == ones.report[key + "_roi"] == ones.report[key + "_roi_unmasked"] == expected, key
        assert none.report[key + "_roi"] is None and none.report["absent"][key + "_roi"] == figures.NO_ROI
    assert 0 < ones.report["pixel_ap"] < 1  # a case that can differ
    assert [row.score for row in ones.rows] == [row.score_roi for row in ones.rows] == [row.score for row in none.rows]


def test_order_of_the_images_changes_nothing(mixed):
    good = calibration(mixed[:3])
    first, second = (evaluate(records, thresholds=good).report for records in (mixed, mixed[::-1]))
    numbers = [key for key in first if isinstance(first[key], float)]
    assert len(numbers) > 30
    assert [first[key] for key in numbers] == pytest.approx([second[key] for key in numbers], rel=1e-12)
    assert first["intervals"] == second["intervals"]


def test_batch_size_changes_nothing(mixed):
    small = measure.evaluate(predict, batches(mixed, 2), mixed, pool=POOL, resamples=10).report
    assert small == measure.evaluate(predict, batches(mixed, 7), mixed, pool=POOL, resamples=10).report


def test_without_masks_pixel_metrics_are_absent_with_the_reason(tmp_path):
    records = [picture(tmp_path, "a"), picture(tmp_path, "bb", "spot", (4, 4), mask=False)]
    report = evaluate(records).report
    assert report["image_auroc"] == 1.0
    for key in ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro", "aupro_05"):
        assert report[key] is None and report["absent"][key] == figures.NO_MASKS
    assert report["threshold"] is None and report["absent"]["accuracy"] == figures.NO_THRESHOLD


def test_only_good_images(tmp_path):
    records = [picture(tmp_path, "a"), picture(tmp_path, "bb")]
    report = evaluate(records, thresholds=calibration(records)).report
    assert report["image_auroc"] is None and report["absent"]["image_auroc"] == "no defective images"
    assert report["pixel_auroc"] is None and report["absent"]["pixel_auroc"] == "no defective pixels"
    assert report["intervals"]["image_auroc"] is None
    assert report["false_reject_rate"] == 0.0 and report["accuracy"] == 1.0  # these need no defect


def test_some_masks_missing_is_said(mixed, tmp_path):
    records = mixed + [picture(tmp_path, "unknown", "other", (9, 9), mask=False)]
    report = evaluate(records).report
    assert report["pixel_auroc"] == pytest.approx(1.0)  # the unknown picture's pixels are in neither class
    assert any("1 defective images have no mask" in line for line in report["warnings"])


def test_a_mask_of_one_pixel_does_not_vanish_in_the_resize(tmp_path):
    good, tiny = picture(tmp_path, "a"), picture(tmp_path, "bb", "spot", (8, 8))
    mask = np.zeros((320, 320), np.uint8)
    mask[101, 101] = 255  # one pixel of 10 x 10, where nearest sampling would take another
    cv2.imwrite(tiny.mask, mask)
    cv2.imwrite(tiny.image, np.full((320, 320), 200, np.uint8))
    report = evaluate([good, tiny]).report
    assert report["warnings"] == [] and report["n_defective"] == 1 and report["pixel_auroc"] is not None


@pytest.mark.parametrize("value,message", [(np.nan, "holds NaN"), (1.5, "leaves")])
def test_a_broken_map_names_the_image(mixed, value, message):
    def broken(images):
        found = [np.array(part) for part in predict(images)]
        if len(found[0]) == 3:  # the second batch
            found[1][1, 3, 3] = value
        return found
    with pytest.raises(InputError, match=message) as error:
        measure.evaluate(broken, batches(mixed), mixed, pool=POOL)
    assert mixed[5].image in str(error.value)


def test_calibration_by_hand(mixed):
    good = mixed[:3]
    found = calibration(good)
    scores = [float(predict(batch["image"])[2][0]) for batch in batches(good, 1)]
    assert found["image"]["value"] == max(scores) and found["image"]["fitted_on"] == "3 drawn pictures"
    pixels = np.sort(np.concatenate([batch["image"].numpy().ravel() for batch in batches(good, 1)]))
    assert found["pixel"]["value"] == pytest.approx(pixels[int(np.ceil(0.999 * pixels.size)) - 1], abs=1e-6)
    assert found["pixel_roi"]["n"] == pixels.size / 2
    assert found["pixel"]["false_reject_interval"] is None and found["image"]["false_reject_interval"][0] == 0.0
    assert "image_roi" not in calibration([record._replace(roi=None) for record in good])


def test_calibration_on_labelled_images(mixed):
    found = calibration(mixed, "best_f1:there", "best_f1:there")
    report = evaluate(mixed, thresholds=found).report
    assert report["accuracy"] == report["accuracy_roi"] == 1.0
    assert found["image_roi"]["n"] == 5  # the two with dirt outside the ROI are good there
    assert found["image"]["n"] == 3


def test_one_good_picture_that_makes_the_threshold_alone_is_told(tmp_path, caplog):
    good = [picture(tmp_path, f"good{i}", roi=LEFT, seed=i) for i in range(12)]
    dirty = [picture(tmp_path, "beside", spot=(9, 22), roi=LEFT)._replace(label=0, mask=None),
             picture(tmp_path, "scratched", spot=(9, 4), roi=LEFT)._replace(label=0, mask=None)]

    def told(records, *methods):
        caplog.clear()
        predictor = Predictor(Brightness(), batch=4)
        methods = methods or ("max_normal", "quantile:0.999")
        fit(predictor, dict.fromkeys(methods, (records, "drawn pictures")), *methods)
        return [record.getMessage() for record in caplog.records]

    assert told(good + dirty[:1]) == []  # outside of the ROI
    line, = told(good + dirty)
    assert f"makes the threshold: {tmp_path}/scratched.png scores 0.78" in line and "the other 13 at most 0.1" in line
    assert told(good + dirty, "quantile:0.9", "quantile:0.999") == []


def test_a_method_that_needs_defects_names_what_lacks_them(mixed):
    with pytest.raises(InputError, match="3 drawn pictures: best_f1:there needs good samples and defective ones"):
        calibration(mixed[:3], "best_f1:there")


def test_regions_and_defects_of_each_image(mixed):
    found = evaluate(mixed, thresholds=calibration(mixed[:3]), min_area=4, um_per_pixel=lambda record: (10.0, 20.0))
    for row, record in zip(found.rows, mixed):
        if record.defect == "spot":
            region, = row.regions
            top = 4 + int(record.image[-5])
            assert (region.box, region.area, row.n_regions) == ((top, 4, top + 6, 10), 36, 1)
            assert region.area_um2 == 36 * 200.0 and row.defects[0].found
        else:  # noise is smaller than 4 pixels, and the dirt lies outside the ROI
            assert (list(row.regions), row.n_regions, list(row.defects)) == ([], 0, [])
    sizes = found.report["sizes"]
    assert sizes["unit"] == "um" and sum(c["n"] for c in sizes["classes"]) == 2 and sizes["largest_missed"] is None
    assert sizes["smallest_found"] == pytest.approx(2 * np.sqrt(36 * 200 / np.pi))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images():
    maps = np.random.default_rng(0).random((8, 64, 64, 1), dtype=np.float32)

    def peak(count):
        records = [Record(f"{i}.png", "mask.png" if i % 2 else None, None, i % 2, "spot" if i % 2 else "good")
                   for i in range(8 * count)]

        def stream():
            for start in range(0, len(records), 8):
                mask = np.zeros_like(maps)
                mask[1::2, 20:30, 20:30] = 1
                yield {"image": maps, "roi": np.ones_like(maps), "mask": mask, "index": np.arange(start, start + 8)}

        tracemalloc.start()
        measure.evaluate(lambda images: (images, images, np.ones(8, np.float32)), stream(), records, resamples=5)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(70), peak(700)  # 2.3 and 23 million pixels: 9 and 92 MB of maps
    assert many - few < 10e6  # one row an image
