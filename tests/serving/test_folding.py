"""The inference half: it detects as the trained model, without what only training needs."""
import inspect

import numpy as np
import pytest
import tensorflow as tf
from small_served import SIZE, random_model

from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.options import Network
from grdnet_tf.serving import folding, selftest


@pytest.mark.parametrize("options", [
    dict(), dict(bottleneck="drae", latent=6), dict(residual=False), dict(batch_norm=False), dict(stem=4, blocks=2),
    dict(segmenter_stride=2, segmenter_difference=True), dict(channels=1, second_encoder=False),
    dict(segmenter_matching=True)], ids=str)
def test_the_inference_half_detects_as_the_trained_model(options):
    trained = random_model(**options)
    half = folding.inference_half(trained)
    images = selftest.test_pictures(*SIZE, trained.channels)[0] / np.float32(255)
    for ours, theirs in zip(half(images), trained(images)):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert np.ptp(trained(images).anomaly_map) > 0.01  # the pixels are told apart at all
    assert [half.discriminator is None, half.generator.encoder_hat is None] == 2 * [not trained.matching]
    assert not any("moving" in weight.name or "gamma" in weight.name for weight in half.weights)
    assert folding.parameters(half) == sum(int(np.prod(weight.shape)) for weight in half.weights)


def test_norms_before_their_convolutions_stay():
    trained = random_model(pre_activation=True, blocks=2)
    half = folding.inference_half(trained)
    images = selftest.test_pictures(*SIZE, 3)[0] / np.float32(255)
    for ours, theirs in zip(half(images), trained(images)):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert np.ptp(trained(images).anomaly_map) > 0.01
    assert half.discriminator is None and half.generator.encoder_hat is None


def test_the_generator_alone_is_judged_by_what_it_does_not_redraw():
    trained = random_model(segmenter_widths=None)
    images = selftest.test_pictures(*SIZE, 3)[0] / np.float32(255)
    found, half = trained(images), folding.inference_half(trained)(images)
    expected = np.abs(images - found.reconstruction.numpy()).mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(found.anomaly_map, expected, atol=1e-6)
    np.testing.assert_allclose(half.anomaly_map, expected, atol=2e-5)
    np.testing.assert_allclose(half.score, found.score, atol=2e-5)


def test_a_model_knows_every_argument_that_it_was_built_with():
    arguments = set(inspect.signature(GRDNet.__init__).parameters) - {"self", "name", "network"}
    arguments |= set(Network.model_fields)
    assert set(random_model().architecture) == arguments  # one left out would be lost in the inference half


def test_the_inference_half_takes_another_picture_size(model):
    half = folding.inference_half(model, (16, 24))
    assert half.image_size == (16, 24) and half(tf.zeros((1, 16, 24, 3))).anomaly_map.shape == (1, 16, 24, 1)
