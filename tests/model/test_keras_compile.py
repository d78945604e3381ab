"""What `compile` takes of Keras or refuses, averages of Keras' optimizers, tiles."""
import numpy as np
import pytest
from tiny_keras import FLOATS, IMAGES, NOISE, keras, tiny

from grdnet_tf.compat import KERAS_3
from grdnet_tf.errors import InputError
from grdnet_tf.model.grdnet import NETWORKS

# compile and the rest -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name,value,words", [
    ("optimizer", "adam", "generator_optimizer"), ("loss", "mse", "objective=Loss"),
    ("metrics", ["mae"], "model.metrics"),
    ("loss_weights", [1.0], "objective=Loss"), ("weighted_metrics", ["mae"], "alike"), ("foo", 1, "no such argument"),
    ("generator_optimizer", "adam", "keras.optimizers.Adam")])
def test_what_compile_does_not_take_is_refused_by_name(name, value, words):
    with pytest.raises(InputError, match=f"GRDNet.compile: {name}.*{words}"):
        tiny().compile(**{name: value})
    with pytest.raises(InputError, match="generator_optimizer = 'adam'"):
        tiny().compile("adam", "mse")


def test_what_compile_takes_of_keras_reaches_keras():
    model = tiny()
    model.compile(noise=NOISE, jit_compile=False, steps_per_execution=2)
    assert model.fit(np.concatenate([FLOATS] * 2), batch_size=2, verbose=0).history["l1"][0] < 1.0
    model.compile(run_eagerly=True)
    assert model.run_eagerly


def test_an_unknown_bottleneck_is_refused():
    with pytest.raises(InputError, match="bottleneck = 'crea'; expected one of crae, drae"):
        tiny(bottleneck="crea")


def averaging(momentum=0.5):
    return [keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=momentum) for _ in NETWORKS]


def averages(model):
    return {name: [np.array(v) for v in optimizer._model_variables_moving_average]
            for name, optimizer in model.optimizers().items()}


def test_averages_of_keras_optimizers_end_in_all_networks():
    """`use_ema` as Keras has it: when fit ends, every network holds the average of its weights."""
    model = tiny()
    model.compile(*averaging(), noise=NOISE, run_eagerly=True)
    model.fit(FLOATS, batch_size=2, verbose=0)
    for name, expected in averages(model).items():
        for weight, mean in zip(getattr(model, name).trainable_variables, expected):
            assert np.array_equal(weight, mean), name


def test_optimizers_that_follow_average_as_their_leader():
    model = tiny()
    model.compile(keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.7))
    assert [(o.use_ema, o.ema_momentum) for o in model.optimizers().values()] == [(True, 0.7)] * 3


@pytest.mark.skipif(not KERAS_3, reason="SwapEMAWeights came with Keras 3")
def test_swap_ema_weights_swaps_all_networks():
    model = tiny()
    model.compile(*averaging(), noise=NOISE, run_eagerly=True)
    seen = {}

    class Look(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.update({name: [np.array(w) for w in getattr(model, name).trainable_variables] for name in NETWORKS})

    class Before(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.average = averages(model)

    before = Before()
    model.fit(FLOATS, batch_size=2, verbose=0, validation_data=(FLOATS, None),
              callbacks=[before, keras.callbacks.SwapEMAWeights(), Look()])
    for name in NETWORKS:
        for weight, mean in zip(seen[name], before.average[name]):
            np.testing.assert_allclose(weight, mean, atol=1e-6)


def test_tiles_are_traced_once_for_each_size():
    model, traces = tiny(), []
    call = model.segment
    model.segment = lambda *a, **k: traces.append(1) or call(*a, **k)
    pictures = np.random.default_rng(0).random((2, 22, 45, 3), np.float32)
    for _ in range(3):
        model.predict_tiled(pictures, overlap=6, batch=3)
        model.predict_tiled(FLOATS)  # one tile a picture, the same size
    assert len(traces) == 1
    model.predict_tiled(pictures, tile=8, overlap=2)
    assert len(traces) == 2


def test_pictures_of_whole_numbers_are_tiled_as_those_of_floats():
    model = tiny()
    for a, b in zip(model.predict_tiled(IMAGES), model.predict_tiled(FLOATS)):
        np.testing.assert_allclose(a, b, atol=1e-6)
