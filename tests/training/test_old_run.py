"""A run folder from before the package had folders: tests/training/old_run, two epochs of a tiny network on small_demo."""
import csv
import json
import shutil
from pathlib import Path

import pytest

from grdnet_tf.cli import evaluate
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
