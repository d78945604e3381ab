"""The model: its architectures, the region of interest, and what a Keras model can do."""
import inspect

import numpy as np
import pytest
import tensorflow as tf
from tiny_model import TINY, batch, changed, tiny

from grdnet_tf.errors import InputError
from grdnet_tf.model.grdnet import NETWORKS, TERMS, Detection, GRDNet
from grdnet_tf.model.scoring import anomaly_score
from grdnet_tf.model.weights import network_arrays, restore_networks
from grdnet_tf.options import READINGS, Loss

keras = tf.keras


def test_a_weight_file_means_the_same_on_both_stacks():
    """Every weight is set from its name alone; what comes out was written down on the Keras 2 stack."""
    model = tiny()
    arrays = {name: 0.05 + 0.2 * np.sin(1.0 + i + np.arange(value.size, dtype=np.float32)).reshape(value.shape) ** 2
              for i, (name, value) in enumerate(sorted(network_arrays(model).items()))}
    restore_networks(model, arrays, "test")
    images = batch()["image"]
    generated = model.generator(images)
    for found, expected in (
            (generated.latent[0, 1, 1], [156.6972, 158.3117, 155.6963, 156.2586]),
            (model.discriminator(images).logits[:, 0], [22.7971, 22.75468, 22.69182, 22.75709]),
            (model.segment(images, generated.reconstruction)[0, 3:5, 4, 0], [1460.150, 1567.016])):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("objective, without", [
    (Loss(), {"l2", "overlap"}), (Loss(l2=1.0), {"overlap"}), (Loss(encoder=0), {"l2", "overlap", "encoder"}),
    (Loss(adversarial=0), {"l2", "overlap", "adversarial", "discriminator"}),
    (Loss(l2=1.0, roi_reading="intersection_overlap"), set()), (Loss(roi_reading="overlap", adversarial=0, encoder=0), {
        "l2", "adversarial", "discriminator", "encoder"}),
    (Loss(segmentation=0, l2=1.0, roi_reading="overlap"), {"segmentation", "overlap"})])
def test_what_has_no_weight_is_neither_computed_nor_logged(objective, without):
    model = tiny()
    model.compile(objective=objective)
    assert set(model.terms()) == set(TERMS) - without
    assert set(model.forward(batch(), training=False)[0]) == set(TERMS) - without


def test_a_soft_target_asks_for_what_has_changed():
    """A mask where nothing has changed is no defect; of one that inverts the picture hardly anything is taken off."""
    model, data = tiny(), batch()
    unchanged = dict(data, noisy=data["image"])

    def term(objective, data):
        model.compile(objective=objective)
        return float(model.forward(data, training=False)[0]["segmentation"])

    hard, soft = Loss(), Loss(soft_target=0.1)
    nothing = dict(unchanged, mask=tf.zeros_like(data["mask"]))
    assert term(soft, unchanged) == pytest.approx(term(hard, nothing), rel=1e-3)  # a sigmoid less itself
    assert term(hard, unchanged) > 1.2 * term(soft, unchanged)
    assert term(soft, data) == pytest.approx(term(hard, data), rel=0.02)
    assert term(soft, data) != term(hard, data)


def test_every_network_has_batch_norm_or_none_has():
    for asked in (True, False):
        model = tiny(batch_norm=asked)
        for network in (model.generator, model.discriminator, model.segmenter):
            assert any("moving" in weight.name for weight in network.weights) == asked, network.name


def test_the_architecture_makes_a_model_of_the_same_weights():
    model = tiny(size=24, channels=1, second_encoder=False, latent=3)
    again = GRDNet(**model.architecture)
    assert (again.image_size, again.channels) == ((24, 24), 1)
    assert [tuple(weight.shape) for weight in again.weights] == [tuple(weight.shape) for weight in model.weights]


