"""Short runs within the test's own process: two networks of three, no augmentation, three steps an epoch."""
import csv
import os

from benchmarks import faults
from grdnet_tf.config import load_config
from grdnet_tf.storage import read_arrays
from grdnet_tf.training import prepare, run_folder

SETTINGS = {**faults.SETTINGS, "loss": {"adversarial": 0, "encoder": 0},
            "data": {**faults.SETTINGS["data"], "rotation": 0, "flip_horizontal": False, "flip_vertical": False},
            "noise": {**faults.SETTINGS["noise"], "rotation": 0}}
# Within a test's process nothing may be deterministic: there is no way back from it for the tests that follow.
FREE = ["--set", "train.deterministic=false", "--set", "train.image_every=0", "--set", "train.steps_per_epoch=3"]


def prepared(config_file, data, *more):
    """(configuration, data) of a run of two epochs that reads its files in every pass."""
    config = load_config(config_file, [f"data.root={data}", "data.channels='3'", "data.cache=none", "train.epochs=2",
                                       "train.deterministic=false", "train.image_every=0", "train.steps_per_epoch=3",
                                       *more])
    return config, prepare.training_data(config)


def untrained():
    """The configuration of the tiny networks, all three."""
    network = [f"network.{key}={value}" for key, value in faults.SETTINGS["network"].items()]
    return load_config(overrides=["data.image_size=[16,16]", "data.channels='3'", *network])


def rows(run):
    with open(os.path.join(str(run), "metrics.csv"), newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def rates(run):
    return [float(row["learning_rate_generator"]) for row in rows(run)]


def newest(run):
    """(arrays, state) of the newest checkpoint."""
    folder = os.path.join(str(run), run_folder.CHECKPOINTS)
    return read_arrays(os.path.join(folder, sorted(os.listdir(folder))[-1]))
