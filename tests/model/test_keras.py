"""GRDNet wherever Keras expects a model: every row of docs/keras.md."""
import logging

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tiny_keras import FLOATS, IMAGES, NOISE, ROI, compiled, equal, keras, tiny

from grdnet_tf.compat import KERAS_3
from grdnet_tf.errors import InputError
from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.model.weights import network_arrays, training_arrays

def state(model):
    """All that a next step depends on: not the sums of an epoch that is over."""
    return {name: array for name, array in training_arrays(model).items() if not name.startswith("metric/")}


# Made again -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [lambda m: GRDNet.from_config(m.get_config()), keras.models.clone_model],
                         ids=["from_config", "clone_model"])
def test_a_configuration_makes_the_same_architecture_with_fresh_weights(again):
    model = tiny(blocks=2, stem=3, segmenter_stride=2, segmenter_difference=True, second_encoder=False)
    other = again(model)
    assert dict(other.architecture) == dict(model.architecture) and other.name == model.name
    ours, theirs = network_arrays(model), network_arrays(other)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()} and not equal(ours, theirs)


def test_the_configuration_is_plain_data_and_keeps_the_precision():
    import json

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        config = json.loads(json.dumps(tiny().get_config()))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    again = GRDNet.from_config(config)
    assert again.generator.encoder.stages[0].compute_dtype == "bfloat16"
    assert keras.mixed_precision.global_policy().name == "float32"


def test_a_saved_model_is_loaded_with_all_it_was_compiled_with(trained):
    model, path = trained
    loaded = keras.models.load_model(path)
    assert equal(state(loaded), state(model))
    rates = [float(tf.convert_to_tensor(o.learning_rate)) for o in loaded.optimizers().values()]
    np.testing.assert_allclose(rates, [2.5e-4, 5e-4, 7.5e-4], rtol=1e-6)
    assert loaded.clip_norm == 0.5 and loaded.objective == model.objective and loaded.noise == model.noise
    assert np.array_equal(loaded.textures, model.textures) and loaded.following == []
    for a, b in zip(loaded(FLOATS), model(FLOATS)):
        assert np.array_equal(a, b)


def test_a_loaded_model_trains_on_as_the_saved_one(trained):
    """One step with noise made before: the same weights to the bit, optimizers' moments and rates included."""
    model, path = trained
    batch = dict(image=FLOATS, noisy=1.0 - FLOATS, mask=ROI, roi=np.ones_like(ROI))
    results = []
    for one in (keras.models.load_model(path), keras.models.load_model(path)):
        one.train_step(batch)
        results.append(state(one))
    assert equal(*results)
    kept = training_arrays(model)
    try:
        model.train_step(batch)
        assert equal(state(model), results[0])
    finally:
        from grdnet_tf.model.weights import restore_training
        restore_training(model, kept, "kept")


def test_without_compile_the_weights_alone_are_loaded(trained):
    model, path = trained
    loaded = keras.models.load_model(path, compile=False)
    assert loaded.trackers is None and equal(network_arrays(loaded), network_arrays(model))


def test_an_optimizer_that_follows_follows_after_loading_too(tmp_path):
    compiled(learning_rate=1e-3).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.optimizer.learning_rate = 1e-5
    loaded.train_on_batch(FLOATS)  # Keras 2 shows the rate of the last step
    rates = [float(tf.convert_to_tensor(o.learning_rate)) for o in loaded.optimizers().values()]
    np.testing.assert_allclose(rates, 1e-5, rtol=1e-6)


def test_weights_alone_are_saved_and_loaded(tmp_path):
    model, other = tiny(), tiny(seed=2)
    model.save_weights(str(tmp_path / "model.weights.h5"))
    other.load_weights(str(tmp_path / "model.weights.h5"))
    assert equal(network_arrays(other), network_arrays(model))


def test_the_model_checkpoint_of_keras_can_be_loaded(tmp_path):
    model = compiled()
    path = str(tmp_path / "epoch.keras")
    model.fit(FLOATS, batch_size=4, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(path)])
    assert equal(network_arrays(keras.models.load_model(path)), network_arrays(model))


