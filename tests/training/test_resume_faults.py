"""What a run promises when it is interrupted, extended, or given pictures that break: nothing silent, nothing lost."""
import csv
import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

from benchmarks import faults
from grdnet_tf.cli import train
from grdnet_tf.compat import KERAS_3, keras
from grdnet_tf.config import load_config
from grdnet_tf.errors import InputError, TrainingStopped
from grdnet_tf.model import weights
from grdnet_tf.storage import read_arrays, write_arrays
from grdnet_tf.training import building, callbacks, fit, prepare, run_folder

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Within this process nothing may be deterministic: there is no way back from it for the tests that follow.
FREE = ["--set", "train.deterministic=false", "--set", "train.image_every=0", "--set", "train.steps_per_epoch=3"]


@pytest.fixture
def data(tmp_path):
    """15 pictures, of which 12 are trained on: three batches of 4 a pass."""
    return faults.draw(str(tmp_path / "data"))


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(faults.SETTINGS))
    return str(path)


@pytest.fixture
def start(data, config_file, tmp_path):
    """Function of more flags: train into tmp_path/run, the exit status."""
    return lambda *more: train.main(["--data", data, "--config", config_file, "--run", str(tmp_path / "run"), "--no-jit",
                                     *FREE, *more])


@pytest.fixture
def resume(tmp_path):
    return lambda *more: train.main(["--run", str(tmp_path / "run"), "--resume", *more])


def rows(run):
    with open(os.path.join(str(run), "metrics.csv"), newline="") as stream:
        return list(csv.DictReader(stream))


def rates(run):
    return [float(row["learning_rate_generator"]) for row in rows(run)]


def newest(run):
    """(arrays, state) of the newest checkpoint."""
    folder = os.path.join(str(run), run_folder.CHECKPOINTS)
    return read_arrays(os.path.join(folder, sorted(os.listdir(folder))[-1]))


# What a checkpoint holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_step_after_a_checkpoint_is_the_step_without_it(data, config_file, precision, schedule):
    """Steps, rates lowered; a fresh model of another seed that is given what was saved takes the next step to the bit."""
    try:
        models = []
        for seed in (0, 1):
            config = load_config(config_file, [f"data.root={data}", f"train.seed={seed}", "train.deterministic=false",
                                               f"train.precision={precision}", f"train.schedule={schedule}"])
            found = prepare.training_data(config)
            config = load_config(config_file, [f"data.root={data}", "data.channels='3'", "train.deterministic=false",
                                               f"train.precision={precision}", f"train.schedule={schedule}"])
            building.set_up(config)
            keras.utils.set_random_seed(seed)
            model = building.build_model(config)
            building.compile_model(model, config, found)
            models.append(model)
        batches = iter(building.training_stream(models[0], config, found).batches())
        for _ in range(2):
            models[0].train_step(next(batches))
        if schedule == "plateau":
            models[0].set_learning_rates(lambda rate: 0.25 * rate)
        saved = weights.training_arrays(models[0])
        assert weights.restore_training(models[1], saved, "here") == []
        batch = next(batches)
        for model in models:
            model.train_step(batch)
        one, other = (weights.training_arrays(model) for model in models)
        assert sorted(one) == sorted(other) == sorted(saved)
        state = [name for name in one if not name.startswith("metric/")]  # the sums are of what each has seen
        assert [name for name in state if not np.array_equal(one[name], other[name])] == []
        moved = [name for name in one if name.startswith("segmenter/") and not np.array_equal(one[name], saved[name])]
        assert moved  # it was a step at all
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.slow
def test_the_plateau_goes_on_at_the_rate_that_it_had_reached(tmp_path):
    """Four epochs at once, and two by two: in one process, deterministic, so that all must be the same bits."""
    data = faults.draw(str(tmp_path / "data"))
    settings = faults.all_settings(**{"train.plateau_alpha": 1.0, "train.image_every": 0, "train.learning_rate": 0.05})
    given = ["--data", data, "--no-jit", *faults.flags(settings)]
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    calls = [[*given, "--run", whole, "--epochs", "5"], [*given, "--run", parts, "--epochs", "2"],
             ["--run", parts, "--resume", "--epochs", "5"]]
    code = f"from grdnet_tf.cli import train\nfor argv in {calls!r}: assert train.main(argv) == 0"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert faults.result(parts) == faults.result(whole)
    assert rates(whole)[2] < rates(whole)[0] == pytest.approx(0.05)  # eq. 7 had acted before the run was taken up


