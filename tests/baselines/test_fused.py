"""GRD-Net and PaDiM together: the map against NumPy, from what either of them says; what it is calibrated on."""
import numpy as np
import pytest
from mean_features import Means, batches
from scipy.ndimage import uniform_filter
from small_runs import randomise
from tiny_model import tiny

from grdnet_tf.baselines import padim
from grdnet_tf.baselines.fused import Fused
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.serving.folding import inference_half, parameters

SIZE = 16


@pytest.fixture(scope="module")
def good():
    """Twelve pictures for the fit, four held out, of 16 x 16 with a left half that is the region of interest."""
    rng = np.random.default_rng(1)
    return rng.uniform(0.4, 0.6, (16, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model(good):
    arrays = padim.fit(Means(), batches(good[:12]))
    detector = padim.PaDiM(Means(), (SIZE, SIZE), 3, {**arrays, "level": np.float32(0.5)}, 1.0)
    detector.set_scale(batches(good[12:]))
    fused = Fused(randomise(tiny(SIZE)), detector)
    fused.set_level(batches(good[12:]))
    return fused


def left_half(count):
    roi = np.zeros((count, SIZE, SIZE, 1), np.float32)
    roi[:, :, :SIZE // 2] = 1
    return roi


def test_the_map_multiplies_the_odds_over_those_of_the_worst_good_part(model, good):
    odd = good[:3].copy()
    odd[1:, 2:7, 2:7] = 0.95
    network, features, found = model.grdnet(odd), model.padim(odd), model(odd)
    level = model.grdnet(good[12:]).score.numpy().max()
    assert float(model.fitted.level.numpy()) == pytest.approx(level, rel=1e-4) and 0.01 < level < 0.99
    one, other = (part.anomaly_map.numpy().astype(np.float64) for part in (network, features))
    total = other / (1 - other) * np.maximum(1, one / (1 - one) / (level / (1 - level)))
    assert 0.01 < (one > level).mean() < 0.99  # both cases are there
    np.testing.assert_allclose(found.anomaly_map, total / (1 + total), atol=1e-4)
    inside = uniform_filter(np.ones((SIZE, SIZE)), 5, mode="constant")  # the share of a window that lies in the picture
    pooled = [uniform_filter(each, 5, mode="constant") / inside for each in (total / (1 + total))[..., 0]]
    np.testing.assert_allclose(found.score, np.max(pooled, axis=(1, 2)), atol=1e-4)
    np.testing.assert_array_equal(found.reconstruction, network.reconstruction)
    assert (found.score.numpy()[1:] > found.score.numpy()[0]).all()


def test_the_network_raises_the_features_map_and_never_lowers_it(model, good):
    alone, together = model.padim(good[12:]).anomaly_map.numpy(), model(good[12:]).anomaly_map.numpy()
    assert (together >= alone - 1e-6).all() and together.max() < 1
    surest = model.grdnet(good[12:]).anomaly_map.numpy().argmax()
    assert together.flat[surest] > alone.flat[surest] + 0.02
    quiet = model.grdnet(good[12:]).anomaly_map.numpy() < float(model.fitted.level.numpy()) - 1e-4
    np.testing.assert_allclose(together[quiet], alone[quiet], atol=1e-5)


def test_a_roi_cuts_map_and_score(model, good):
    odd = good[:2].copy()
    odd[:, 2:7, 10:15] = 0.95
    whole, cut, blind = model(odd), model(odd, roi=left_half(2)), model(odd, roi=0 * left_half(2))
    np.testing.assert_allclose(cut.anomaly_map, whole.anomaly_map * left_half(2), atol=1e-6)
    assert (cut.score.numpy() < whole.score.numpy()).all()
    np.testing.assert_array_equal(blind.score, [0, 0])


def test_the_level_is_that_inside_the_roi(model, good):
    before = float(model.fitted.level.numpy())
    model.set_level(batches(good[12:], left_half(4)))
    assert float(model.fitted.level.numpy()) == pytest.approx(
        float(model.grdnet(good[12:], roi=left_half(4)).score.numpy().max()), rel=1e-4)
    model.fitted.level.assign(before)


def test_bytes_are_taken_as_pictures_and_a_network_that_is_sure_gives_a_finite_map(model, good):
    bytes_ = np.rint(255 * good[:2]).astype(np.uint8)
    np.testing.assert_allclose(model(bytes_).anomaly_map, model(bytes_ / np.float32(255)).anomaly_map, atol=1e-5)
    before = float(model.fitted.level.numpy())
    for level in (0.0, 1.0):  # an empty map of all good parts, a full one of the worst
        model.fitted.level.assign(level)
        assert np.isfinite(model(good[:2]).anomaly_map).all()
    model.fitted.level.assign(before)


def test_what_is_exported_detects_as_it_does_and_holds_what_both_need_alone(model, good):
    half = inference_half(model)
    np.testing.assert_allclose(half(good[:2]).anomaly_map, model(good[:2]).anomaly_map, atol=1e-4)
    assert parameters(half) == parameters(inference_half(model.grdnet)) + parameters(model.padim)
    names = {name.split("/")[0] for name in network_arrays(model)}
    assert names == {"generator", "discriminator", "segmenter", "fitted"}  # and a backbone, where there is one
