"""Training runs of seconds: their settings, train.py in a process of its own, and what it leaves in the run folder."""
import csv
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SETTINGS = {
    "data": {"image_size": [16, 16], "held_out": 0.2},
    "network": {"widths": [4, 8], "stem": 0, "blocks": 1, "latent": 4, "discriminator_widths": [4, 8],
                "segmenter_widths": [4, 8], "score_pool": 3},
    "noise": {"scales": [0, 3], "min_area": 2, "threshold": [0.0, 0.3]},
    "validation": {"views": 4, "scales": [0, 2], "min_area": 2},
    "train": {"epochs": 3, "steps_per_epoch": 5, "batch_size": 4, "learning_rate": 0.002, "ema": 0.9, "image_every": 2,
              "plateau_patience": 1, "deterministic": True, "checkpoint_steps": 2},
}
FREE = ["--set", "train.deterministic=false"]  # what a run within this process must have, see `start`


def arguments(data, run, config_file, *more):
    return ["--data", data, "--run", str(run), "--config", config_file, "--no-jit", *more]


def start(*argv, **variables):
    """train.py in a process of its own. What runs deterministically must: there is no way back from that in a process,
    and XLA then refuses the gradient of max pooling to all tests that follow."""
    environment = dict(os.environ, PYTHONPATH=ROOT, TF_CPP_MIN_LOG_LEVEL="3", **variables)
    return subprocess.Popen([sys.executable, os.path.join(ROOT, "train.py"), *argv], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def complete(*argv, code=0):
    """What such a process writes, once it has ended with `code`."""
    process = start(*argv)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


def wait_for_checkpoint(run, least_step, process):
    """Until a checkpoint of at least that step lies there."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        folder = run / "checkpoints"
        names = sorted(folder.glob("step-*.npz")) if folder.is_dir() else []
        if names and int(names[-1].stem.split("-")[1]) >= least_step:
            return
        time.sleep(0.002)
    raise AssertionError(f"no checkpoint of step {least_step} or later: {process.communicate()[0]}")


def summary(run):
    return json.loads((run / "summary.json").read_text())


def rows(run):
    """metrics.csv without the minutes, which no seed can repeat."""
    with open(run / "metrics.csv", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "minutes"} for row in csv.DictReader(stream)]


def events(run):
    """(tag, value) of everything in the run's TensorBoard files."""
    import tensorflow as tf

    return [(value.tag, value) for file in (run / "tensorboard").iterdir()
            for record in tf.data.TFRecordDataset(str(file))
            for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value]
