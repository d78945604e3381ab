"""Eq. 7 on logs made by hand, averaged weights against a NumPy loop, the best epoch, what `compile` is given."""
import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf import config as configuration
from grdnet_tf.model.grdnet import GRDNet
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.options import Loss, Noise
from grdnet_tf.storage import read_arrays
from grdnet_tf.training import building, prepare, run_folder
from grdnet_tf.training.callbacks import Best, PlateauDecay, WeightAverage

keras = tf.keras
TINY = dict(widths=(4, 8), latent=4, stem=0, blocks=1, discriminator_widths=(4, 8), segmenter_widths=(4, 8),
            score_pool=3)
IMAGES = np.random.default_rng(0).random((6, 16, 16, 3), np.float32)


def tiny(*rates, second_encoder=True, **options):
    keras.utils.set_random_seed(1)
    model = GRDNet((16, 16), 3, second_encoder=second_encoder, **TINY)
    model.compile(*[keras.optimizers.Adam(rate) for rate in rates], run_eagerly=True, jit_compile=False,
                  noise=Noise(scales=(0, 2), min_area=2), **options)
    return model


def rates(model):
    return [float(tf.convert_to_tensor(optimizer.learning_rate)) for optimizer in model.optimizers().values()]


def told(callback, model, monitor, values):
    """The rates of the three optimizers after each epoch of a log with these values."""
    callback.set_model(model)
    found = []
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {monitor: value})
        found.append(rates(model))
    return found


# Eq. 7 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("monitor,sign", [("val_segmentation", 1.0), ("val_pixel_ap", -1.0)])
def test_eight_epochs_of_the_plateau(monitor, sign):
    """Patience 2: worse, better (which starts anew), equal, worse: a decay; a little worse twice: a decay; best."""
    values = [sign * value for value in (1.0, 1.1, 0.9, 0.9, 0.95, 0.91, 0.92, 0.8)]
    model = tiny(1e-3, 2e-3, 4e-3)
    found = told(PlateauDecay(monitor, patience=2, alpha=0.5, floor=6e-4), model, monitor, values)
    start, once = np.array([1e-3, 2e-3, 4e-3]), np.array([1e-3, 2e-3, 4e-3]) * 0.6065307
    twice = np.array([6e-4, 7.357589e-4, 1.4715178e-3])  # the first would be 3.7e-4, below the floor
    np.testing.assert_allclose(found, [start] * 4 + [once] * 2 + [twice] * 2, rtol=1e-5)


def test_a_rate_below_the_floor_stays():
    found = told(PlateauDecay("loss", patience=1, alpha=0.5, floor=6e-4), tiny(1e-4, 1e-3, 1e-3), "loss", [1.0, 2.0])
    np.testing.assert_allclose(found[-1], [1e-4, 6.065307e-4, 6.065307e-4], rtol=1e-5)


def test_an_optimizer_that_follows_decays_once():
    model = tiny(1e-3)
    told(PlateauDecay("loss", patience=1, alpha=0.5), model, "loss", [1.0, 2.0])
    model.train_on_batch(IMAGES[:2])  # Keras 2 shows the rate of the last step
    np.testing.assert_allclose(rates(model), 6.065307e-4, rtol=1e-5)


# Averaged weights -----------------------------------------------------------------------------------------------------


def inference_arrays(model):
    """What inference uses, batch norm's moments included, by name."""
    return {name: array for name, array in network_arrays(model).items() if not name.startswith("discriminator")}


