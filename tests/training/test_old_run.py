"""Runs of older versions: tests/training/old_run, from before the package had folders, two epochs of a tiny network on
small_demo; and checkpoints without what came later."""
import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from quick_runs import rates

from grdnet_tf.cli import evaluate
from grdnet_tf.compat import KERAS_3
from grdnet_tf.storage import read_arrays, write_arrays
from grdnet_tf.training.run_folder import read_config

OLD = Path(__file__).parent / "old_run"


def test_an_old_run_is_judged_as_it_was(small_demo, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(OLD, run)
    assert evaluate.main(["--run", str(run), "--data", small_demo, "--pictures", "0"]) == 0
    with open(run / "evaluation" / "predictions.csv", newline="", encoding="utf-8") as stream:
        found = {"/".join(Path(row["path"]).parts[-2:]): float(row["score"]) for row in csv.DictReader(stream)}
    expected = json.loads((OLD / "scores.json").read_text())
    assert found.keys() == expected.keys()
    for name, (score, _) in expected.items():  # the second, inside the ROI, was of one resized by nearest neighbour
        assert found[name] == pytest.approx(score, abs=1e-4), name  # of other processors and stacks


def test_options_that_an_old_run_does_not_name_have_their_defaults():
    config = read_config(str(OLD))
    assert config.train.plateau_patience == 3 and config.network.segmenter_difference
    assert config.validation.contrast == 0.0  # came later


@pytest.mark.skipif(KERAS_3, reason="there older checkpoints have the rates among the optimizers' variables")
def test_a_checkpoint_of_an_older_version_gets_its_rates_from_the_log(start, resume, tmp_path, caplog):
    """A rate of 0 improves nothing but once: with patience 1 each later epoch lowers it, here from 1e-30."""
    keys = ("train.learning_rate=1e-30", "train.min_learning_rate=0", "train.plateau_alpha=1", "network.batch_norm=false",
            "train.monitor=val_image_auroc")  # which the order of a sum does not move
    assert start("--epochs", "3", *(word for key in keys for word in ("--set", key))) == 0
    run = tmp_path / "run"
    for name in os.listdir(run / "checkpoints"):
        arrays, state = read_arrays(str(run / "checkpoints" / name))
        write_arrays(str(run / "checkpoints" / name),
                     {key: a for key, a in arrays.items() if not key.endswith("/learning_rate")}, state)
    assert resume("--epochs", "4") == 0
    assert "older version" in caplog.text
    # Epoch 1 is the best; the ends of 2 and 3 lower the rate by e each, so epochs 3 and 4 run at e^-1 and e^-2 of it.
    np.testing.assert_allclose(rates(run), 1e-30 * np.exp([0, 0, -1, -2]), rtol=1e-5)