@pytest.mark.skipif(KERAS_3, reason="there older checkpoints have the rates among the optimizers' variables")
def test_a_checkpoint_of_an_older_version_gets_its_rates_from_the_log(start, resume, tmp_path, caplog):
    """A rate of 0 improves nothing but once: with patience 1 each later epoch lowers it, here from 1e-30."""
    flags = ["--set", "train.learning_rate=1e-30", "--set", "train.min_learning_rate=0", "--set", "train.plateau_alpha=1",
             "--set", "network.batch_norm=false"]
    assert start("--epochs", "3", *flags) == 0
    run = tmp_path / "run"
    for name in os.listdir(run / "checkpoints"):
        arrays, state = read_arrays(str(run / "checkpoints" / name))
        write_arrays(str(run / "checkpoints" / name),
                     {key: a for key, a in arrays.items() if not key.endswith("/learning_rate")}, state)
    assert resume("--epochs", "4") == 0
    assert "older version" in caplog.text
    # Epoch 1 is the best; the ends of 2 and 3 lower the rate by e each, so epochs 3 and 4 run at e^-1 and e^-2 of it.
    np.testing.assert_allclose(rates(run), 1e-30 * np.exp([0, 0, -1, -2]), rtol=1e-5)


def test_every_older_figure_may_be_missing_but_no_weight(start, resume, tmp_path, capsys):
    assert start("--epochs", "1", "--set", "train.checkpoint_steps=2") == 0
    run = tmp_path / "run"
    os.remove(run / "checkpoints" / "step-000000003.npz")
    path = str(run / "checkpoints" / "step-000000002.npz")
    arrays, state = read_arrays(path)
    write_arrays(path, {key: a for key, a in arrays.items() if not key.startswith("metric/ssim")}, state)
    assert resume() == 0 and len(rows(run)) == 1
    os.remove(run / "checkpoints" / "step-000000003.npz")
    write_arrays(path, {key: a for key, a in arrays.items() if key != "segmenter/000"}, state)
    assert resume() == 2 and "segmenter/000 is missing" in capsys.readouterr().err


# Going on -------------------------------------------------------------------------------------------------------------

STILL = ["--set", "train.learning_rate=0", "--set", "train.min_learning_rate=0", "--set", "network.batch_norm=false"]


def test_a_run_stopped_early_goes_on_with_more_patience_or_epochs(start, resume, tmp_path, caplog):
    """At a rate of 0 the first epoch stays the best: patience p stops after 1 + p epochs."""
    run = tmp_path / "run"
    assert start("--epochs", "9", "--set", "train.early_stopping=1", *STILL) == 0 and len(rows(run)) == 2
    assert resume() == 0 and len(rows(run)) == 2
    assert resume("--set", "train.early_stopping=3") == 0 and len(rows(run)) == 4
    assert "stopped early, after epoch 2: going on" in caplog.text
    assert resume() == 0 and len(rows(run)) == 4  # the patience of 3 is the run's own now
    assert resume("--epochs", "10") == 0 and len(rows(run)) == 7  # more epochs: three more chances
    assert resume("--set", "train.early_stopping=0") == 0 and len(rows(run)) == 10
    assert run_folder.read_config(str(run)).train.epochs == 10


