"""What a run promises when it is interrupted or extended: nothing silent, no way without an exit."""
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from quick_runs import prepared, rates, rows

from benchmarks import faults
from grdnet_tf.compat import keras
from grdnet_tf.config import load_config
from grdnet_tf.model import weights
from grdnet_tf.storage import read_arrays, write_arrays
from grdnet_tf.training import building, run_folder

pytestmark = pytest.mark.slow  # many small runs

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# What a checkpoint holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_a_step_after_a_checkpoint_is_the_step_without_it(data, config_file, precision):
    """Rates lowered after two steps; a model of another seed, given what was saved, takes the third to the bit."""
    config, found = prepared(config_file, data, f"train.precision={precision}")
    try:
        models = []
        for seed in (0, 1):
            building.set_up(config)
            keras.utils.set_random_seed(seed)
            models.append(building.build_model(config))
            building.compile_model(models[-1], config, found)
        batches = iter(building.training_stream(models[0], config, found).batches())
        for _ in range(2):
            models[0].train_step(next(batches))
        models[0].set_learning_rates(lambda rate: 0.25 * rate)
        saved = weights.training_arrays(models[0])
        assert weights.restore_training(models[1], saved, "here") == []
        batch = next(batches)
        for model in models:
            model.train_step(batch)
        one, other = ({name: array for name, array in weights.training_arrays(model).items() if "metric/" not in name}
                      for model in models)
        assert [name for name in one if not np.array_equal(one[name], other[name])] == []
        assert not np.array_equal(one["segmenter/000"], saved["segmenter/000"])  # it was a step at all
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.slow
def test_the_plateau_goes_on_at_the_rate_that_it_had_reached(tmp_path):
    """Six epochs at once, and five and one: in one process, deterministic, so that all must be the same bits."""
    data = faults.draw(str(tmp_path / "data"))
    settings = faults.all_settings(**{"train.plateau_alpha": 1.0, "train.image_every": 0, "train.learning_rate": 0.05,
                                        "train.monitor": "val_image_auroc"})  # of a few views: it stands still soon
    given = ["--data", data, "--no-jit", *faults.flags(settings)]
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    calls = [[*given, "--run", whole, "--epochs", "6"], [*given, "--run", parts, "--epochs", "5"],
             ["--run", parts, "--resume", "--epochs", "6"]]
    code = f"from grdnet_tf.cli import train\nfor argv in {calls!r}: assert train.main(argv) == 0"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert faults.differences(faults.result(parts), faults.result(whole)) == []
    assert rates(whole)[5] < rates(whole)[0] == pytest.approx(0.05)  # eq. 7 had acted before the run was taken up


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
    assert 0.999 * low < found[1] < 10 * low  # of the last step before the end (Keras 2) or of the next (Keras 3)
    np.testing.assert_allclose(found[2:], low, rtol=1e-4)
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
