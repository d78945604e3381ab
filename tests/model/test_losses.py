"""Each loss against a number derived by hand, against scikit-image or Keras, and its gradient where it should be."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import structural_similarity

from grdnet_tf.errors import InputError
from grdnet_tf.model import losses
from grdnet_tf.options import READINGS


def pictures(height=40, width=33, channels=3, noise=0.1):
    random = np.random.default_rng(0)
    x = random.random((2, height, width, channels), dtype=np.float32)
    y = np.clip(x + noise * random.standard_normal(x.shape), 0.0, 1.0).astype(np.float32)
    return x, y


def gradient(loss, *inputs):
    inputs = [tf.constant(i) for i in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    return tape.gradient(value, inputs)


def logit(p):
    return np.log(p / (1.0 - p)).astype(np.float32)


def test_l1_is_the_mean_absolute_difference():
    # |0 - 1|, |0.5 - 0.25|, |1 - 1|, |0 - 0.25| -> (1 + 0.25 + 0 + 0.25) / 4
    x, y = np.float32([[[[0.0], [0.5]], [[1.0], [0.0]]]]), np.float32([[[[1.0], [0.25]], [[1.0], [0.25]]]])
    assert float(losses.l1(x, y)) == 0.375


def test_ssim_agrees_with_scikit_image_inside_its_border():
    x, y = pictures()
    expected = []
    for one, other in zip(x.astype(np.float64), y.astype(np.float64)):
        window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        _, full = structural_similarity(one, other, data_range=1.0, channel_axis=2, full=True, **window)
        expected.append(full[5:-5, 5:-5].mean())  # where the 11-pixel window fits
    assert float(losses.ssim_loss(x, y)) == pytest.approx(1.0 - np.mean(expected), abs=1e-5)


def test_ssim_agrees_with_tensorflow_and_with_xla():
    x, y = pictures(height=24, width=50, channels=1)
    expected = 1.0 - float(tf.reduce_mean(tf.image.ssim(x, y, 1.0)))
    assert float(losses.ssim_loss(x, y)) == pytest.approx(expected, abs=1e-5)
    assert float(tf.function(losses.ssim_loss, jit_compile=True)(x, y)) == pytest.approx(expected, abs=1e-5)


def test_ssim_gradient_agrees_with_tensorflow():
    x, y = pictures(height=16, width=20)
    expected = gradient(lambda x, y: 1.0 - tf.reduce_mean(tf.image.ssim(x, y, 1.0)), x, y)
    for own, reference in zip(gradient(losses.ssim_loss, x, y), expected):
        np.testing.assert_allclose(own, reference, atol=2e-7)  # the largest is 1e-3


def test_ssim_of_constant_pictures():
    # No variance: the structure term is c2 / c2 = 1, the luminance (2 * 0.2 * 0.6 + c1) / (0.04 + 0.36 + c1), c1 = 1e-4
    x, y = np.full((1, 12, 12, 1), 0.2, np.float32), np.full((1, 12, 12, 1), 0.6, np.float32)
    # A variance is a difference of squares of about 0.1, rounded to 7e-9 each, over c2 = 9e-4: 1e-5 for each rounding.
    assert float(losses.ssim_loss(x, y)) == pytest.approx(1.0 - 0.2401 / 0.4001, abs=1e-4)
    assert float(losses.ssim_loss(x, x)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("height, width, window", [(7, 40, (7, 11)), (10, 8, (9, 7)), (1, 4, (1, 3))])
def test_ssim_takes_a_smaller_window_for_a_small_picture(height, width, window):
    x, y = pictures(height=height, width=width, channels=1)

    def mean(maps, rows, columns):  # the definition, one window at a time
        weights = np.outer(*(np.exp(-0.5 * ((np.arange(n) - n // 2) / 1.5) ** 2) for n in window))
        return np.sum(maps[rows : rows + window[0], columns : columns + window[1]] * weights) / weights.sum()

    values = []
    for a, b in zip(x[..., 0].astype(np.float64), y[..., 0].astype(np.float64)):
        for i in range(height - window[0] + 1):
            for j in range(width - window[1] + 1):
                ma, mb = mean(a, i, j), mean(b, i, j)
                va, vb, ab = mean(a * a, i, j) - ma**2, mean(b * b, i, j) - mb**2, mean(a * b, i, j) - ma * mb
                luminance = (2 * ma * mb + 1e-4) / (ma**2 + mb**2 + 1e-4)
                values.append(luminance * (2 * ab + 9e-4) / (va + vb + 9e-4))
    assert float(losses.ssim_loss(x, y)) == pytest.approx(1.0 - np.mean(values), abs=1e-5)


def test_both_ways_to_blur_agree():
    maps = tf.constant(np.random.default_rng(0).random((2, 3, 20, 15), dtype=np.float32))
    np.testing.assert_allclose(losses.blur_by_matmul(maps), losses.blur_by_shifts(maps), atol=1e-6)


def test_l1_and_l2_of_known_differences():
    x, y = np.float32([[0.5, 1.0]]), np.float32([[0.25, 0.0]])  # differences 1/4 and 1
    assert float(losses.l1(x, y)) == 5 / 8 and float(losses.l2(x, y)) == 17 / 32


def test_contextual_weighs_its_two_terms():
    x, y = pictures()
    l1, ssim = float(losses.l1(x, y)), float(losses.ssim_loss(x, y))
    assert float(losses.contextual(x, y)) == pytest.approx(l1 + ssim, rel=1e-6)
    assert float(losses.contextual(x, y, 2.0, 0.5)) == pytest.approx(2.0 * l1 + 0.5 * ssim, rel=1e-6)
    assert float(losses.contextual(x, y, weight_ssim=0.0)) == pytest.approx(l1, rel=1e-6)


def test_feature_matching_stops_the_real_side_only():
    # d/d fake of ((1 - 3)^2 + (2 - 2)^2) / 2 = (fake - real) * 2 / 2 = (2, 0)
    real, fake = np.float32([[1.0, 2.0]]), np.float32([[3.0, 2.0]])
    assert float(losses.feature_matching(real, fake)) == 2.0
    to_real, to_fake = gradient(losses.feature_matching, real, fake)
    assert to_real is None
    np.testing.assert_array_equal(to_fake, [[2.0, 0.0]])


def test_feature_matching_averages_layers():
    # means of squares: layer one (1 - 3)^2 = 4, layer two 0 -> 2
    real, fake = [np.float32([[1.0]]), np.float32([[[5.0, 5.0]]])], [np.float32([[3.0]]), np.float32([[[5.0, 5.0]]])]
    assert float(losses.feature_matching(real, fake)) == 2.0


def test_encoder_norms_and_both_gradients():
    # differences -3 and 1: squares (9 + 1) / 2, absolute (3 + 1) / 2
    z, z_hat = np.float32([[0.0, 1.0]]), np.float32([[3.0, 0.0]])
    assert float(losses.encoder(z, z_hat)) == 5.0
    assert float(losses.encoder(z, z_hat, norm="l1")) == 2.0
    to_z, to_z_hat = gradient(losses.encoder, z, z_hat)  # 2 * difference / 2
    np.testing.assert_array_equal(to_z, [[-3.0, 1.0]])
    np.testing.assert_array_equal(to_z_hat, [[3.0, -1.0]])
    with pytest.raises(InputError, match="norm 'l3'"):
        losses.encoder(z, z_hat, norm="l3")


def test_discriminator_is_keras_binary_cross_entropy():
    random = np.random.default_rng(0)
    real, fake = (random.normal(0, 3, (4, 1)).astype(np.float32) for _ in range(2))
    both, truth = np.concatenate([real, fake]), np.concatenate([np.ones((4, 1)), np.zeros((4, 1))])
    expected = float(tf.reduce_mean(keras.losses.binary_crossentropy(truth, both, from_logits=True)))
    assert float(losses.discriminator(real, fake)) == pytest.approx(expected, rel=1e-6)
    assert float(losses.discriminator(np.zeros((2, 1)), np.zeros((2, 1)))) == pytest.approx(np.log(2.0))


def test_focal_by_hand():
    # p = 0.8 for a 1: 0.2^2 * -ln 0.8 = 0.00892574; p = 0.3 for a 0: true class 0.7, 0.3^2 * -ln 0.7 = 0.03210075
    logits, target = logit(np.array([0.8, 0.3])), np.float32([1.0, 0.0])
    assert float(losses.focal(logits, target)) == pytest.approx((0.00892574 + 0.03210075) / 2, rel=1e-5)
    weighted = (0.25 * 0.00892574 + 0.75 * 0.03210075) / 2
    assert float(losses.focal(logits, target, alpha=0.25)) == pytest.approx(weighted, rel=1e-5)


def test_focal_agrees_with_keras_and_at_gamma_0_with_cross_entropy():
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (2, 5, 4, 1)).astype(np.float32)
    target = (random.random(logits.shape) < 0.3).astype(np.float32)
    for gamma in (1.0, 2.0, 3.5):
        keras_loss = keras.losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True)
        assert float(losses.focal(logits, target, gamma)) == pytest.approx(float(keras_loss(target, logits)), rel=1e-5)
    entropy = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logits))
    assert float(losses.focal(logits, target, gamma=0.0)) == pytest.approx(float(entropy), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_finite_for_sure_and_wrong_logits(gamma):
    # A logit of -200 where the target is 1: p = e^-200 underflows, -(1 - p)^gamma log p = 200
    logits, target = np.float32([-200.0, 200.0, -1e4, 200.0]), np.float32([1.0, 0.0, 0.0, 1.0])
    assert float(losses.focal(logits, target, gamma)) == pytest.approx((200.0 + 200.0) / 4)
    (to_logits, _) = gradient(lambda l, t: losses.focal(l, t, gamma), logits, target)
    np.testing.assert_allclose(to_logits, [-0.25, 0.25, 0.0, 0.0], atol=1e-6)


def test_soft_target_by_hand():
    """(s(2 d / half - 2) - s(-2)) / (1 - s(-2)), s(-2) = 0.1192, s(0) = 0.5, s(2) = 0.8808; 0 outside of the mask."""
    image, mask = np.full((1, 16, 16, 2), 0.5, np.float32), np.ones((1, 16, 16, 1), np.float32)
    mask[:, :, 8:] = 0.0
    for change, wanted in ((0.0, 0.0), (0.1, 0.4323), (0.2, 0.8647), (0.5, 0.9996)):
        found = losses.soft_target(mask, image, image + change, 0.1).numpy()  # also beside the mask, where no one looks
        np.testing.assert_allclose(found[:, :, :8], wanted, atol=2e-4)
        np.testing.assert_array_equal(found[:, :, 8:], 0.0)
    one = image.copy()
    one[:, 4, 4] += 0.5  # of 25 pixels: 0.02 all round, within 2 pixels
    found = losses.soft_target(mask, image, one, 0.02).numpy()[0, ..., 0]
    np.testing.assert_allclose(found[2:7, 2:6], 0.4323, atol=2e-4)
    np.testing.assert_allclose(found[2:7, 6], 0.5714, atol=2e-4)  # 20 of the 25 lie in the mask: 0.025, s(0.5) = 0.6225
    assert found[1].max() < 1e-6


def test_overlap_by_hand():
    # sample 1: |A.R| = 0.5, |A| = 0.5 + 1 = 1.5, |R| = 2 -> 1 - 0.5 / 1.5 = 2/3
    # sample 2: A = R = 1 everywhere -> 0; sample 3: A empty -> 0; sample 4: R empty -> 0
    a = np.float32([[0.5, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]]).reshape((4, 2, 2, 1))
    r = np.float32([[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).reshape((4, 2, 2, 1))
    assert float(losses.overlap(a, r)) == pytest.approx((2.0 / 3.0) / 4)
    assert float(losses.overlap(a, r, weight=0.5)) == pytest.approx((1.0 / 3.0) / 4)
    to_a, _ = gradient(losses.overlap, a, r)
    assert np.isfinite(to_a).all()
    # sample 1, with s = |A.R|, n = |A|: d(1 - s/n)/da = -1/n + s/n^2 = -4/9 inside R, s/n^2 = 2/9 outside; mean of 4
    np.testing.assert_allclose(to_a[0, ..., 0], np.float32([[-4, -4], [2, 2]]) / 9 / 4, rtol=1e-5)


def test_a_faint_map_has_an_overlap_too():
    a, r = (np.float32(values).reshape((1, 2, 2, 1)) for values in ([0.25, 0, 0.25, 0], [1, 1, 0, 0]))
    assert float(losses.overlap(a, r)) == pytest.approx(0.5)  # |A.R| = 0.25, |A| = 0.5


class TestSegmentation:
    # A = 0.5, 0.5, 0.8, 0.2; M = 1, 0, 1, 0; the ROI is the first two pixels
    logits = logit(np.array([0.5, 0.5, 0.8, 0.2])).reshape((1, 2, 2, 1))
    mask = np.float32([1, 0, 1, 0]).reshape((1, 2, 2, 1))
    roi = np.float32([1, 1, 0, 0]).reshape((1, 2, 2, 1))
    half = 0.25 * np.log(2.0)  # focal of p = 0.5, gamma 2
    sure, wrong = 0.04 * -np.log(0.8), 0.64 * -np.log(0.2)  # the true class got 0.8; the true class got 0.2

    @pytest.mark.parametrize(
        "reading, focal, overlap",
        [
            ("masked_target", (half + half + wrong + sure) / 4, 0.0),  # target 1, 0, 0, 0
            ("intersection", (half + half) / 4, 0.0),  # nothing is learnt outside the ROI
            ("overlap", (half + half + sure + sure) / 4, 0.5),  # |A.R| = 1, |A| = 2, |R| = 2
            ("intersection_overlap", (half + half) / 4, 0.5),
            ("intersection_negated_overlap", (half + half) / 4, 0.5),  # |A.(1-R)| = 1, |1-R| = 2
        ],
    )
    def test_by_hand(self, reading, focal, overlap):
        terms = losses.segmentation(reading, self.logits, self.mask, self.roi, overlap_weight=0.4)
        assert float(terms.focal) == pytest.approx(focal, rel=1e-5)
        assert float(terms.overlap) == pytest.approx(overlap, rel=1e-5, abs=1e-7)
        assert float(terms.total) == pytest.approx(focal + 0.4 * overlap, rel=1e-5)

    @pytest.mark.parametrize("reading", READINGS)
    def test_a_batch_counts_as_the_mean_of_its_pictures(self, reading):
        other = 0.5 * self.logits, self.mask[:, ::-1], np.float32([0, 1, 1, 1]).reshape((1, 2, 2, 1))
        alone = [losses.segmentation(reading, *parts) for parts in ((self.logits, self.mask, self.roi), other)]
        both = losses.segmentation(reading, *(np.concatenate([one, two]) for one, two in
                                              zip((self.logits, self.mask, self.roi), other)))
        for name in ("total", "focal", "overlap"):
            mean = np.mean([float(getattr(terms, name)) for terms in alone])
            assert float(getattr(both, name)) == pytest.approx(mean, rel=1e-5, abs=1e-7), name

    def test_table_is_complete(self):
        assert len(READINGS) == 5

    @pytest.mark.parametrize("reading", READINGS)
    def test_roi_of_ones_is_no_roi_bit_for_bit(self, reading):
        random = np.random.default_rng(1)
        logits = random.normal(0, 2, (3, 8, 8, 1)).astype(np.float32)
        mask = (random.random(logits.shape) < 0.2).astype(np.float32)
        with_ones = losses.segmentation(reading, logits, mask, np.ones_like(mask))
        assert [float(t) for t in with_ones] == [float(t) for t in losses.segmentation(reading, logits, mask, None)]
        assert float(with_ones.overlap) == 0.0
        assert float(with_ones.focal) == float(losses.focal(logits, mask))

    def test_gradient_outside_the_roi(self):
        outside = {}
        for reading in READINGS:
            (to_logits,) = gradient(lambda l: losses.segmentation(reading, l, self.mask, self.roi).total, self.logits)
            assert np.isfinite(to_logits).all() and np.abs(to_logits[0, 0]).max() > 0
            outside[reading] = to_logits[0, 1, :, 0].numpy()
        assert (outside["masked_target"] > 0).all()  # learns to be silent there, also where M = 1
        assert (outside["intersection"] == 0).all()  # learns nothing there
        assert outside["overlap"][0] != 0
        assert (outside["intersection_overlap"] > 0).all()  # both overlaps push the map down outside the ROI
        assert (outside["intersection_negated_overlap"] > 0).all()

    def test_unknown_reading_names_the_nearest(self):
        with pytest.raises(InputError, match="did you mean 'masked_target'"):
            losses.segmentation("mask_target", self.logits, self.mask)


def test_every_loss_is_a_float32_scalar_for_half_inputs():
    x, y = (tf.cast(t, tf.float16) for t in pictures(height=12, width=12))
    values = [losses.l1(x, y), losses.l2(x, y), losses.ssim_loss(x, y), losses.contextual(x, y)]
    values += [losses.feature_matching(x, y), losses.encoder(x, y), losses.discriminator(x, y), losses.focal(x, y)]
    values += [losses.overlap(x, y)]
    for reading in READINGS:
        values += losses.segmentation(reading, x[..., :1], y[..., :1], tf.ones_like(x[..., :1]))
    for value in values:
        assert value.dtype == tf.float32 and value.shape == ()
        assert np.isfinite(float(value))
