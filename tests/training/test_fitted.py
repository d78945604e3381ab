"""What is fitted in one pass: which pictures it sees, and what it then takes for one of them."""
import os

import cv2
import numpy as np
import pytest

from grdnet_tf import config as configuration
from grdnet_tf.cli import train
from grdnet_tf.storage import read_arrays
from grdnet_tf.training import fitted, prepare


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(configuration without copies, data) of a PaDiM on wavelets; 16 smooth grey pictures that differ by their light."""
    root = tmp_path_factory.mktemp("smooth")
    (root / "train" / "good").mkdir(parents=True)
    y, x = np.mgrid[:64, :64]
    part = 90 + 60 * np.exp(-((x - 30) ** 2 + (y - 34) ** 2) / 300) + 0.3 * x
    for i in range(16):
        cv2.imwrite(str(root / "train" / "good" / f"{i:02d}.png"), np.round((0.97 + 0.004 * i) * part).astype(np.uint8))
    config = configuration.load_config("padim_scattering", [
        f"data.root={root}", "data.image_size=[64,64]", "data.held_out=0.25", "train.batch_size=4", "features.varied=0"])
    data = prepare.training_data(config)
    return configuration.replace(config, data__channels=str(data.channels)), data


def batches(scene, records, copies, **options):
    return fitted.Batches(records, configuration.replace(scene[0], **options), scene[1].channels, copies, scene[1].depth)


def test_copies_follow_in_the_same_regions_each_picture_by_its_own_seed(scene):
    records = scene[1].train
    plain, seen = (list(batches(scene, records, copies)) for copies in (0, 2))
    assert len(plain) == 3 and len(seen) == 9
    for i, batch in enumerate(plain):
        own, *copies = seen[i::3]
        np.testing.assert_array_equal(own["image"], batch["image"])
        for copy in copies:
            np.testing.assert_array_equal(copy["roi"], batch["roi"])
            changes = copy["image"].numpy() - batch["image"].numpy()
            assert 0 < np.abs(changes).mean(axis=(1, 2, 3)).min() and np.abs(changes).mean() < 0.1
            assert len({one.tobytes() for one in changes}) == len(changes)
        assert (copies[0]["image"].numpy() != copies[1]["image"].numpy()).any()
    again = list(batches(scene, records, 2, train__batch_size=5))  # whose batches change no picture
    joined, rejoined = (np.concatenate([batch["image"] for batch in some]) for some in (seen, again))
    np.testing.assert_array_equal(joined, rejoined)
    other = list(batches(scene, records, 2, train__seed=1))
    assert (other[3]["image"].numpy() != seen[3]["image"].numpy()).any()


def test_the_command_learns_the_copies_too(scene, tmp_path):
    config, data = scene
    folders = {}
    for copies in (0, 1):
        folders[copies] = str(tmp_path / str(copies))
        assert train.main(["--config", "padim_scattering", "--data", config.data.root, "--run", folders[copies], "--set",
                           "data.image_size=[64,64]", "--set", "data.held_out=0.25", "--set", "train.batch_size=4", "--set",
                           f"features.varied={copies}", "--set", "validation.drawn=0"]) == 0
    mean, plain = (read_arrays(os.path.join(folders[copies], "best", "weights.npz"))[0]["mean"] for copies in (1, 0))
    expected = fitted.fit(config, fitted.build_features(config), batches(scene, data.train, 1))["mean"]
    np.testing.assert_allclose(mean, expected, atol=1e-5)
    assert np.abs(mean - plain).max() > 0.01


def test_who_has_seen_a_camera_vary_takes_noise_for_less_of_a_defect(scene):
    config, data = scene
    features = fitted.build_features(config)
    held_out = next(iter(batches(scene, data.held_out, 0)))
    images = held_out["image"].numpy()
    noisy = np.clip(images + np.random.default_rng(0).normal(0, 0.01, images.shape), 0, 1).astype(np.float32)
    scores = []
    for copies in (0, 1):
        model = fitted.detector(config, features, fitted.fit(config, features, batches(scene, data.train, copies)),
                                data.channels)
        model.set_scale(batches(scene, data.held_out, 0))
        scores.append([float(model(seen, roi=held_out["roi"]).score.numpy().max()) for seen in (images, noisy)])
    (clean, alarming), (also_clean, calm) = scores
    assert clean == pytest.approx(0.5, abs=0.01) and also_clean == pytest.approx(0.5, abs=0.01)
    far, near = (score / (1 - score) for score in (alarming, calm))  # d^2, of the farthest held-out part
    assert far > 4 * near > 4, scores
