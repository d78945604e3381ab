"""The gate in front of a lower precision: which pictures it looks at, what passes and what stops the export."""
import cv2
import numpy as np
import pytest

from grdnet_tf.errors import ExportStopped, InputError
from grdnet_tf.serving.convert import judge

NAMES = ["a.png", "b.png", "c.png", "d.png"]
FP32 = np.array([0.10, 0.20, 0.40, 0.80])


def test_equal_scores_pass_and_are_counted():
    assert judge.judge("int8", FP32, FP32, 0.3, NAMES) == {
        "pictures": 4, "largest_score_difference": 0.0, "mean_score_difference": 0.0, "flipped": 0}


def test_a_change_at_any_of_the_thresholds_is_counted():
    found = judge.judge("fp16", FP32, FP32 + [0.002, 0, 0, 0], (0.101, 0.3), NAMES)  # looked at again now
    assert found["flipped"] == 1
    with pytest.raises(ExportStopped, match="2 of 4 decisions"):
        judge.judge("fp16", FP32, FP32 + [0.002, 0.002, 0, 0], (0.101, 0.201), NAMES)


def test_small_differences_pass_with_their_size():
    found = judge.judge("int8", FP32, FP32 + [0.01, 0, -0.03, 0], 0.3, NAMES)
    assert found["largest_score_difference"] == pytest.approx(0.03)
    assert found["mean_score_difference"] == pytest.approx(0.01)


@pytest.mark.parametrize("precision, change, passes", [("fp32", 0.009, True), ("fp32", 0.011, False),
                                                       ("fp16", 0.009, True), ("fp16", 0.011, False),
                                                       ("int8", 0.049, True), ("int8", 0.051, False)])
def test_the_limit_of_a_score_is_that_of_its_precision(precision, change, passes):
    if passes:
        judge.judge(precision, FP32, FP32 - [0, 0, 0, change], 0.3, NAMES)
    else:
        with pytest.raises(ExportStopped, match=f"^{precision}: the score of d.png"):
            judge.judge(precision, FP32, FP32 - [0, 0, 0, change], 0.3, NAMES)


def test_one_flipped_decision_in_a_hundred_passes_two_do_not():
    expected = np.full(100, 0.299)
    one, two = expected.copy(), expected.copy()
    one[7] = two[7] = two[60] = 0.301  # hardly another score, but another side of the threshold 0.3
    names = [f"{i}.png" for i in range(100)]
    assert judge.judge("fp16", expected, one, 0.3, names)["flipped"] == 1
    with pytest.raises(ExportStopped, match="2 of 100 decisions .* first on 7.png"):
        judge.judge("fp16", expected, two, 0.3, names)


def test_the_threshold_itself_is_good_on_both_sides():
    assert judge.judge("fp16", np.array([0.3]), np.array([0.2999]), 0.3, ["a.png"])["flipped"] == 0
    assert judge.judge("fp16", np.array([0.3]), np.array([0.3001]), 0.3, ["a.png"])["flipped"] == 1


@pytest.mark.parametrize("precision", judge.LIMITS)
def test_among_few_pictures_one_flipped_decision_passes_two_do_not(precision):
    expected = np.array([0.10, 0.299, 0.299, 0.80])
    assert judge.judge(precision, expected, expected + [0, 0.002, 0, 0], 0.3, NAMES)["flipped"] == 1
    with pytest.raises(ExportStopped, match=f"^{precision}: 2 of 4 decisions .* first on b.png"):
        judge.judge(precision, expected, expected + [0, 0.002, 0.002, 0], 0.3, NAMES)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_stops_the_export(value):
    with pytest.raises(ExportStopped, match="c.png"):
        judge.judge("int8", FP32, np.array([0.1, 0.2, value, 0.8]), 0.3, NAMES)


def test_nothing_to_compare_on_is_no_success():
    with pytest.raises(InputError, match="no pictures"):
        judge.judge("int8", np.array([]), np.array([]), 0.3, [])


def test_both_models_see_the_same_decoded_pictures(small_demo):
    found = judge.find(small_demo)
    seen = {"reference": [], "candidate": []}

    def model(name, gain):
        def scores(images):
            seen[name].append(images)
            return images.mean(axis=(1, 2, 3)) * gain
        return scores

    models = model("reference", 1.0), model("candidate", 1.01)
    report = judge.gate("int8", *models, found.compared, (16, 16), 3, 0.0)
    assert report["pictures"] == len(found.compared) > judge.BATCH  # more than one batch
    reference, candidate = (np.concatenate(batches) for batches in seen.values())
    np.testing.assert_array_equal(reference, candidate)
    assert reference.shape == (len(found.compared), 16, 16, 3) and 0 <= reference.min() < reference.max() <= 1
    assert report["largest_score_difference"] == pytest.approx(0.01 * reference.mean(axis=(1, 2, 3)).max(), rel=1e-3)


def test_good_pictures_calibrate_and_test_pictures_compare(small_demo):
    found = judge.find(small_demo)
    assert len(found.calibration) == 12 and all("/train/good/" in record.image for record in found.calibration)
    assert {record.defect for record in found.compared} > {"good"}


def test_many_pictures_are_thinned_evenly(monkeypatch, small_demo):
    monkeypatch.setattr(judge, "CALIBRATION_PICTURES", 4)
    every = judge.find(small_demo).calibration
    monkeypatch.undo()
    names = [record.image for record in judge.find(small_demo).calibration]
    assert [record.image for record in every] == [names[0], names[3], names[7], names[11]]  # 0, 3.67, 7.33, 11 cut


def test_a_folder_without_a_test_part_is_compared_on_the_good_pictures(tmp_path):
    (tmp_path / "train" / "good").mkdir(parents=True)
    for i in range(3):
        cv2.imwrite(str(tmp_path / "train" / "good" / f"{i}.png"), np.full((8, 8, 3), 80 * i, np.uint8))
    found = judge.find(str(tmp_path))
    assert found.compared == found.calibration and len(found.compared) == 3


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(InputError, match="train"):
        judge.find(str(tmp_path))