def test_saved_models_answer_as_the_model_right_after_training(trained, tmp_path):
    model, _ = trained
    model.export(str(tmp_path / "export"))
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    served = loaded.serve(tf.constant(FLOATS[:, :8]))  # another size
    expected = model(FLOATS[:, :8])
    np.testing.assert_allclose(served["score"], expected.score, atol=1e-6)
    np.testing.assert_allclose(served["anomaly_map"], expected.anomaly_map, atol=1e-6)
    if KERAS_3:  # whose options Keras 2 does not have
        model.export(str(tmp_path / "silent"), verbose=False)
        loaded = tf.saved_model.load(str(tmp_path / "silent"))
        np.testing.assert_allclose(loaded.serve(FLOATS)[2], model(FLOATS).score, atol=1e-6)
    tf.saved_model.save(model, str(tmp_path / "plain"), signatures=tf.function(
        lambda images: model(images)._asdict(), input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.float32)]))
    loaded = tf.saved_model.load(str(tmp_path / "plain"))
    plain = loaded.signatures["serving_default"](images=tf.constant(FLOATS))
    np.testing.assert_allclose(plain["score"], model(FLOATS).score, atol=1e-6)


# What fit, evaluate and predict take ----------------------------------------------------------------------------------


def flat(batches):
    return tf.data.Dataset.from_tensors(batches)


def generator(*parts):
    for part in parts:
        yield part


