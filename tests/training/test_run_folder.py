"""The run folder explains itself, repeats its run, and is never overwritten."""
import json
import os

import pytest
from tiny_training import arguments, complete, rows, summary

import train


def test_the_run_folder_explains_itself(finished):
    assert {"config.yaml", "environment.json", "metrics.csv", "tensorboard", "checkpoints", "best",
            "summary.json"} <= set(os.listdir(finished))
    assert len(rows(finished)) == 3 and {"l1", "ssim", "adversarial", "encoder", "discriminator", "segmentation",
                                         "val_segmentation", "learning_rate_generator"} <= set(rows(finished)[0])
    figures = summary(finished)
    assert figures["skipped"] == [] and len(figures["weights_sha256"]) == 64 and figures["peak_rss_mb"] > 50
    assert figures["train_images"] == 12 and figures["held_out_images"] == 3
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["packages"]["tensorflow"] and environment["python"]
    assert sorted(os.listdir(finished / "checkpoints")) == ["step-000000014.npz", "step-000000015.npz"]
    assert not [name for _, _, names in os.walk(finished) for name in names if name.endswith(".tmp")]


@pytest.mark.slow
def test_the_stored_configuration_repeats_the_run_with_other_parallelism(finished, tmp_path):
    run = tmp_path / "again"
    complete("--config", str(finished / "config.yaml"), "--run", str(run), "--set", "data.parallel_calls=1",
             "--set", "data.cache=none")
    assert summary(run)["weights_sha256"] == summary(finished)["weights_sha256"]
    assert rows(run) == rows(finished)


def test_a_run_is_never_overwritten(finished, discs, tiny_config, capsys):
    before = sorted((p, p.stat().st_mtime_ns) for p in finished.rglob("*"))
    assert train.main(arguments(discs, finished, tiny_config)) == 2
    assert "--resume" in capsys.readouterr().err
    assert sorted((p, p.stat().st_mtime_ns) for p in finished.rglob("*")) == before