def test_the_cosine_stays_at_its_end(start, resume, tmp_path, capsys):
    run, low = tmp_path / "run", 1e-4
    cosine = ["--set", "train.schedule=cosine", "--set", f"train.min_learning_rate={low}"]
    assert start("--epochs", "2", *cosine) == 0
    assert resume("--epochs", "3") == 0
    assert "the cosine schedule ends at epoch 2" in capsys.readouterr().err
    assert resume("--epochs", "4") == 0
    found = rates(run)
    assert found[0] > 10 * low
    np.testing.assert_allclose(found[1:], low, rtol=1e-4)
    assert run_folder.read_config(str(run)).train.cosine_epochs == 2


def test_what_changed_at_a_resume_is_the_runs_own(start, resume, tmp_path):
    """An extension that is cut off is taken up as the extension; summary.json tells of finished runs only."""
    run = tmp_path / "run"
    assert start("--epochs", "1") == 0
    moved = str(tmp_path / "moved")
    shutil.move(str(tmp_path / "data"), moved)
    assert resume("--epochs", "2", "--data", moved) == 0
    config = run_folder.read_config(str(run))
    assert config.train.epochs == 2 and config.data.root == moved
    assert resume() == 0 and len(rows(run)) == 2 and json.loads((run / "summary.json").read_text())["epochs"] == 2


def test_a_run_without_a_checkpoint_begins_at_its_beginning(start, resume, data, config_file, tmp_path, capsys, caplog):
    run = tmp_path / "run"
    config = load_config(config_file, [f"data.root={data}", "data.channels='3'", "train.deterministic=false",
                                       "train.epochs=1", "train.steps_per_epoch=3"])
    run_folder.create_run(str(run), config)
    assert start() == 2 and "--resume goes on with it, from its beginning" in capsys.readouterr().err
    assert resume() == 0 and "beginning at step 0" in caplog.text and len(rows(run)) == 1


