"""What each disturbance does to a picture, and that effects are counted on what it does to the scores."""
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from grdnet_tf.data.records import Record, evenly
from grdnet_tf.evaluation import disturbance
from grdnet_tf.evaluation.disturbance import AS_THEY_ARE, DISTURBANCES

RNG = np.random.default_rng(0)
PICTURE = np.kron(RNG.uniform(0.2, 0.8, (8, 12, 3)), np.ones((8, 8, 1))).astype(np.float32)  # 64 x 96


def changed(name, image=PICTURE):
    batch, = disturbance.disturbed([{"image": image[None], "index": np.array([3])}], DISTURBANCES[name])
    return batch["image"][0]


@pytest.mark.parametrize("name, at, becomes", [
    (AS_THEY_ARE, 0.3, 0.3), ("brightness -20 %", 0.5, 0.4), ("brightness +10 %", 0.5, 0.55),
    ("brightness +20 %", 0.9, 1.0), ("gamma 0.8", 0.25, 0.25 ** 0.8), ("gamma 1.25", 0.25, 0.25 ** 1.25)])
def test_tones(name, at, becomes):
    assert changed(name, np.full((4, 5, 1), at, np.float32)) == pytest.approx(np.full((4, 5, 1), becomes), abs=1e-6)


def test_contrast_keeps_the_mean_and_scales_the_deviation():
    for name, factor in (("contrast -20 %", 0.8), ("contrast +20 %", 1.2)):
        found = changed(name, 0.25 + 0.5 * PICTURE)
        assert found.mean() == pytest.approx(0.25 + 0.5 * PICTURE.mean(), abs=1e-5)
        assert found.std() == pytest.approx(0.5 * factor * PICTURE.std(), rel=1e-4)


def test_blur_noise_shift_and_jpeg():
    impulse = np.zeros((65, 65, 1), np.float32)
    impulse[32, 32] = 1
    spread = changed("blur", impulse)  # 65 / 256 is below half a pixel, the least
    assert spread.sum() == pytest.approx(1, abs=1e-4) and spread[32, 32, 0] == pytest.approx(0.619, abs=0.01)
    noise = changed("noise", np.full((200, 200, 1), 0.5, np.float32)) - 0.5
    assert noise.std() == pytest.approx(disturbance.NOISE, rel=0.02) and abs(noise.mean()) < 1e-3
    moved = changed("shift")  # 64 / 32 pixels
    assert np.array_equal(moved[2:, 2:], PICTURE[:-2, :-2]) and np.array_equal(moved[0, 2:], PICTURE[2, :-2])
    quality = [peak_signal_noise_ratio(PICTURE, changed(name), data_range=1) for name in
               ("JPEG, quality 75", "JPEG, quality 40")]
    assert 20 < quality[1] < quality[0] < 50
    assert np.abs(changed("JPEG, quality 75", PICTURE[..., :1]) - PICTURE[..., :1]).max() < 0.12  # grey stays grey


def test_the_same_picture_is_disturbed_alike_at_every_pass():
    assert np.array_equal(changed("noise"), changed("noise"))
    other, = disturbance.disturbed([{"image": PICTURE[None], "index": np.array([4])}], DISTURBANCES["noise"])
    assert not np.array_equal(changed("noise"), other["image"][0])


def judged(values, labels, thresholds, rois=None, masks=None):
    """Effects by name, of a detector whose map is the picture, here of one grey each, or `values` as (n, 4, 4) maps."""
    pictures = np.stack([np.broadcast_to(value, (4, 4)) for value in np.float32(values)])[..., None]
    records = [Record(f"{i}.png", None if masks is None else "m", None if rois is None else "r", label, "x")
               for i, label in enumerate(labels)]
    ones = np.ones_like(pictures)
    batch = {"image": pictures, "roi": ones if rois is None else rois, "index": np.arange(len(records)),
             "mask": 0 * ones if masks is None else masks}
    detector = SimpleNamespace(pool=1, sees_roi=False, batches=lambda _: [batch], predict=lambda images, roi=None: (
        None, images, images.max((1, 2, 3))))
    return {one.what: one for one in disturbance.effects(detector, records, thresholds)}


