"""Runs of PaDiM on the loose nails that tests draw, and their reports."""
import json
import os

import evaluate
from grdnet_tf.cli import train

SMALL = ["data.image_size=[64,64]", "train.batch_size=4", "features.varied=0", "validation.drawn=0", "data.held_out=0.25"]


def fit(data, run, *settings):
    return train.main(["--config", "padim_scattering", "--data", data, "--run", run, "--quiet", "--set", *SMALL, *settings])


def report(run, *words):
    assert evaluate.main(["--run", run, "--pictures", "0", "--quiet", *words]) == 0
    with open(os.path.join(run, "evaluation", "report.json"), encoding="utf-8") as stream:
        return json.load(stream)
