"""A run and two exports of it."""
import os

import cv2
import numpy as np
import pytest
from loose_parts import fit
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


def nail(path, angle, spot=False):
    """An RGB file of 160 x 180 and, of `spot`, the mask of a light spot on its shank."""
    picture, mask = np.full((160, 180, 3), 220, np.uint8), np.zeros((160, 180), np.uint8)
    turn = cv2.getRotationMatrix2D((90, 80), angle, 1.0)
    cv2.rectangle(picture, (50, 68), (60, 92), (60, 70, 80), -1)
    cv2.rectangle(picture, (60, 76), (130, 84), (60, 70, 80), -1)
    if spot:
        cv2.circle(picture, (100, 80), 3, (200, 120, 120), -1)
        cv2.circle(mask, (100, 80), 3, 255, -1)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    cv2.imwrite(path, cv2.warpAffine(picture, turn, (180, 160), borderValue=(220, 220, 220)))
    return cv2.warpAffine(mask, turn, (180, 160), flags=cv2.INTER_NEAREST)


@pytest.fixture(scope="session")
def nails(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("nails"))
    for i in range(12):
        nail(f"{root}/train/good/{i:02}.png", 31 * i)
    for i in range(3):
        nail(f"{root}/test/good/{i}.png", 100 * i + 7)
        mask = nail(f"{root}/test/spot/{i}.png", 77 * i + 3, spot=True)
        os.makedirs(f"{root}/ground_truth/spot", exist_ok=True)
        cv2.imwrite(f"{root}/ground_truth/spot/{i}_mask.png", mask)
    return root


@pytest.fixture(scope="session")
def nails_run(nails, tmp_path_factory):
    """PaDiM of the nails, which turned them."""
    folder = str(tmp_path_factory.mktemp("runs") / "nails")
    assert fit(nails, folder) == 0
    return folder