def test_effects_are_counted_against_the_stored_threshold():
    found = judged([0.3, 0.5, 0.6, 0.7], [0, 0, 1, 1], {"image": {"value": 0.55}, "pixel": {"value": 0.55}})
    assert list(found) == list(DISTURBANCES) and found[AS_THEY_ARE] == (AS_THEY_ARE, 1.0, None, 0.0, 0.0)
    assert found["brightness +20 %"][1:] == (1.0, 0.0, 0.5, 0.0)  # 0.36 and 0.60; nothing is missed
    assert found["brightness -20 %"][1:] == (1.0, 0.0, 0.0, 0.5)  # 0.48 and 0.56
    assert found["contrast +20 %"][1:] == (1.0, 0.0, 0.0, 0.0)    # a picture of one grey has none
    rows = disturbance.lines(list(found.values()))
    assert rows[1] == [AS_THEY_ARE, "1.000", "-", "0.0%", "0.0%"]
    assert rows[1 + list(found).index("brightness +20 %")][2:] == ["+0.000", "50.0%", "0.0%"]


def test_without_both_kinds_or_a_threshold_there_is_less_to_say():
    alone = judged([0.3, 0.7], [1, 1], {"image": {"value": 0.5}, "pixel": {"value": 0.5}})[AS_THEY_ARE]
    assert alone == (AS_THEY_ARE, None, None, None, 0.5)
    assert judged([0.3, 0.7], [0, 1], {})[AS_THEY_ARE] == (AS_THEY_ARE, 1.0, None, None, None)


def test_inside_a_roi_only_what_lies_there_counts():
    """Both pictures are bright outside the ROI; the second one's defect lies there too, so it is good inside."""
    left, values = np.zeros((2, 4, 4, 1), np.float32), np.full((2, 4, 4), 0.2, np.float32)
    left[:, :, :2] = 1
    values[:, :, 3] = 0.9
    masks = np.zeros_like(left)
    masks[1, :, 3] = 1
    limits = {"image": {"value": 0.5}, "pixel": {"value": 0.5}, "image_roi": {"value": 0.22}}
    found = judged(values, [0, 1], limits, left, masks)
    assert found[AS_THEY_ARE][1:] == (None, None, 0.0, None) and found["brightness +20 %"].false_rejects == 1.0


def varied(records, pictures, score, roi=None):
    """`when_varied` of a detector that gives `pictures`, grey (n, 16, 16, 1), the `score`."""
    def batches(chosen):
        at = np.array([records.index(record) for record in chosen])
        return [{"image": pictures[at], "roi": np.ones_like(pictures[at]) if roi is None else roi[at],
                 "mask": 0 * pictures[at], "index": np.arange(len(at))}]

    return disturbance.when_varied(SimpleNamespace(
        pool=None if roi is None else 1, sees_roi=False, batches=batches,
        predict=lambda images, roi=None: (None, np.round(images, 1), score(np.asarray(images)))), records)


GOOD = [Record(f"{i}.png", None, None, 0, "good") for i in range(50)]
GREY = np.full((50, 16, 16, 1), 0.5, np.float32)


@pytest.mark.parametrize("score, least, most, many", [
    (lambda images: images.mean((1, 2, 3)), 8, 24, True), (lambda images: 0 * images.mean((1, 2, 3)), 0, 0, False),
    (lambda images: np.round(images.mean((1, 2, 3)) - 0.01, 1), 0, 5, False)])  # a tenth of light changes hardly any
def test_how_many_good_pictures_another_camera_would_have_rejected(score, least, most, many):
    found = varied(GOOD, GREY, score)
    assert found.pictures == disturbance.SOME and least <= found.rejected <= most and found.many == many


def test_the_threshold_is_the_highest_of_all_good_pictures_and_few_of_them_warn_of_nothing():
    one_bright, some = GREY.copy(), evenly(GOOD, disturbance.SOME)
    one_bright[next(i for i, record in enumerate(GOOD) if record not in some)] = 0.9
    assert varied(GOOD, one_bright, lambda images: images.mean((1, 2, 3))).rejected == 0
    assert not disturbance.Varied(7, 7).many and disturbance.Varied(8, 3).many and not disturbance.Varied(8, 2).many


def test_a_region_is_kept_when_pictures_are_varied():
    """Inside it nothing is seen, outside light, which is another one."""
    records = [Record(f"{i}.png", None, "r", 0, "good") for i in range(9)]
    pictures, left = np.zeros((9, 16, 16, 1), np.float32), np.zeros((9, 16, 16, 1), np.float32)
    pictures[:, :, 8:], left[:, :, :4] = 0.6, 1
    assert varied(records, pictures, lambda images: images.max((1, 2, 3)), left).rejected == 0
    assert varied(records, pictures, lambda images: images.max((1, 2, 3)), 1 - left).rejected > 0
