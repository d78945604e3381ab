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
    blank = np.zeros(2, np.float32)
    detector = padim.PaDiM(Means(), (SIZE, SIZE), 3, {**arrays, "of_grdnet": blank, "of_padim": blank}, 1.0)
    detector.set_scale(batches(good[12:]))
    fused = Fused(randomise(tiny(SIZE)), detector)
    fused.calibrate(batches(good[12:]))
    return fused


def left_half(count):
    roi = np.zeros((count, SIZE, SIZE, 1), np.float32)
    roi[:, :, :SIZE // 2] = 1
    return roi


def logit(share):
    share = np.asarray(share, np.float64)
    return np.log(share / (1 - share))


def spread(scores):
    return logit(scores).mean(), max(logit(scores).std(), 0.1)


def kept(model):
    return {name: getattr(model.fitted, name).numpy() for name in ("of_grdnet", "of_padim")}


def test_the_map_is_the_higher_of_the_two_in_the_spread_of_good_parts_scores(model, good):
    odd = good[:3].copy()
    odd[1:, 2:7, 2:7] = 0.95
    network, features, found = model.grdnet(odd), model.padim(odd), model(odd)
    of_grdnet, of_padim = (spread(part(good[12:]).score.numpy()) for part in (model.grdnet, model.padim))
    np.testing.assert_allclose(kept(model)["of_grdnet"], of_grdnet, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(kept(model)["of_padim"], of_padim, rtol=1e-3, atol=1e-4)
    one, other = (logit(part.anomaly_map.numpy()) for part in (network, features))
    brought = of_padim[0] + of_padim[1] * (one - of_grdnet[0]) / of_grdnet[1]
    assert 0.01 < (brought > other).mean() < 0.99  # both cases are there
    expected = 1 / (1 + np.exp(-np.maximum(brought, other)))
    np.testing.assert_allclose(found.anomaly_map, expected, atol=1e-4)
    inside = uniform_filter(np.ones((SIZE, SIZE)), 5, mode="constant")  # the share of a window that lies in the picture
    pooled = [uniform_filter(each, 5, mode="constant") / inside for each in expected[..., 0]]
    np.testing.assert_allclose(found.score, np.max(pooled, axis=(1, 2)), atol=1e-4)
    np.testing.assert_array_equal(found.reconstruction, network.reconstruction)
    assert (found.score.numpy()[1:] > found.score.numpy()[0]).all()


def test_the_network_raises_the_features_map_and_never_lowers_it(model, good):
    alone, together = model.padim(good[12:]).anomaly_map.numpy(), model(good[12:]).anomaly_map.numpy()
    assert (together >= alone - 1e-5).all() and together.max() < 1
    assert (together > alone + 0.02).any() and np.isclose(together, alone, atol=1e-6).any()


def test_a_roi_cuts_map_and_score(model, good):
    odd = good[:2].copy()
    odd[:, 2:7, 10:15] = 0.95
    whole, cut, blind = model(odd), model(odd, roi=left_half(2)), model(odd, roi=0 * left_half(2))
    np.testing.assert_allclose(cut.anomaly_map, whole.anomaly_map * left_half(2), atol=1e-6)
    assert (cut.score.numpy() < whole.score.numpy()).all()
    np.testing.assert_array_equal(blind.score, [0, 0])


def restored(model, before):
    model.fitted.of_grdnet.assign(before["of_grdnet"])
    model.fitted.of_padim.assign(before["of_padim"])


def test_it_is_calibrated_inside_the_roi_and_one_good_part_is_enough(model, good):
    before = kept(model)
    model.calibrate(batches(good[12:], left_half(4)))
    np.testing.assert_allclose(kept(model)["of_grdnet"], spread(model.grdnet(good[12:], roi=left_half(4)).score.numpy()),
                               rtol=1e-3, atol=1e-4)
    inside = kept(model)
    model.calibrate(batches(np.concatenate([good[12:], good[:1]]), np.concatenate([left_half(4), 0 * left_half(1)])))
    np.testing.assert_allclose(kept(model)["of_padim"], inside["of_padim"], rtol=1e-4)  # an empty region has no score
    model.calibrate(batches(good[12:13]))
    assert kept(model)["of_grdnet"][1] == kept(model)["of_padim"][1] == pytest.approx(0.1)
    restored(model, before)


def test_bytes_are_taken_as_pictures_and_a_network_that_is_sure_gives_a_finite_map(model, good):
    bytes_ = np.rint(255 * good[:2]).astype(np.uint8)
    np.testing.assert_allclose(model(bytes_).anomaly_map, model(bytes_ / np.float32(255)).anomaly_map, atol=1e-5)
    before = kept(model)
    for mean in (-13.8, 13.8):  # an empty map of all good parts, a full one
        model.fitted.of_grdnet.assign([mean, 0.1])
        found = model(good[:2]).anomaly_map.numpy()
        assert np.isfinite(found).all() and found.max() < 1
    restored(model, before)


def test_what_is_exported_detects_as_it_does_and_holds_what_both_need_alone(model, good):
    half = inference_half(model)
    np.testing.assert_allclose(half(good[:2]).anomaly_map, model(good[:2]).anomaly_map, atol=1e-4)
    assert parameters(half) == parameters(inference_half(model.grdnet)) + parameters(model.padim)
    names = {name.split("/")[0] for name in network_arrays(model)}
    assert names == {"generator", "discriminator", "segmenter", "fitted"}  # and a backbone, where there is one
