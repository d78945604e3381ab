"""The model: who is trained by what, the data contract, precision, replicas, and that it learns."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.defects import perlin
from grdnet_tf.model import losses
from grdnet_tf.model.grdnet import Detection, GRDNet, Objective
from grdnet_tf.model.scoring import anomaly_score
from grdnet_tf.model.weights import NETWORKS, network_arrays, restore_networks

keras = tf.keras
TINY = dict(widths=(4, 8), latent=4, stem=0, blocks=1, discriminator_widths=(4, 8), segmenter_widths=(4, 8),
            segmenter_stride=1, score_pool=5)


def tiny(size=16, channels=3, seed=1, **options):
    keras.utils.set_random_seed(seed)
    return GRDNet((size, size), channels, **{**TINY, **options})


@pytest.fixture(scope="module")
def replicas():
    """Two replicas; one strategy for all tests, as TensorFlow mixes up the collective ops of two in one process."""
    devices = tf.config.list_logical_devices("CPU")
    assert len(devices) >= 2, "tests/conftest.py makes two logical CPU devices"
    return tf.distribute.MirroredStrategy([device.name for device in devices[:2]])


def batch(n=4, size=16, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random((n, size, size, channels), np.float32)
    noisy, mask = image.copy(), np.zeros((n, size, size, 1), np.float32)
    mask[:, 4:9, 4:9] = 1.0
    noisy[:, 4:9, 4:9] = 1.0 - image[:, 4:9, 4:9]
    roi = np.zeros_like(mask)
    roi[:, :, :12] = 1.0
    parts = dict(image=image, noisy=noisy, mask=mask, roi=roi)
    return {name: tf.constant(part) for name, part in parts.items()}


def changed(before, after):
    """The networks of which any weight differs."""
    return {name.split("/")[0] for name in before if not np.array_equal(before[name], after[name])}


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


# Who is trained by what ---------------------------------------------------------------------------------------------

EXPECTED = {  # networks that each raw term must reach, and no other
    "l1": {"encoder", "decoder"}, "l2": {"encoder", "decoder"}, "ssim": {"encoder", "decoder"},
    "adversarial": {"encoder", "decoder", "discriminator"},  # through the discriminator, which it does not train
    "encoder": {"encoder", "decoder", "encoder_hat"},
    "segmentation": {"segmenter"}, "overlap": {"segmenter"},
}


@pytest.mark.parametrize("reaches_generator", [False, True])
def test_each_loss_term_has_a_gradient_exactly_where_it_should(reaches_generator):
    model = tiny()
    model.compile(objective=Objective(l2=1.0, roi_reading="intersection_overlap",
                                      segmentation_to_generator=reaches_generator))
    parts = {"encoder": model.generator.encoder, "decoder": model.generator.decoder,
             "encoder_hat": model.generator.encoder_hat, "discriminator": model.discriminator,
             "segmenter": model.segmenter}
    with tf.GradientTape(persistent=True) as tape:
        terms, _ = model.forward(batch(), training=True)
    for name, term in terms.items():
        if name == "discriminator":
            continue
        reached = {part for part, network in parts.items()
                   if any(g is not None and np.any(g != 0) for g in tape.gradient(term, network.trainable_variables))}
        extra = {"encoder", "decoder"} if reaches_generator and name in ("segmentation", "overlap") else set()
        assert reached == EXPECTED[name] | extra, name


@pytest.mark.parametrize("name", NETWORKS)
def test_each_optimizer_changes_only_its_own_network(name):
    still = {f"{other}_optimizer": keras.optimizers.SGD(0.0) for other in NETWORKS if other != name}
    model = tiny(batch_norm=False)  # batch norm's moments move in every pass
    model.compile(**still, **{f"{name}_optimizer": keras.optimizers.SGD(0.1)})
    before = network_arrays(model)
    model.train_step(batch())
    assert changed(before, network_arrays(model)) == {name}


def test_the_discriminator_loss_does_not_train_the_generator():
    model = tiny(batch_norm=False)
    rates = [keras.optimizers.SGD(0.1) for _ in range(3)]
    model.compile(*rates, objective=Objective(adversarial=1e-12, contextual=0.0, encoder=0.0))
    before = network_arrays(model)
    model.train_step(batch())
    after = network_arrays(model)
    generator = [np.abs(after[k] - before[k]).max() for k in before if k.startswith("generator")]
    assert max(generator) < 1e-9 and "discriminator" in changed(before, after)


def test_generator_gradient_is_the_weighted_sum_of_eq_2():
    weights = Objective(adversarial=2.0, contextual=3.0, encoder=5.0, l1=0.5, l2=4.0, ssim=0.25)
    model = tiny()
    model.compile(objective=weights)
    terms, _ = model.forward(batch(), training=False)
    t = {name: float(value) for name, value in terms.items()}
    by_hand = 2.0 * t["adversarial"] + 3.0 * (0.5 * t["l1"] + 4.0 * t["l2"] + 0.25 * t["ssim"]) + 5.0 * t["encoder"]
    assert float(model.objectives(terms)["generator"]) == pytest.approx(by_hand, rel=1e-6)


def test_terms_without_weight_are_not_computed():
    model = tiny(second_encoder=False, discriminator_widths=None)
    model.compile(objective=Objective(adversarial=0.0, encoder=0.0))
    assert set(model.train_step(batch())) == {"loss", "generator", "l1", "ssim", "segmentation"}
    with pytest.raises(ValueError, match="discriminator_widths"):
        model.compile()


# Region of interest ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", losses.READINGS)
def test_a_roi_of_ones_trains_the_same_bits_as_no_roi(reading):
    results = []
    for roi in (tf.ones((4, 16, 16, 1)), None):
        model = tiny()
        model.compile(objective=Objective(roi_reading=reading), learning_rate=1e-3)
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


# Data, precision, replicas --------------------------------------------------------------------------------------------


def test_noise_made_in_the_step_is_the_noise_made_before():
    settings = perlin.NoiseSettings(probability=1.0, threshold=(0.0, 0.2))
    seeds = tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]])
    plain = dict(image=batch()["image"], roi=tf.ones((4, 16, 16, 1)), seed=seeds)
    results = []
    for prepared in (False, True):
        model = tiny()
        model.compile(noise=settings)
        data = model.perturbed(plain) if prepared else plain
        assert not prepared or np.any(data["mask"])
        results.append({k: float(v) for k, v in model.train_step(data).items()})
    assert results[0] == results[1]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_and_speaks_float32(policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = tiny(batch_norm=True)
        model.compile(learning_rate=1e-3)
        before = network_arrays(model)
        for _ in range(4):  # float16 begins with a scale of 2^15: the first steps may be skipped
            logs = model.train_step(batch())
        assert all(np.isfinite(float(v)) for v in logs.values())
        assert changed(before, network_arrays(model)) == set(NETWORKS)
        assert {part.dtype for part in model(batch()["image"])} == {tf.float32}
        assert {array.dtype for array in network_arrays(model).values()} == {np.dtype("float32")}
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_clipping_bounds_the_whole_gradient_of_each_network():
    """A step of plain gradient descent with rate 1 is as long as the clipped gradient."""
    model = tiny()
    model.compile(*[keras.optimizers.SGD(1.0) for _ in range(3)], clip_norm=1e-3)
    before = {name: [w.numpy() for w in getattr(model, name).trainable_variables] for name in NETWORKS}
    model.train_step(batch())
    for name in NETWORKS:
        moved = [w.numpy() - b for w, b in zip(getattr(model, name).trainable_variables, before[name])]
        length = np.sqrt(sum(np.sum(np.square(m, dtype=np.float64)) for m in moved))
        assert length == pytest.approx(1e-3, rel=1e-2), name  # weights near 1 hold steps to 6e-8


def test_one_replica_that_overflows_stops_the_update_of_all(replicas):
    """Loss scaling: the second half of the batch holds a NaN; no weight may take the first half's step alone."""
    parts = {name: part.numpy() for name, part in batch(n=4).items()}
    parts["noisy"][3, 5, 5] = np.nan
    data = tf.data.Dataset.from_tensors(parts)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    try:
        keras.mixed_precision.set_global_policy("mixed_float16")
        with replicas.scope():
            model = tiny(batch_norm=False)
            model.compile()
        before = network_arrays(model)
        model.fit(data.with_options(options), verbose=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert changed(before, network_arrays(model)) == set()


def test_xla_gives_the_same_step():
    logs = []
    for jit in (False, True):
        model = tiny()
        model.compile(learning_rate=1e-3, jit_compile=jit, noise=perlin.NoiseSettings(probability=1.0))
        data = tf.data.Dataset.from_tensors(dict(image=batch()["image"], roi=batch()["roi"],
                                                 seed=tf.reshape(tf.range(8), (4, 2))))
        logs.append(model.fit(data, epochs=2, verbose=0).history)
    for name in logs[0]:
        assert logs[0][name] == pytest.approx(logs[1][name], rel=1e-3), name


@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
def test_two_replicas_train_as_one_process(replicas, clip_norm):
    """With clipping, too: the norm of the whole gradient counts, and 0.1 is below that of every network here."""
    data = tf.data.Dataset.from_tensors(batch(n=8)).repeat()
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    results = []
    for strategy in (tf.distribute.get_strategy(), replicas):
        with strategy.scope():
            model = tiny(synchronized=True)
            # Larger steps amplify the rounding; clipped ones are smaller.
            model.compile(*[keras.optimizers.SGD(0.1 if clip_norm else 1e-3) for _ in range(3)], clip_norm=clip_norm)
        history = model.fit(data.with_options(options), steps_per_epoch=2, epochs=2, verbose=0).history
        results.append((network_arrays(model), history))
    (one, one_logs), (two, two_logs) = results
    for name in one:
        assert np.abs(one[name] - two[name]).max() < 1e-5, name
    for name in one_logs:
        assert one_logs[name] == pytest.approx(two_logs[name], rel=1e-4), name


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
    """A picture no larger than a tile is predicted as ever; the map of a larger one has its size and the plain score."""
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
    from grdnet_tf.errors import InputError

    model, other = tiny(), tiny(seed=2)
    arrays = network_arrays(model)
    restore_networks(other, arrays, "here")
    assert changed(arrays, network_arrays(other)) == set()
    with pytest.raises(InputError, match="here: another architecture: generator/"):
        restore_networks(tiny(widths=(4, 9)), arrays, "here")


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
