"""Runs within the test's own process, see helpers/quick_runs.py."""
import pytest
import tensorflow as tf
import yaml
from quick_runs import FREE, SETTINGS

from benchmarks import faults
from grdnet_tf.cli import train


@pytest.fixture
def data(tmp_path):
    """15 pictures, of which 12 are trained on: three batches of 4 a pass."""
    return faults.draw(str(tmp_path / "data"))


@pytest.fixture(scope="session")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "quick.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return str(path)


@pytest.fixture
def eager():
    """Steps without a graph: half of a short run is the tracing of it. What a graph does is tested in tests/model."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def start(eager, data, config_file, tmp_path):
    """Function of more flags: train into tmp_path/run, the exit status."""
    given = ["--data", data, "--config", config_file, "--run", str(tmp_path / "run"), "--no-jit", *FREE]
    return lambda *more: train.main([*given, *more])


@pytest.fixture
def resume(eager, tmp_path):
    return lambda *more: train.main(["--run", str(tmp_path / "run"), "--resume", *more])
