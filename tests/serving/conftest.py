"""One small SavedModel, loaded as TensorFlow Serving loads it."""
import numpy as np
import pytest
from small_served import SIZE, random_model

from grdnet_tf.serving import folding, selftest, signatures


@pytest.fixture(scope="session")
def model():
    return random_model()


@pytest.fixture(scope="session")
def pictures():
    """4 x (H, W, 3) uint8; their ROIs (H, W, 1), each another part."""
    shown, roi = selftest.test_pictures(*SIZE, 3, rows=4)
    return shown, roi


@pytest.fixture(scope="session")
def thresholds(model, pictures):
    """Between the pictures' scores, so that some are accepted and some rejected, with and without their ROIs."""
    images = pictures[0] / np.float32(255)
    plain, inside = np.sort(model(images).score), np.sort(model(images, roi=pictures[1]).score)
    return {"image": {"value": float(plain[1:3].mean())}, "image_roi": {"value": float(inside[1:3].mean())}}


@pytest.fixture(scope="session")
def folder(model, thresholds, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("saved") / "model")
    signatures.write_saved_model(path, folding.inference_half(model), thresholds, batch_sizes=(1, 4), max_pixels=10_000)
    return path


@pytest.fixture(scope="session")
def served(folder):
    with selftest.Session(folder) as session:
        yield session
