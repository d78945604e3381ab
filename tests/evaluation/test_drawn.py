"""Defects that no training noise knows, drawn on held-out pictures: what is said of a model of known answers."""
import types

import cv2
import numpy as np
import pytest

from grdnet_tf.data import foreground
from grdnet_tf.data.records import Record
from grdnet_tf.defects import drawn as drawings
from grdnet_tf.defects.structural import STRUCTURAL
from grdnet_tf.evaluation import drawn

SIZE = 64
KINDS = {"scratch", "crack", "speck", "smear", "dent", "erased", "foreign"}


@pytest.fixture
def bars(tmp_path):
    """Three pictures of a dark bar on plain bright ground, with a little grain."""
    found = []
    for i in range(3):
        rng = np.random.default_rng(i)
        pixels = np.full((SIZE, SIZE, 3), 200.0)
        pixels[24 + i:38 + i, 10:54] = 70 + 30 * np.sin(np.arange(44) / 2)[None, :, None]
        path = str(tmp_path / f"{i}.png")
        cv2.imwrite(path, np.clip(pixels + rng.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8))
        found.append(Record(path, None, None, 0, "good"))
    return found


def predictor(records, finds=True, repairs=1.0, roi_seen=None):
    """It knows the good pictures by heart: the score is the distance from the nearest, X^ takes back `repairs` of it."""
    known = np.stack([cv2.imread(record.image)[..., ::-1] for record in records]) / np.float32(255)

    def predict(images, roi=None):
        if roi_seen is not None:
            roi_seen.append(roi)
        distance = np.abs(images[:, None] - known[None])
        nearest = known[distance.mean((2, 3, 4)).argmin(axis=1)]
        score = np.abs(images - nearest).max((1, 2, 3)) if finds else np.full(len(images), 0.5)
        return images + np.float32(repairs) * (nearest - images), None, score.astype(np.float32)

    model = types.SimpleNamespace(channels=3, image_size=(SIZE, SIZE))
    return types.SimpleNamespace(model=model, white=0, batch=4, predict=predict)


def test_a_model_that_knows_the_good_pictures_finds_all_and_repairs_all(bars):
    found = drawn.check(predictor(bars), bars, 4)
    assert set(found.kinds) == KINDS | {draw.__name__ for draw in STRUCTURAL} and found.pictures == 3
    assert found.image_auroc == 1.0 and set(found.kinds.values()) == {1.0}
    assert found.repaired == pytest.approx(1.0, abs=1e-6)
    assert found.drawings <= 4 * 12 and found.drawings >= 3 * 12
    assert "AUROC 1.00" in drawn.words(found) and "takes back 100% of a defect" in drawn.words(found)


def test_a_model_that_sees_nothing_is_at_chance_and_half_a_repair_is_half(bars):
    found = drawn.check(predictor(bars, finds=False, repairs=0.5), bars, 4)
    assert found.image_auroc == 0.5 and found.repaired == pytest.approx(0.5, abs=0.01)


def test_the_same_pictures_are_drawn_on_alike_each_time(bars):
    first, second = (drawn.check(predictor(bars, repairs=0.7), bars, 2) for _ in range(2))
    assert first == second


def test_with_a_region_defects_lie_in_it_and_it_is_given(bars, tmp_path):
    region = np.zeros((SIZE, SIZE), np.uint8)
    region[:, :32] = 255
    cv2.imwrite(str(tmp_path / "roi.png"), region)
    given, inside = [], [record._replace(roi=str(tmp_path / "roi.png")) for record in bars]
    found = drawn.check(predictor(bars, roi_seen=given), inside, 3)
    assert found.image_auroc == 1.0 and len(given) > 0
    assert all(np.array_equal(roi[0, ..., 0], region / 255) for roi in given)


def test_a_drawing_changes_nothing_beside_its_mask_and_shows(bars):
    picture = cv2.imread(bars[0].image)
    part, rng = foreground.find(picture), np.random.default_rng(0)
    for kind, draw in drawings.kinds(part).items():
        made, mask = drawings.drawing(kind, draw, picture, picture, None, part, rng)
        change = np.abs(made.astype(int) - picture).max(2)
        assert change[mask == 0].max() <= drawings.LEAST_CHANGE, kind
        assert change[mask > 0].mean() > drawings.LEAST_MEAN, kind


def test_what_no_try_can_show_is_left_out():
    """In a region of one pixel nothing of 12 pixels fits."""
    picture, roi = np.full((256, 256, 3), 128, np.uint8), np.zeros((256, 256), np.uint8)
    roi[100, 100] = 1
    draw = drawings.kinds()["speck"]
    assert drawings.drawing("speck", draw, picture, picture, roi, None, np.random.default_rng(0)) is None


def test_pictures_of_16_bit_are_not_drawn_on(tmp_path):
    path = str(tmp_path / "deep.png")
    cv2.imwrite(path, np.full((SIZE, SIZE, 3), 30000, np.uint16))
    records = [Record(path, None, None, 0, "good")]
    assert drawn.check(types.SimpleNamespace(), records, 2) is None
