"""The whole way from files to report.json, against a stored report: fixed pictures, fixed weights, every figure.

    python tests/report/test_report.py    writes golden_report.json beside it anew; look at the difference before you
                                          keep it
"""
import json
import os
import sys

import cv2
import numpy as np
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))

import evaluate  # noqa: E402
from grdnet_tf import config as configuration  # noqa: E402
from grdnet_tf.model.weights import network_arrays  # noqa: E402
from grdnet_tf.storage import write_arrays  # noqa: E402
from grdnet_tf.training import building, run_folder  # noqa: E402

GOLDEN = os.path.join(HERE, "golden_report.json")


def write_data(root):
    """Textured 48 x 48 pictures; the ROI is the left two thirds, "stain" lies in it, "dirt" beside it."""
    rng = np.random.default_rng(11)
    roi = np.zeros((48, 48), np.uint8)
    roi[:, :32] = 255
    for folder, count in (("train/good", 8), ("test/good", 6), ("test/stain", 5), ("test/dirt", 3)):
        for i in range(count):
            y, x = np.mgrid[:48, :48]
            pixels = 120 + 30 * np.sin(x / rng.uniform(2, 4) + y / 9.0) + rng.normal(0, 6, (48, 48))
            mask = np.zeros((48, 48), np.uint8)
            if folder in ("test/stain", "test/dirt"):
                top, left = rng.integers(4, 36), rng.integers(2, 20) if folder == "test/stain" else rng.integers(34, 38)
                mask[top:top + rng.integers(4, 9), left:left + rng.integers(4, 9)] = 255
                pixels[mask > 0] -= 90
                save(root, f"ground_truth/{folder[5:]}/{i}_mask.png", mask)
            save(root, f"{folder}/{i}.png", pixels.clip(0, 255).astype(np.uint8))
            save(root, f"roi/{folder}/{i}.png", roi)


def save(root, name, pixels):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    cv2.imwrite(path, pixels)


def write_run(folder, root):
    """A run whose weights come from NumPy, so that they are the same on both stacks."""
    config = configuration.load_config(None, [
        "data.image_size=[48, 48]", "data.channels='1'", "data.held_out=0.5", "network.widths=[6, 8]",
        "network.latent=4", "network.stem=0", "network.blocks=1", "network.segmenter_widths=[6, 8]", "network.score_pool=7",
        "network.batch_norm=false", "network.discriminator_widths=[4]", "loss.adversarial=0", "loss.encoder=0",
        f"data.root={json.dumps(root)}"])
    run_folder.create_run(folder, config)
    rng = np.random.default_rng(8)
    arrays = {name: rng.standard_normal(array.shape).astype(np.float32) / np.sqrt(max(1, array.size // array.shape[-1]))
              for name, array in sorted(network_arrays(building.build_model(config)).items())}
    write_arrays(os.path.join(folder, run_folder.BEST), arrays, {})


def make_report(folder):
    """The figures of report.json that do not depend on where it was made, rounded."""
    data, run = os.path.join(folder, "data"), os.path.join(folder, "run")
    write_data(data)
    write_run(run, data)
    assert evaluate.main(["--run", run, "--pictures", "2", "--min-area", "2", "--um-per-pixel", "25",
                          "--thresholds", "quantile:0.75,quantile:0.98"]) == 0
    with open(os.path.join(run, "evaluation", "report.json"), encoding="utf-8") as stream:
        report = json.load(stream)
    for name in ("run", "data", "curves", "weights_sha256"):
        del report[name]
    return plain(report)


def plain(value):
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return round(value, 5) if isinstance(value, float) else value


def differences(found, golden, path=""):
    """Where two reports differ by more than the rounding that other processors and stacks bring."""
    if isinstance(golden, dict) and isinstance(found, dict) and set(golden) == set(found):
        return [line for key in golden for line in differences(found[key], golden[key], f"{path}/{key}")]
    if isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        return [line for i, pair in enumerate(zip(found, golden)) for line in differences(*pair, f"{path}/{i}")]
    if isinstance(golden, float) and found == pytest.approx(golden, abs=1e-3, rel=1e-3):
        return []
    return [] if found == golden else [f"{path}: {found}, not {golden}"]


def test_report_is_the_stored_one(tmp_path):
    with open(GOLDEN, encoding="utf-8") as stream:
        golden = json.load(stream)
    assert golden["image_auroc_roi"] not in (0.0, 0.5, 1.0)  # a report that says something
    assert differences(make_report(str(tmp_path)), golden) == []


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder, open(GOLDEN, "w", encoding="utf-8") as stream:
        json.dump(make_report(folder), stream, indent=1)
        stream.write("\n")
