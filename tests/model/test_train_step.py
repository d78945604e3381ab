"""The training step: who is trained by what, noise made in it, precision, clipping, XLA and replicas."""
import numpy as np
import pytest
import tensorflow as tf
from tiny_model import batch, changed, tiny

from grdnet_tf.model.grdnet import NETWORKS
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.options import Loss, Noise

keras = tf.keras


@pytest.fixture(scope="module")
def replicas():
    """Two replicas; one strategy for all tests, as TensorFlow mixes up the collective ops of two in one process."""
    devices = tf.config.list_logical_devices("CPU")
    assert len(devices) >= 2, "tests/conftest.py makes two logical CPU devices"
    return tf.distribute.MirroredStrategy([device.name for device in devices[:2]])


# Who is trained by what -----------------------------------------------------------------------------------------------

EXPECTED = {  # networks that each raw term must reach, and no other
    "l1": {"encoder", "decoder"}, "l2": {"encoder", "decoder"}, "ssim": {"encoder", "decoder"},
    "adversarial": {"encoder", "decoder", "discriminator"},  # through the discriminator, which it does not train
    "encoder": {"encoder", "decoder", "encoder_hat"},
    "segmentation": {"segmenter"}, "overlap": {"segmenter"},
}


@pytest.mark.parametrize("reaches_generator", [0, 0.1])
def test_each_loss_term_has_a_gradient_exactly_where_it_should(reaches_generator):
    model = tiny()
    model.compile(objective=Loss(l2=1.0, roi_reading="intersection_overlap",
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
    model.compile(*rates, objective=Loss(adversarial=1e-12, contextual=0.0, encoder=0.0))
    before = network_arrays(model)
    model.train_step(batch())
    after = network_arrays(model)
    generator = [np.abs(after[k] - before[k]).max() for k in before if k.startswith("generator")]
    assert max(generator) < 1e-9 and "discriminator" in changed(before, after)


def test_generator_gradient_is_the_weighted_sum_of_eq_2():
    weights = Loss(adversarial=2.0, contextual=3.0, encoder=5.0, l1=0.5, l2=4.0, ssim=0.25)
    model = tiny()
    model.compile(objective=weights)
    terms, _ = model.forward(batch(), training=False)
    t = {name: float(value) for name, value in terms.items()}
    by_hand = 2.0 * t["adversarial"] + 3.0 * (0.5 * t["l1"] + 4.0 * t["l2"] + 0.25 * t["ssim"]) + 5.0 * t["encoder"]
    assert float(model.objectives(terms)["generator"]) == pytest.approx(by_hand, rel=1e-6)


def test_terms_without_weight_are_not_computed():
    model = tiny(second_encoder=False, discriminator_widths=None)
    model.compile(objective=Loss(adversarial=0.0, encoder=0.0))
    assert set(model.train_step(batch())) == {"loss", "generator", "contextual", "l1", "ssim", "segmentation"}
    with pytest.raises(ValueError, match="discriminator_widths"):
        model.compile()


def test_the_generator_alone_computes_no_unet():
    """Neither where there is one, which stays as it is, nor where there is none; eq. 6 without its second term."""
    objective = Loss(segmentation=0.0, adversarial=0.0, encoder=0.0)
    for widths in ((4, 8), None):
        model = tiny(second_encoder=False, discriminator_widths=None, segmenter_widths=widths)
        model.compile(objective=objective)
        before = network_arrays(model)
        logs = {name: float(value) for name, value in model.train_step(batch()).items()}
        assert set(logs) == {"loss", "generator", "contextual", "l1", "ssim"}
        assert logs["contextual"] == pytest.approx(logs["l1"] + logs["ssim"], rel=1e-6)
        assert logs["loss"] == logs["generator"] == pytest.approx(50 * logs["contextual"], rel=1e-6)
        assert changed(before, network_arrays(model)) == {"generator"}
    with pytest.raises(ValueError, match="segmenter_widths"):
        model.compile(objective=Loss(adversarial=0.0, encoder=0.0))


# Data, precision, replicas --------------------------------------------------------------------------------------------


def test_noise_made_in_the_step_is_the_noise_made_before():
    settings = Noise(probability=1.0, threshold=(0.0, 0.2))
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


@pytest.mark.slow
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
        model.compile(learning_rate=1e-3, jit_compile=jit, noise=Noise(probability=1.0))
        data = tf.data.Dataset.from_tensors(dict(image=batch()["image"], roi=batch()["roi"],
                                                 seed=tf.reshape(tf.range(8), (4, 2))))
        logs.append(model.fit(data, epochs=2, verbose=0).history)
    for name in logs[0]:
        assert logs[0][name] == pytest.approx(logs[1][name], rel=1e-3), name


@pytest.mark.parametrize("clip_norm", [pytest.param(0.0, marks=pytest.mark.slow), 0.1])
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
