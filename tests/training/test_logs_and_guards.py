"""What the callbacks count and name: the step that went to pieces, minutes, epochs, whose weights are kept."""
import csv
import math

import numpy as np
import pytest
import tensorflow as tf
from tiny_keras import tiny

from grdnet_tf.errors import TrainingStopped
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.storage import read_arrays
from grdnet_tf.training import callbacks


@pytest.fixture
def model():
    model = tiny()
    model.compile(*[tf.keras.optimizers.Adam(rate) for rate in (1e-3, 2e-3, 4e-3)], run_eagerly=True)
    return model


def told(callback, model):
    callback.set_model(model)
    callback.set_params({"epochs": 9})
    return callback


def test_the_step_term_and_files_that_went_to_pieces_are_named(model):
    guard = told(callbacks.NonFiniteGuard(lambda step: [f"good/{step}.png", f"good/{step}b.png"], first_step=5), model)
    for batch in range(2):
        guard.on_train_batch_end(batch, {"loss": 1.0, "l1": np.float32([2.0])})
    with pytest.raises(TrainingStopped) as stopped:
        guard.on_train_batch_end(2, {"l1": np.float32([math.nan]), "loss": 1.0, "ssim": -math.inf})
    assert str(stopped.value) == "step 7: l1, ssim is not finite; files of the batch: 7.png, 7b.png"
    guard.on_epoch_end(0)
    model.segmenter.trainable_variables[0].assign(math.inf * tf.ones_like(model.segmenter.trainable_variables[0]))
    with pytest.raises(TrainingStopped, match="step 7: .*segmenter.* not finite"):
        guard.on_epoch_end(0)


def test_a_row_an_epoch_with_the_rate_of_each_network_and_the_minutes(model, tmp_path):
    log = told(callbacks.RunLog(str(tmp_path)), model)
    log.restore({"rows": [{"epoch": 1, "loss": 9.0, "minutes": 2.0}], "minutes": 2.0})
    log.started -= 90.0
    log.on_epoch_end(1, {"loss": np.float32([0.5])})
    assert log.minutes() == pytest.approx(3.5, abs=0.2) and log.state()["rows"] == log.rows
    with open(tmp_path / "metrics.csv", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert first == {"epoch": "1", "loss": "9.0", "minutes": "2.0"}  # the columns are those that the run began with
    assert (second["epoch"], second["loss"]) == ("2", "0.5") and float(second["minutes"]) == pytest.approx(3.5, abs=0.2)
    rates = [log.rows[1][f"learning_rate_{name}"] for name in ("generator", "discriminator", "segmenter")]
    np.testing.assert_allclose(rates, [1e-3, 2e-3, 4e-3], rtol=1e-6)


def events(folder):
    return [(value.tag, event.step) for file in sorted((folder / "tensorboard").iterdir())
            for record in tf.data.TFRecordDataset(str(file))
            for event in [tf.compat.v1.Event.FromString(record.numpy())] for value in event.summary.value]


def test_scalars_stand_at_the_epochs_counted_from_one(model, tmp_path):
    log = told(callbacks.RunLog(str(tmp_path)), model)
    log.on_epoch_end(0, {"loss": 1.0})
    log.on_epoch_end(1, {"loss": 1.0})
    assert [step for tag, step in events(tmp_path) if tag == "loss"] == [1, 2]
    assert ("learning_rate_segmenter", 2) in events(tmp_path)


@pytest.fixture
def averaged(model):
    """The average of `model`, 0.25 everywhere."""
    average = callbacks.WeightAverage(model, 0.9)
    for mean in average.average:
        mean.assign(0.25 * tf.ones_like(mean))
    return average


def quarters(arrays):
    return sum(np.all(array == 0.25) for array in arrays.values())


def test_the_epochs_that_were_asked_for_are_kept_as_validation_saw_them(model, averaged, tmp_path):
    keep = told(callbacks.KeepEpochs(lambda epoch: str(tmp_path / "epochs" / f"{epoch}.npz"), (2, 3), averaged), model)
    before = network_arrays(model)
    for epoch in range(4):
        keep.on_epoch_end(epoch)
    assert sorted(path.name for path in (tmp_path / "epochs").iterdir()) == ["2.npz", "3.npz"]
    arrays, state = read_arrays(str(tmp_path / "epochs" / "3.npz"))
    assert state == {"epoch": 3} and quarters(arrays) == len(averaged.average) > 0
    assert all(np.array_equal(array, before[name]) for name, array in network_arrays(model).items())


def test_strips_are_drawn_with_the_averaged_weights(model, averaged, tmp_path, monkeypatch):
    batch = dict(image=tf.fill((1, 16, 16, 3), 0.5), roi=tf.ones((1, 16, 16, 1)), seed=tf.constant([[1, 2]]))
    seen, before, draw = [], quarters(network_arrays(model)), callbacks.strips

    def watched(panels):
        seen.append(quarters(network_arrays(model)))
        return draw(panels)

    monkeypatch.setattr(callbacks, "strips", watched)
    logger = told(callbacks.ImageLogger(str(tmp_path), batch, 4, averaged), model)
    for epoch in range(9):
        logger.on_epoch_end(epoch)
    assert seen == [len(averaged.average)] * 4 and quarters(network_arrays(model)) == before == 0
    assert [step for tag, step in events(tmp_path) if tag.startswith("image | noisy")] == [1, 4, 8, 9]


@pytest.mark.parametrize("value, restored", [(math.inf, None), (math.nan, None), (0.5, 0.5), (None, None)])
def test_a_best_that_was_none_is_forgotten(tmp_path, value, restored):
    best = callbacks.Best(str(tmp_path / "w.npz"), "val_loss")
    best.restore({"value": value, "epoch": 3, "wait": 2})
    assert best.state() == {"value": restored, "epoch": 3, "wait": 2}


def test_a_monitor_that_is_no_figure_is_named_with_those_there_are():
    with pytest.raises(TrainingStopped, match="train.monitor = val_los: no such figure; there are l1, val_loss"):
        callbacks.monitored({"val_loss": 1.0, "l1": 2.0}, "val_los")