def test_the_dense_bottleneck_takes_pictures_that_are_not_square():
    model = GRDNet((16, 24), 1, **{**TINY, "bottleneck": "drae"})
    assert model(tf.zeros((2, 16, 24, 1))).anomaly_map.shape == (2, 16, 24, 1)


def test_the_defaults_are_the_papers_pictures():
    parameters = inspect.signature(GRDNet).parameters
    assert parameters["image_size"].default == (256, 256) and parameters["channels"].default == 3


@pytest.mark.parametrize("options", [
    dict(bottleneck="crae"), dict(bottleneck="drae", latent=6), dict(residual=False), dict(batch_norm=False),
    dict(stem=4), dict(segmenter_stride=2), dict(segmenter_difference=True)], ids=str)
def test_every_architecture_detects_and_trains(options):
    model = tiny(**options)
    model.compile(learning_rate=1e-3)
    found = model(batch()["image"])
    assert isinstance(found, Detection)
    assert found.reconstruction.shape == (4, 16, 16, 3) and found.anomaly_map.shape == (4, 16, 16, 1)
    assert found.score.shape == (4,)
    for part in found:
        assert part.dtype == tf.float32 and 0.0 <= np.min(part) and np.max(part) <= 1.0
    before = network_arrays(model)
    model.train_step(batch())
    assert changed(before, network_arrays(model)) == set(NETWORKS)


def test_any_size_divisible_by_the_stride_and_grey_pictures():
    model = tiny(channels=1)
    assert model(tf.zeros((1, 24, 40, 1))).anomaly_map.shape == (1, 24, 40, 1)


def test_the_vanilla_autoencoder_is_the_residual_one_without_shortcuts():
    residual, vanilla = tiny(batch_norm=False), tiny(batch_norm=False, residual=False)
    shortcuts = [w for w in residual.generator.encoder.weights if w.shape[:2] == (1, 1)]  # 1x1 kernels
    assert len(residual.generator.encoder.weights) - len(vanilla.generator.encoder.weights) == 2 * len(shortcuts)
    assert len(shortcuts) == 2  # one a stage


def test_both_encoders_are_alike_with_weights_of_their_own():
    generator = tiny().generator
    first, second = generator.encoder.weights, generator.encoder_hat.weights
    assert [w.shape for w in first] == [w.shape for w in second]
    assert not np.allclose(first[0].numpy(), second[0].numpy())


# Region of interest ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", READINGS)
def test_a_roi_of_ones_trains_the_same_bits_as_no_roi(reading):
    results = []
    for roi in (tf.ones((4, 16, 16, 1)), None):
        model = tiny()
        model.compile(objective=Loss(roi_reading=reading), learning_rate=1e-3)
        data = dict(batch(), roi=roi)
        if roi is None:
            del data["roi"]
        model.train_step(data)
        results.append(network_arrays(model))
    assert changed(*results) == set()


def test_a_roi_at_inference_masks_map_and_score_and_one_of_ones_does_nothing():
    model = tiny()
    images = batch()["image"]
    plain, ones = model(images), model(images, roi=tf.ones((4, 16, 16, 1)))
    for a, b in zip(plain, ones):
        assert np.array_equal(a, b)
    low = np.median(plain.anomaly_map, axis=(1, 2, 3), keepdims=True)
    roi = (plain.anomaly_map.numpy() < low).astype(np.float32)  # without the peaks, so that the score must fall
    masked = model(images, roi=roi)
    assert np.array_equal(masked.anomaly_map, plain.anomaly_map * roi)
    assert np.all(masked.score < plain.score)


# As a Keras model -----------------------------------------------------------------------------------------------------


