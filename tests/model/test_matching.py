"""What the discriminator and the second encoder compare, as the segmenter is shown it."""
import numpy as np
import pytest
import tensorflow as tf
from tiny_model import batch, changed, tiny

from grdnet_tf.errors import InputError
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.options import Loss

DEEP = dict(segmenter_widths=(4, 6, 8), segmenter_matching=True)  # the U-Net's levels: strides 1, 2, 4


def test_it_is_the_distance_of_the_features_of_each_stage_and_of_the_latents():
    model, data = tiny(**DEEP), batch()
    made = model.generator(data["noisy"])
    found = model.matched(data["noisy"], made.reconstruction, made.latent, made.latent_hat)
    a, b = (model.discriminator(pictures).stages for pictures in (data["noisy"], made.reconstruction))
    assert [tuple(part.shape[1:]) for part in a] == [(8, 8, 4), (4, 4, 8)]
    np.testing.assert_allclose(found[2], np.abs(a[0].numpy() - b[0].numpy()), atol=1e-6)
    np.testing.assert_allclose(found[4][..., :8], np.abs(a[1].numpy() - b[1].numpy()), atol=1e-6)
    np.testing.assert_allclose(found[4][..., 8:], np.abs(made.latent.numpy() - made.latent_hat.numpy()), atol=1e-6)
    assert sorted(found) == [2, 4] and float(tf.reduce_max(found[4])) > 0.01


def test_a_picture_that_equals_its_reconstruction_shows_nothing():
    model, images = tiny(**DEEP), batch()["image"]
    z = model.generator.encoder(images)
    assert max(float(tf.reduce_max(part)) for part in model.matched(images, images, z, z).values()) == 0.0


@pytest.mark.parametrize("network", ["discriminator", "generator/encoder_hat"])
def test_the_map_depends_on_both_networks(network):
    model, images = tiny(**DEEP), batch()["image"]
    before = model(images).anomaly_map.numpy()
    part = model.discriminator if network == "discriminator" else model.generator.encoder_hat
    for weight in part.trainable_variables:
        weight.assign(2.0 * weight + 0.1)
    after = model(images)
    assert np.abs(after.anomaly_map.numpy() - before).max() > 1e-4
    without = tiny(segmenter_widths=(4, 6, 8))
    plain = without(images).anomaly_map.numpy()
    for weight in without.discriminator.trainable_variables + without.generator.encoder_hat.trainable_variables:
        weight.assign(2.0 * weight + 0.1)
    np.testing.assert_array_equal(without(images).anomaly_map, plain)


def test_the_segmentation_trains_neither_of_them():
    """Only its own loss moves a network: with all other weights all but 0, the segmenter alone changes much."""
    model = tiny(**DEEP)
    model.compile(objective=Loss(adversarial=1e-12, encoder=1e-12, contextual=0.0), jit_compile=False, run_eagerly=True)
    data = model.perturbed(batch())
    with tf.GradientTape() as tape:
        terms, _ = model.forward(data, training=True)
    others = model.generator.trainable_variables + model.discriminator.trainable_variables
    assert all(gradient is None for gradient in tape.gradient(terms["segmentation"], others))
    before = network_arrays(model)
    model.train_step(batch())
    assert "segmenter" in changed(before, network_arrays(model))


@pytest.mark.parametrize("options", [
    dict(second_encoder=False), dict(discriminator_widths=None), dict(bottleneck="drae")], ids=str)
def test_it_needs_both_networks_and_a_latent_with_places(options):
    with pytest.raises(InputError, match="segmenter_matching needs"):
        tiny(**DEEP, **options)


@pytest.mark.parametrize("off", ["adversarial", "encoder"])
def test_it_is_refused_where_one_of_them_would_not_be_trained(off):
    with pytest.raises(InputError, match="objective.adversarial and objective.encoder"):
        tiny(**DEEP).compile(objective=Loss(**{off: 0.0}))
