"""Runs that go to pieces: a NaN is never the best, and weights that are not finite are neither kept nor used."""
import re

import numpy as np
import pytest
from quick_runs import newest, untrained

from grdnet_tf.errors import InputError, TrainingStopped
from grdnet_tf.storage import read_arrays, write_arrays
from grdnet_tf.training import building, callbacks

pytestmark = pytest.mark.slow  # many small runs


def test_a_nan_is_never_the_best(tmp_path, caplog):
    assert not callbacks.better(float("nan"), None, "val_loss")
    assert callbacks.better(0.5, float("nan"), "val_loss") and callbacks.better(0.5, float("inf"), "val_image_auroc")
    best = callbacks.Best(str(tmp_path / "w.npz"), "val_loss", patience=2)
    best.set_model(building.build_model(untrained()))
    for epoch, value in enumerate((float("nan"), 0.75, float("inf"))):
        best.on_epoch_end(epoch, {"val_loss": value})
    assert best.value == 0.75 and best.epoch == 2 and best.wait == 1 and "val_loss is nan" in caplog.text
    assert read_arrays(str(tmp_path / "w.npz"))[1]["value"] == 0.75


def test_infinite_weights_stop_the_run_and_are_never_kept(start, tmp_path, capsys):
    assert start("--set", "train.learning_rate=1e20") == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"step \d+: .*not finite", message)
    run = tmp_path / "run"
    for file in [*(run / "checkpoints").iterdir(), *(run / "best").iterdir()]:
        assert all(np.all(np.isfinite(a)) for a in read_arrays(str(file))[0].values())


def test_weights_that_are_not_finite_are_named_where_they_are_read(start, resume, tmp_path, capsys, caplog):
    assert start("--epochs", "2") == 0
    run = tmp_path / "run"
    best = str(run / "best" / "weights.npz")
    arrays, state = read_arrays(best)
    arrays["segmenter/001"].flat[0] = np.inf
    write_arrays(best, arrays, state)
    with pytest.raises(InputError, match=r"best.weights.npz: the segmenter's weights are not finite"):
        building.load_run(str(run))

    path = str(run / "checkpoints" / "step-000000006.npz")
    arrays, state = read_arrays(path)
    arrays["generator/000"].flat[0] = np.nan
    write_arrays(path, arrays, state)
    assert resume() == 0
    assert "the generator's weights are not finite; going back to the checkpoint before" in caplog.text
    assert np.isfinite(newest(run)[0]["generator/000"]).all()


def test_the_guard_names_step_and_network():
    guard = callbacks.NonFiniteGuard(lambda step: [], first_step=7)
    guard.set_model(building.build_model(untrained()))
    guard.on_epoch_end(0)
    variable = guard.model.discriminator.trainable_variables[0]  # whose weights no validation would miss
    variable.assign(variable + np.inf)
    with pytest.raises(TrainingStopped, match="^step 7: the discriminator's weights are not finite$"):
        guard.on_epoch_end(0)
