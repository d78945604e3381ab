"""A run and two exports of it."""
import os

import numpy as np
import pytest
from small_runs import make_run, randomise

import export
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.serving import publish, selftest
from grdnet_tf.storage import write_arrays
from grdnet_tf.training import building, run_folder


def make_trained(folder, data):
    """A run on pictures of another size than its own, with the weights of `randomise`."""
    run = make_run(folder, data, "data.image_size=[32, 48]")
    model = randomise(building.build_model(run_folder.read_config(run)))
    write_arrays(os.path.join(run, run_folder.BEST), network_arrays(model), {})
    return run


@pytest.fixture(scope="session")
def trained(small_demo, tmp_path_factory):
    return make_trained(tmp_path_factory.mktemp("run") / "tiny", small_demo)


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """DIR of two exports of one run, the first by a user whose files nobody else may read."""
    out = str(tmp_path_factory.mktemp("exports") / "all")
    usual = os.umask(0o077)
    try:
        assert export.main(["--run", trained, "--out", out, "--batch-sizes", "2"]) == 0
    finally:
        os.umask(usual)
    first = snapshot(os.path.join(out, "vials", "1"))
    with selftest.Session(os.path.join(out, "vials", "1")) as served:
        before = ask(served)
        assert export.main(["--run", trained, "--out", out, "--batch-sizes", "2"]) == 0
        assert ask(served) == before  # a version in use is not disturbed
    assert snapshot(os.path.join(out, "vials", "1")) == first
    return out


def ask(served):
    return served.run("score", images=np.full((1, 32, 48, 3), 0.5, np.float32))["score"].tolist()


def snapshot(folder):
    """{path: (bytes, time of change)} of a folder."""
    return {path: (open(os.path.join(folder, path), "rb").read(), os.stat(os.path.join(folder, path)).st_mtime_ns)
            for path in [*publish.files(folder), publish.MANIFEST]}