def test_keras_callbacks_work_and_one_schedule_steers_all_three(tmp_path):
    model = tiny()
    model.compile(learning_rate=1e-3)
    data = tf.data.Dataset.from_tensors(batch())
    rates = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(
        [float(tf.convert_to_tensor(o.learning_rate)) for o in model.optimizers().values()]))
    history = model.fit(data, validation_data=data, epochs=3, verbose=0, callbacks=[
        keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3 / 2**epoch), keep,
        keras.callbacks.EarlyStopping("val_segmentation", mode="min", min_delta=1e9, patience=2),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")), keras.callbacks.TensorBoard(str(tmp_path / "board"))])
    assert len(history.history["loss"]) == 3  # epoch 1 is the best; two without a better one
    np.testing.assert_allclose(rates, [[1e-3] * 3, [5e-4] * 3, [2.5e-4] * 3], rtol=1e-6)
    assert (tmp_path / "log.csv").read_text().count("\n") == 4 and list((tmp_path / "board").rglob("events*"))


def test_bare_images_train_and_predict_gives_a_detection():
    model = tiny()
    model.compile()
    model.fit(tf.data.Dataset.from_tensors(batch()["image"]), verbose=0)
    found = model.predict(tf.data.Dataset.from_tensors(batch()["image"]).repeat(2), verbose=0)
    assert found.anomaly_map.shape == (8, 16, 16, 1) and found.score.shape == (8,)
    np.testing.assert_allclose(found.score[:4], model(batch()["image"]).score, atol=1e-6)


def test_large_pictures_in_tiles():
    """A picture no larger than a tile is predicted as ever; the map of a larger one has its size and a plain score."""
    model = tiny(channels=1)
    small, large = (np.random.default_rng(0).random((2, h, w, 1), np.float32) for h, w in ((16, 16), (22, 45)))
    plain, tiled = model(small), model.predict_tiled(small)
    for ours, theirs in zip(tiled, plain):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    found = model.predict_tiled(large, overlap=6, batch=3)
    assert found.reconstruction.shape == (2, 22, 45, 1) and found.anomaly_map.shape == (2, 22, 45, 1)
    first = model(large[:, :16, :16]).anomaly_map  # alone where the next ones, at row 6 and column 10, have not begun
    np.testing.assert_allclose(found.anomaly_map[:, :6, :10], first[:, :6, :10], atol=1e-6)
    np.testing.assert_allclose(found.score, anomaly_score(found.anomaly_map, 5), atol=1e-6)
    with pytest.raises(ValueError, match="divisible by 4"):
        model.predict_tiled(large, tile=18)


def test_weights_go_into_a_model_of_the_same_architecture_only():
    model, other = tiny(), tiny(seed=2)
    arrays = network_arrays(model)
    restore_networks(other, arrays, "here")
    assert changed(arrays, network_arrays(other)) == set()
    with pytest.raises(InputError, match="here: another architecture: generator/"):
        restore_networks(tiny(widths=(4, 9)), arrays, "here")


@pytest.mark.slow
def test_it_overfits_eight_pictures():
    """Eight pictures, each with one bright patch as the defect: after 150 steps the map marks them and little else."""
    rng = np.random.default_rng(0)
    image = (0.3 + 0.1 * rng.random((8, 16, 16, 1))).astype(np.float32)
    noisy, mask = image.copy(), np.zeros_like(image)
    for i, (y, x) in enumerate(rng.integers(1, 10, (8, 2))):
        noisy[i, y:y + 5, x:x + 5], mask[i, y:y + 5, x:x + 5] = 0.9, 1.0
    model = tiny(channels=1, batch_norm=False)
    model.compile(learning_rate=5e-3)
    data = tf.data.Dataset.from_tensors(dict(image=image, noisy=noisy, mask=mask, roi=np.ones_like(mask))).repeat(150)
    first = model.evaluate(data.take(1), verbose=0, return_dict=True)
    model.fit(data, verbose=0)
    last = model.evaluate(data.take(1), verbose=0, return_dict=True)
    assert last["pixel_ap"] > 0.98 and last["l1"] < 0.5 * first["l1"]
    assert last["segmentation"] < 0.2 * first["segmentation"]
