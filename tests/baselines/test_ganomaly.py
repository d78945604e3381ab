"""GANomaly against its formulas in NumPy, and what its score, its map and its ROI mean."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.baselines.ganomaly import GANomaly
from grdnet_tf.errors import InputError
from grdnet_tf.model.weights import network_arrays, restore_training, training_arrays
from grdnet_tf.options import Loss

keras = tf.keras
LEFT = np.zeros((3, 16, 16, 1), np.float32)
LEFT[:, :, :10] = 1.0


def tiny(seed=1, **options):
    keras.utils.set_random_seed(seed)
    model = GANomaly((16, 16), 3, widths=(4, 8), latent=5, **options)
    model.compile(learning_rate=0.01, jit_compile=False, run_eagerly=True)
    return model


def batch(seed=0):
    return {"image": np.random.default_rng(seed).random((3, 16, 16, 3), np.float32), "roi": LEFT}


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


@pytest.mark.parametrize("training", [False, True])
def test_each_term_is_the_paper_s_formula(training):
    model, data = tiny(), batch()
    terms, logits = model.forward({name: tf.constant(part) for name, part in data.items()}, training)
    seen = data["image"] * LEFT
    z = model.generator.encoder(seen, training=training)[1].numpy()
    fake = model.generator.decoder(z, training=training).numpy()
    z_hat = model.generator.encoder_hat(fake, training=training)[1].numpy()
    (f, real), (f_hat, found) = ([part.numpy() for part in model.discriminator(one, training=training)[:2]]
                                 for one in (seen, fake))
    expected = {"l1": np.abs(seen - fake).mean(), "encoder": np.square(z - z_hat).mean(),
                "adversarial": np.square(f - f_hat).mean(),
                "discriminator": -0.5 * (np.log(sigmoid(real)).mean() + np.log(1.0 - sigmoid(found)).mean())}
    assert logits is None and {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=2e-4)


def test_the_weights_are_1_50_1():
    found = tiny().objectives({"l1": 2.0, "adversarial": 3.0, "encoder": 5.0, "discriminator": 7.0})
    assert found == {"generator": 50 * 2.0 + 1 * 3.0 + 1 * 5.0, "discriminator": 7.0}


def test_each_network_follows_its_own_loss():
    model, still = tiny(batch_norm=False), keras.optimizers.SGD
    for name in ("generator", "discriminator"):
        rates = {f"{other}_optimizer": still(0.1 * (other == name)) for other in ("generator", "discriminator")}
        model.compile(**rates, jit_compile=False, run_eagerly=True)
        before = network_arrays(model)
        logs = model.train_step(batch())
        after = network_arrays(model)
        changed = {key.split("/")[0] for key in before if not np.array_equal(before[key], after[key])}
        assert changed - {"fitted"} == {name}
        assert float(logs["generator"]) == pytest.approx(
            50 * float(logs["l1"]) + float(logs["adversarial"]) + float(logs["encoder"]), rel=1e-5)


def test_score_and_map_by_hand():
    model, images = tiny(), batch()["image"]
    model.fitted.moving_mean.assign([0.2])
    found = model(images)
    z, fake, z_hat = (part.numpy().astype(np.float64) for part in model.generator(images))
    d = np.abs(z - z_hat).mean(axis=1)
    np.testing.assert_allclose(found.score, d**2 / (d**2 + 0.04), rtol=1e-4)
    np.testing.assert_allclose(found.anomaly_map[..., 0], np.abs(images - fake).mean(axis=-1), atol=1e-6)
    np.testing.assert_allclose(found.reconstruction, fake, atol=1e-6)


def test_the_scale_is_the_moving_mean_of_the_good_parts_distances():
    model, data = tiny(batch_norm=False), batch()
    z, _, z_hat = (part.numpy() for part in model.generator(data["image"] * LEFT))
    model.train_step(data)
    assert float(model.fitted.moving_mean[0]) == pytest.approx(0.1 * np.abs(z - z_hat).mean(), rel=1e-4)


def test_nothing_outside_the_roi_has_a_say():
    model, images = tiny(), batch()["image"]
    model.fitted.moving_mean.assign([0.2])
    plain, ones = model(images), model(images, roi=np.ones_like(LEFT))
    assert all(np.array_equal(a, b) for a, b in zip(plain, ones))
    other = np.where(LEFT > 0, images, 1.0 - images)
    inside, same = model(images, roi=LEFT), model(other, roi=LEFT)
    assert all(np.array_equal(a, b) for a, b in zip(inside, same))
    assert np.all(np.asarray(inside.anomaly_map)[LEFT == 0] == 0)
    assert np.abs(inside.score - model(other).score).max() > 1e-6


def test_a_validation_judges_the_drawn_defects_and_trains_nothing():
    model, data = tiny(), batch()
    mask = np.zeros_like(LEFT)
    mask[0, 4:9, 4:9] = 1.0
    noisy = np.where(mask > 0, 1.0, data["image"]).astype(np.float32)
    model.fitted.moving_mean.assign([0.2])
    before = network_arrays(model)
    logs = model.test_step(dict(data, noisy=noisy, mask=mask))
    score = model(noisy, roi=LEFT).score.numpy()
    assert float(logs["image_auroc"]) == pytest.approx(np.mean(score[0] > score[1:]), abs=1e-6)
    clean = model.forward({name: tf.constant(part) for name, part in data.items()}, False)[0]
    assert float(logs["l1"]) == pytest.approx(float(clean["l1"]), rel=1e-6)
    assert all(np.array_equal(part, before[name]) for name, part in network_arrays(model).items())


def test_a_restored_model_takes_the_same_step():
    model, other = tiny(1), tiny(2)
    model.train_step(batch(0))
    arrays = training_arrays(model)
    restore_training(other, arrays, "here")
    for one in (model, other):
        one.train_step(batch(1))
    expected, found = network_arrays(model), network_arrays(other)
    assert any(name.startswith("fitted") for name in expected)
    assert all(np.array_equal(part, found[name]) for name, part in expected.items())


def test_without_a_discriminator_there_is_no_adversarial_part():
    keras.utils.set_random_seed(1)
    model = GANomaly((16, 16), 3, widths=(4, 8), latent=5, discriminator=False)
    with pytest.raises(InputError, match="needs a discriminator"):
        model.compile()
    model.compile(objective=Loss(adversarial=0.0), jit_compile=False, run_eagerly=True)
    logs = model.train_step(batch())
    assert set(logs) == {"loss", "generator", "contextual", "l1", "encoder"}
    assert float(logs["loss"]) == pytest.approx(50 * float(logs["l1"]) + float(logs["encoder"]), rel=1e-5)
