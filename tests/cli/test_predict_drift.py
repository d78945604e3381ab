"""predict.py --watch: what it says, writes and returns when the light fails; and what does not concern it."""
import glob
import json
import os
import shutil

import cv2
import numpy as np
import pytest

import predict
from grdnet_tf.cli import calibrate
from grdnet_tf.demo.dataset import write_demo

WINDOW = 20


def draw(folder, seed, number):
    """Paths of good pictures of the demo's product."""
    root = write_demo(str(folder), seed=seed, train=number, test_good=1, per_defect=1, distractors=1, size=(64, 64))
    return sorted(glob.glob(os.path.join(root, "train", "good", "*.png")))


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A run with thresholds, and the scores of 27 good pictures with them."""
    own = shutil.copytree(trained, str(tmp_path_factory.mktemp("drift") / "tiny"))
    good = draw(tmp_path_factory.mktemp("good") / "vials", 7, 24)
    assert calibrate.main(["--run", own, "--good", os.path.dirname(good[0]), "--quiet"]) == 0
    with open(os.path.join(own, "calibration.json"), encoding="utf-8") as stream:
        kept = json.load(stream)["thresholds"]
    for name in ("image", "image_roi"):
        if name in kept:
            scores = kept[name]["good_scores"]
            assert len(scores) == 27 and scores == sorted(scores)
            assert scores[-1] == pytest.approx(kept[name]["value"], rel=1e-6)  # max_normal
    assert "good_scores" not in kept["pixel"]
    return own


def test_the_watch_tells_when_the_light_fails(run, tmp_path, capsys):
    folder, out = tmp_path / "in", str(tmp_path / "out")
    folder.mkdir()
    pictures = draw(tmp_path / "vials", 8, WINDOW)
    for path in pictures:
        shutil.copy(path, folder)
    arguments = ["--run", run, "--watch", str(folder), "--out", out, "--idle", "0.2", "--window", str(WINDOW),
                 "--pictures", "none"]
    assert predict.main(arguments) in (0, 3)
    assert "drift" not in capsys.readouterr().out
    assert predict.main(["--health", out]) == 0
    for path in pictures:
        cv2.imwrite(str(folder / f"dark-{os.path.basename(path)}"), (0.4 * cv2.imread(path)).astype(np.uint8))
    assert predict.main(arguments) == 4
    told = json.loads(capsys.readouterr().out)
    assert told["drift"] and told["pictures"] == told["window"] == WINDOW and told["median"] != told["median_good"]
    assert predict.main(["--health", out]) == 4
    with open(os.path.join(out, "drift.jsonl"), encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    assert [line["drift"] for line in lines] == [False, False, True] and lines[-1] == told


def test_thresholds_without_good_scores_are_warned_of_or_refused(trained, run, tmp_path, capsys):
    old = shutil.copytree(run, str(tmp_path / "old"))
    path = os.path.join(old, "calibration.json")
    with open(path, encoding="utf-8") as stream:
        kept = json.load(stream)
    for entry in kept["thresholds"].values():
        entry.pop("good_scores", None)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(kept, stream)
    (tmp_path / "in").mkdir()
    arguments = ["--run", old, "--watch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--idle", "0",
                 "--quiet"]
    assert predict.main(arguments) == 0
    assert capsys.readouterr().err.startswith("warning: drift will not be noticed: ")
    assert predict.main([*arguments, "--window", "30"]) == 2
    assert "without the scores" in capsys.readouterr().err
    assert predict.main([*arguments, "--window", "0"]) == 0
    assert capsys.readouterr().err == ""