def test_a_folder_in_which_no_run_began_is_used(start, tmp_path):
    """What a full disk or a kill leaves of a run that was being made."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "best").mkdir()
    for name in ("lock", "environment.json", "data.json", ".grdnet-0-1-2.tmp"):
        (run / name).write_text("{")
    assert start("--epochs", "1") == 0 and (run / "summary.json").exists()


def test_a_folder_of_something_else_is_left_alone(start, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "step-000000003.npz").touch()
    assert start("--epochs", "1") == 2 and "not an empty folder" in capsys.readouterr().err
    assert os.listdir(run) == ["checkpoints"]


def test_half_a_configuration_is_not_completed_by_defaults(start, resume, tmp_path, capsys):
    assert start("--epochs", "1") == 0
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text()[:300])
    assert resume() == 2 and re.search(r"config.yaml: damaged: there is no section \w+\n", capsys.readouterr().err)


def test_two_processes_do_not_train_one_run(start, resume, tmp_path, capsys):
    assert start("--epochs", "1") == 0
    held = ("import sys\nfrom grdnet_tf.training import run_folder\n"
            "with run_folder.locked(sys.argv[1]): print('held', flush=True); sys.stdin.read()")
    other = subprocess.Popen([sys.executable, "-c", held, str(tmp_path / "run")], cwd=ROOT, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == "held\n"
    assert resume("--epochs", "2") == 2
    assert f"held by process {other.pid}" in capsys.readouterr().err
    other.kill()  # a lock that a dead process left would be a dead end
    other.communicate()
    assert resume("--epochs", "2") == 0


# Runs that go to pieces -----------------------------------------------------------------------------------------------


def test_a_nan_is_never_the_best(tmp_path, caplog):
    assert not callbacks.better(float("nan"), None, "val_loss")
    assert callbacks.better(0.5, float("nan"), "val_loss") and callbacks.better(0.5, float("inf"), "val_image_auroc")
    best = callbacks.Best(str(tmp_path / "w.npz"), "val_loss", patience=2)
    best.model = building.build_model(load_config(overrides=["data.image_size=[16,16]", "data.channels='3'", *(
        f"network.{key}={value}" for key, value in faults.SETTINGS["network"].items())]))
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
    config = load_config(overrides=["data.image_size=[16,16]", "data.channels='3'", *(
        f"network.{key}={value}" for key, value in faults.SETTINGS["network"].items())])
    guard = callbacks.NonFiniteGuard(lambda step: [], first_step=7)
    guard.model = building.build_model(config)
    guard.on_epoch_end(0)
    variable = guard.model.discriminator.trainable_variables[0]
    variable.assign(variable + np.inf)
    with pytest.raises(TrainingStopped, match="^step 7: the discriminator's weights are not finite$"):
        guard.on_epoch_end(0)


# Pictures that break --------------------------------------------------------------------------------------------------


def prepared(config_file, data, *more):
    """(configuration, data) of a run that reads its files in every pass."""
    config = load_config(config_file, [f"data.root={data}", "data.channels='3'", "data.cache=none", "train.epochs=2",
                                       "train.deterministic=false", "train.image_every=0", "train.steps_per_epoch=3",
                                       *more])
    return config, prepare.training_data(config)


def test_a_picture_that_vanishes_is_named_and_the_last_step_kept(data, config_file, resume, start, tmp_path):
    """One of the third batch, so that two steps are whole when it is missed."""
    config, found = prepared(config_file, data)
    stream = building.training_stream(building.build_model(config), config, found)
    lost = stream.files(2)[0]
    aside = str(tmp_path / "aside.png")
    shutil.move(lost, aside)
    run = str(tmp_path / "run")
    with pytest.raises(InputError, match=re.escape(os.path.basename(lost)) + ".*after step 2: .*--resume"):
        fit.run(config, found, run, False)
    arrays, state = newest(run)
    assert (state["epoch"], state["step"]) == (0, 2)
    assert arrays["optimizer/generator/000"] == 2  # the optimizers' counters, too
    assert resume() == 2  # the picture is still away
    shutil.move(aside, lost)
    assert resume() == 0
    whole = str(tmp_path / "whole")
    assert fit.run(config, found, whole, False) == 0
    one, other = newest(run)[0], newest(whole)[0]
    assert one["optimizer/segmenter/000"] == other["optimizer/segmenter/000"] == 6
    np.testing.assert_allclose(one["segmenter/000"], other["segmenter/000"], atol=1e-6)


def test_a_held_out_picture_that_breaks_loses_no_step(data, config_file, resume, tmp_path):
    config, found = prepared(config_file, data, "train.ema=0.9")
    lost = found.held_out[1].image
    contents = open(lost, "rb").read()
    with open(lost, "wb") as stream:
        stream.write(contents[:len(contents) // 2])
    run = str(tmp_path / "run")
    with pytest.raises(InputError, match=re.escape(os.path.basename(lost)) + ".*after step 3: "):
        fit.run(config, found, run, False)
    assert newest(run)[1]["step"] == 3  # before the validation
    with open(lost, "wb") as stream:
        stream.write(contents)
    assert resume() == 0
    whole = str(tmp_path / "whole")
    assert fit.run(config, found, whole, False) == 0
    ours, theirs = rows(run), rows(whole)
    assert list(ours[0]) == list(theirs[0]) and len(ours) == 2
    for name in theirs[0]:
        if name != "minutes":
            assert float(ours[0][name]) == pytest.approx(float(theirs[0][name]), rel=1e-4), name


def test_a_picture_changed_in_place_is_noticed(start, resume, data, tmp_path, capsys):
    """A BMP, of which another drawing has the same size."""
    path = os.path.join(data, "train", "good", "99.bmp")
    cv2.imwrite(path, np.full((20, 20, 3), 100, np.uint8))
    assert start("--epochs", "1") == 0
    size = os.path.getsize(path)
    cv2.imwrite(path, np.full((20, 20, 3), 101, np.uint8))
    assert os.path.getsize(path) == size
    assert resume("--epochs", "2") == 2
    assert "99.bmp: the picture is not the one that the run began with" in capsys.readouterr().err
