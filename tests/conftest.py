"""Settings and fixtures shared by all tests."""
import gc
import logging
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported: it reads this once

import grdnet_tf  # noqa: F401  it sets another of these: the tests' own process computes as the commands that they start

import cv2
import numpy as np
import pytest
import tensorflow as tf
import tiny_training
import yaml

# Two logical devices for the test with two replicas; TensorFlow takes this only before it is used.
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)

# Tracing makes objects that stay: to look them over as often as Python does by default is a tenth of the tests' time.
gc.set_threshold(50_000, 20, 50)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.abspath(os.path.join(ROOT, os.environ.get("GRDNET_DATA", os.path.join("..", "shared", "data"))))


@pytest.fixture(autouse=True)
def not_quiet():
    """A command that a test before called with --quiet has hushed the package for its process; each test starts anew."""
    logging.getLogger("grdnet_tf").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def real_data():
    """Function from a folder's name ("pill") to its path under $GRDNET_DATA; skips the test where it is absent."""
    def find(name: str) -> str:
        path = os.path.join(DATA, name)
        if not os.path.isdir(path):
            pytest.skip(f"real pictures: no folder {name} in GRDNET_DATA (default ../shared/data)")
        return path
    return find


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory):
    """Root of a small demo set: 12 train, 4 test good, 2 per defect type, 4 distractors, 64 x 64."""
    from grdnet_tf.demo.dataset import write_demo
    return write_demo(str(tmp_path_factory.mktemp("demo") / "vials"), seed=0, train=12, test_good=4, per_defect=2,
                      distractors=4, size=(64, 64))


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """A folder with only train/good: 15 small pictures of a disc on a gradient."""
    root = tmp_path_factory.mktemp("product")
    (root / "train" / "good").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(15):
        image = np.tile(np.linspace(40, 120, 20, dtype=np.float32)[:, None, None], (1, 20, 3))
        cv2.circle(image, tuple(int(v) for v in rng.integers(8, 12, 2)), 5, (200, 180, 160), -1)
        cv2.imwrite(str(root / "train" / "good" / f"{i:02d}.png"), image + rng.normal(0, 4, image.shape))
    return str(root)


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_training.SETTINGS))
    return str(path)


@pytest.fixture(scope="session")
def finished(discs, tiny_config, tmp_path_factory):
    """The run folder of an uninterrupted run; to be left as it is."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    tiny_training.complete(*tiny_training.arguments(discs, run, tiny_config))
    return run