FORMS = {
    "array": lambda: FLOATS, "uint8": lambda: IMAGES, "float64": lambda: IMAGES / 255.0,
    "dataset": lambda: flat(FLOATS), "dataset of (x,)": lambda: flat((FLOATS,)),
    "dataset of (x, y)": lambda: flat((FLOATS, np.zeros(4))), "dict of arrays": lambda: dict(image=FLOATS, roi=ROI),
    "dataset of dicts": lambda: flat(dict(image=IMAGES, roi=ROI)),
    "dataset of (dict, y)": lambda: flat((dict(image=IMAGES, roi=ROI), np.zeros((4, 2)))),
    "generator": lambda: generator((FLOATS,)), "generator of (x, y)": lambda: generator((FLOATS, np.zeros(4))),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_trains_is_evaluated_and_predicted(form):
    model = compiled()
    before = network_arrays(model)
    size = {} if "dataset" in form or "generator" in form else {"batch_size": 4}
    logs = model.fit(FORMS[form](), verbose=0, **size).history
    assert not equal(before, network_arrays(model)) and 0.0 < logs["l1"][0] < 1.0
    assert 0.0 < model.evaluate(FORMS[form](), verbose=0, return_dict=True, **size)["l1"] < 1.0
    found = model.predict(FORMS[form](), verbose=0, **size)
    roi = ROI if "dict" in form else None
    np.testing.assert_allclose(found.score, model(FLOATS, roi=roi).score, atol=1e-5)


def test_on_batch_methods_take_what_fit_takes():
    model = compiled()
    for batch in (FLOATS, IMAGES, dict(image=IMAGES, roi=ROI)):
        assert 0.0 < model.train_on_batch(batch, return_dict=True)["l1"] < 1.0
        assert 0.0 < model.test_on_batch(batch, return_dict=True)["l1"] < 1.0
    assert 0.0 < model.train_on_batch(FLOATS, np.zeros(4), return_dict=True)["l1"] < 1.0
    np.testing.assert_allclose(model.predict_on_batch(IMAGES).score, model(FLOATS).score, atol=1e-6)


def test_whole_numbers_are_scaled_by_their_range():
    model = compiled()
    batch = dict(noisy=FLOATS, mask=ROI, roi=ROI)
    expected = model.test_on_batch(dict(batch, image=FLOATS), return_dict=True)["l1"]
    for image in (IMAGES, IMAGES.astype(np.uint16) * 257):
        found = model.test_on_batch(dict(batch, image=image), return_dict=True)["l1"]
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("roi", [ROI * 255, (ROI * 255).astype(np.uint8), ROI.astype(np.uint8), ROI > 0, ROI[..., 0],
                                 ROI[..., 0] > 0, ROI.astype(np.float64)],
                         ids=lambda roi: f"{roi.dtype} of rank {roi.ndim} up to {int(roi.max())}")
def test_a_roi_means_the_same_in_every_form(roi):
    model = compiled()
    batch = dict(image=FLOATS, noisy=1.0 - FLOATS, mask=np.ones_like(ROI))
    ours, expected = (model.test_on_batch(dict(batch, roi=one), return_dict=True) for one in (roi, ROI))
    assert ours == expected
    for a, b in zip(model(FLOATS, roi=roi), model(FLOATS, roi=ROI)):
        assert np.array_equal(a, b)
    for a, b in zip(model.predict(dict(image=FLOATS, roi=roi), verbose=0), model(FLOATS, roi=ROI)):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_labels_are_not_used_and_that_is_said(caplog):
    model = compiled()
    with caplog.at_level(logging.WARNING):
        model.fit(flat((FLOATS, np.zeros(4))), verbose=0)
    assert "labels are not used: every picture of this data counts as a good one" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_directory_of_pictures_is_scaled_or_refused(tmp_path, dtype):
    """`image_dataset_from_directory` gives floats up to 255."""
    (tmp_path / "good").mkdir()
    for i, image in enumerate(IMAGES):
        cv2.imwrite(str(tmp_path / "good" / f"{i}.png"), image)
    data = keras.utils.image_dataset_from_directory(str(tmp_path), image_size=(16, 16), batch_size=2, verbose=False) \
        if KERAS_3 else keras.utils.image_dataset_from_directory(str(tmp_path), image_size=(16, 16), batch_size=2)
    model = compiled(run_eagerly=False)
    if dtype == "float32":
        for use in (model.fit, model.evaluate, model.predict):
            with pytest.raises(InputError, match=r"outside \[0, 1\].*images / 255"):
                use(data, verbose=0)
    else:
        data = data.map(lambda images, labels: (tf.cast(images, tf.uint8), labels))
        assert model.fit(data, verbose=0).history["l1"][0] < 1.0


@pytest.mark.parametrize("images, jit", [
    pytest.param(FLOATS * 255.0, False, id="0..255"),
    pytest.param(FLOATS * 2.0 - 1.0, True, id="-1..1 XLA", marks=pytest.mark.slow)])
def test_pictures_out_of_range_are_refused_in_a_graph_and_in_xla(images, jit):
    model = tiny()
    model.compile(noise=NOISE, jit_compile=jit)
    for use in (model.train_on_batch, model.test_on_batch, model.predict_on_batch, model.predict_tiled, model):
        with pytest.raises(InputError, match=r"outside \[0, 1\]"):
            use(images)
    noisy = dict(image=FLOATS, noisy=images, mask=ROI)
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        model.evaluate(noisy, verbose=0)


def test_one_picture_out_of_range_in_a_late_batch_is_noticed():
    late = np.concatenate([np.tile(FLOATS, (4, 1, 1, 1)), FLOATS])  # in batches of 2 the 9th
    late[17, 3, 3] = 200.0
    model = compiled()
    for use in (model.fit, model.evaluate, model.predict):
        with pytest.raises(InputError, match=r"outside \[0, 1\]"):
            use(late, batch_size=2, verbose=0, **({"shuffle": False} if use == model.fit else {}))
    assert np.isfinite(model.evaluate(FLOATS, verbose=0, return_dict=True)["l1"])  # said once, not for ever


def test_rounding_beyond_the_range_is_let_pass():
    assert compiled().test_on_batch(np.clip(FLOATS * 1.0005, 0, 1.0005), return_dict=True)["l1"] < 1.0


BAD = {
    "another number of channels": (lambda: FLOATS[..., :1], r"\(batch, height, width, 3\)"),
    "a batch of grey pictures": (lambda: FLOATS[..., 0], r"\(batch, height, width, 3\)"),
    "int64": (lambda: IMAGES.astype(np.int64), "int64; expected uint8"),
    "unknown key": (lambda: dict(image=FLOATS, ROI=ROI), "found the keys ROI, image"),
    "no image": (lambda: dict(images=FLOATS), "found the keys images"),
    "noisy without mask": (lambda: dict(image=FLOATS, noisy=FLOATS), "'noisy' and 'mask' belong together"),
    "mask without noisy": (lambda: dict(image=FLOATS, mask=ROI), "'noisy' and 'mask' belong together"),
    "roi of another size": (lambda: dict(image=FLOATS, roi=ROI[:, :8]), r"'roi' has the shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_batch_is_refused_in_one_line(case):
    make, words = BAD[case]
    model = compiled(run_eagerly=False)  # while it is traced, where Keras 2 makes another class of an error
    for use in (model.fit, model.evaluate):
        with pytest.raises(InputError, match=words) as raised:
            use(flat(make()), verbose=0)
        assert len(str(raised.value).splitlines()) == 1


def test_targets_and_weights_are_refused():
    model = compiled()
    with pytest.raises(InputError, match="targets are not taken"):
        model.fit(FLOATS, FLOATS, verbose=0)
    with pytest.raises(InputError, match="sample weights and class weights are not taken"):
        model.fit(FLOATS, np.zeros(4), sample_weight=np.ones(4), verbose=0)
    with pytest.raises(InputError, match="sample weights and class weights are not taken"):
        model.fit(FLOATS, np.zeros(4), class_weight={0: 2.0}, verbose=0)