class Record(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps, self.validation = [], None

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(network_arrays(self.model))

    def on_test_batch_end(self, batch, logs=None):
        self.validation = network_arrays(self.model)


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_the_average_is_that_of_a_loop_and_validation_uses_it(decay):
    """decay_t = min(decay, (1 + t) / (10 + t)): 2/11, 3/12, 4/13 in the first three steps unless `decay` is less."""
    model = tiny(0.05, 0.05, 0.05, second_encoder=False, objective=Loss(encoder=0.0))
    start = network_arrays(model)
    average, record = WeightAverage(model, decay), Record()
    model.fit(IMAGES, batch_size=2, verbose=0, validation_data=(IMAGES[:2], None), callbacks=[average, record])
    expected = {name: array.astype(np.float64) for name, array in start.items()}
    for step, weights in enumerate(record.steps):
        d = min(decay, [2 / 11, 3 / 12, 4 / 13][step])
        expected = {name: d * mean + (1 - d) * weights[name] for name, mean in expected.items()}
    averaged = inference_arrays(model)
    assert any("moving" in w.name for w in average.weights)  # batch norm's moments
    for name in averaged:
        np.testing.assert_allclose(record.validation[name], expected[name], atol=1e-5, err_msg=name)
    after = network_arrays(model)
    assert all(np.array_equal(after[name], record.steps[-1][name]) for name in after)  # training goes on from its own
    judged = [name for name in after if name.startswith("discriminator")]
    assert judged and all(np.array_equal(record.validation[name], after[name]) for name in judged)


def test_the_best_weights_are_the_averaged_ones(tmp_path):
    model = tiny(1e-3)
    average = WeightAverage(model, 0.9)
    for mean in average.average:
        mean.assign(0.25 * tf.ones_like(mean))
    before = network_arrays(model)
    best = Best(str(tmp_path / "weights.npz"), "loss", average=average)
    best.set_model(model)
    best.on_epoch_end(0, {"loss": 1.0})
    arrays, state = read_arrays(str(tmp_path / "weights.npz"))
    # The second encoder is not needed to detect and has no average.
    hat = len(model.generator.encoder_hat.weights)
    quarter = [np.all(array == 0.25) for name, array in arrays.items() if not name.startswith("discriminator")]
    assert sum(quarter) == len(quarter) - hat == len(average.average)
    assert state == {"epoch": 1, "monitor": "loss", "value": 1.0}
    assert all(np.array_equal(array, before[name]) for name, array in network_arrays(model).items())


# The best epoch -------------------------------------------------------------------------------------------------------


def best_of(tmp_path, monitor, values, patience=0):
    model = tiny(1e-3)
    model.stop_training = False
    best = Best(str(tmp_path / "weights.npz"), monitor, patience)
    best.set_model(model)
    for epoch, value in enumerate(values):
        best.on_epoch_end(epoch, {monitor: value})
        if model.stop_training:
            break
    return best, epoch + 1


@pytest.mark.parametrize("monitor,values,epoch", [
    ("val_segmentation", [3.0, 1.0, 2.0], 2), ("val_pixel_ap", [0.3, 0.1, 0.2], 1),
    ("val_image_auroc", [0.1, 0.3, 0.2], 2),
    ("loss", [2.0, 1.0, 1.0], 2), ("val_pixel_ap", [0.5, 0.7, 0.7], 2),  # of equals the first
    ("loss", [math.nan, 2.0, 3.0], 2), ("loss", [2.0, math.nan, 1.0], 3), ("val_pixel_ap", [math.nan, 0.1, 0.05], 2),
    ("val_pixel_ap", [0.2, math.inf, 0.3], 3), ("loss", [math.inf, 5.0], 2), ("loss", [-math.inf, 5.0], 2)])
def test_the_best_epoch(tmp_path, monitor, values, epoch):
    best, _ = best_of(tmp_path, monitor, values)
    assert best.epoch == epoch and best.value == values[epoch - 1]
    assert read_arrays(str(tmp_path / "weights.npz"))[1] == {"epoch": epoch, "monitor": monitor, "value": best.value}


def test_nothing_is_written_while_every_figure_is_broken(tmp_path, caplog):
    best, _ = best_of(tmp_path, "loss", [math.nan, math.inf])
    assert "epoch 1: loss is nan; it cannot be the best" in caplog.text and "epoch 2: loss is inf" in caplog.text
    assert best.value is None and best.epoch == 0 and not (tmp_path / "weights.npz").exists()


@pytest.mark.parametrize("patience,ended", [(0, 6), (1, 2), (2, 5)])
def test_early_stopping_counts_epochs_without_a_better_one(tmp_path, patience, ended):
    assert best_of(tmp_path, "loss", [1.0, 1.1, 0.9, 0.95, 0.9, 0.8], patience)[1] == ended


# What the configuration reaches ---------------------------------------------------------------------------------------

SETTINGS = ["data.image_size=[16, 16]", "data.channels=3", "network.widths=[4, 8]", "network.stem=0",
            "network.blocks=1", "network.discriminator_widths=[4, 8]", "network.segmenter_widths=[4, 8]",
            "network.latent=4",
            "noise.scales=[0, 2]", "validation.scales=[0, 2]", "train.batch_size=2"]


def configured(*more):
    return configuration.load_config(None, [*SETTINGS, *more])


def test_beta_1_clipping_and_the_rate_reach_the_optimizers():
    config = configured("train.beta_1=0.55", "train.clip_norm=0.75", "train.learning_rate=0.003")
    model = building.build_model(config)
    assert building.compile_model(model, config, SimpleNamespace(train=list(range(7)))) == 3  # steps of 2 out of 7
    assert [optimizer.beta_1 for optimizer in model.optimizers().values()] == [0.55] * 3
    np.testing.assert_allclose(rates(model), 0.003, rtol=1e-6)
    assert model.clip_norm == 0.75 and len(model.optimizers()) == 3


def test_the_cosine_with_its_warm_up():
    """4 epochs of 5 steps: to the rate in 4 steps, half way down at the middle of the other 16, at last the floor."""
    config = configured("train.schedule=cosine", "train.epochs=4", "train.steps_per_epoch=5", "train.warmup_steps=4",
                        "train.learning_rate=0.01", "train.min_learning_rate=0.001")
    model = building.build_model(config)
    building.compile_model(model, config, SimpleNamespace(train=list(range(10))))
    for optimizer in model.optimizers().values():
        schedule = optimizer._learning_rate
        found = [float(schedule(step)) for step in (0, 2, 4, 12, 20)]
        np.testing.assert_allclose(found, [0.0, 0.005, 0.01, 0.0055, 0.001], atol=1e-7)


@pytest.mark.parametrize("noise,validation,disturbed", [(0, 1, True), (1, 0, False)])
def test_the_validation_shows_the_validations_defects(tmp_path, noise, validation, disturbed):
    (tmp_path / "train" / "good").mkdir(parents=True)
    for i, image in enumerate(np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)):
        cv2.imwrite(str(tmp_path / "train" / "good" / f"{i}.png"), image)
    config = configured(f"data.root={tmp_path}", "data.held_out=0.25", "validation.views=8", "validation.min_area=1",
                        f"noise.probability={noise}", f"validation.probability={validation}")
    data = prepare.training_data(config)
    model = building.build_model(config)
    building.compile_model(model, config, data)
    masks = np.concatenate([batch["mask"] for batch in building.held_out_set(model, config, data)])
    assert len(masks) == 8 and np.any(masks) == disturbed


# Runs of before -------------------------------------------------------------------------------------------------------


def test_a_run_from_before_the_discriminators_blocks_had_an_option_has_one(tmp_path):
    run_folder.create_run(str(tmp_path / "run"), configured("network.blocks=2"))
    path = tmp_path / "run" / run_folder.CONFIG
    assert run_folder.read_config(str(tmp_path / "run")).network.discriminator_blocks is None
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "discriminator_blocks" not in line))
    config = run_folder.read_config(str(tmp_path / "run"))
    assert config.network.discriminator_blocks == 1 and config.network.blocks == 2
    model = building.build_model(config)
    assert [len(stage.blocks) for stage in model.discriminator.stages] == [1, 1]
    assert configuration.load_config(str(path), prepare.measured(config)) == config  # what --resume compares
