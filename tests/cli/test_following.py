"""A station whose region follows the part: evaluate, predict, export, and an export that is used without its run."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest

import evaluate
import export
import predict
from grdnet_tf.cli import train
from grdnet_tf.config import load_config
from grdnet_tf.data.files import read_region
from grdnet_tf.errors import InputError
from grdnet_tf.training import run_folder


@pytest.fixture(scope="module")
def moving(trained, small_demo, tmp_path_factory):
    """(run, data, truth): region and picture of train/good/000, which is turned in test/good/000; no part in 001."""
    folder = tmp_path_factory.mktemp("moving")
    run, data = shutil.copytree(trained, str(folder / "run")), shutil.copytree(small_demo, str(folder / "data"))
    name = os.path.join("train", "good", "000.png")
    shutil.copy(os.path.join(data, name), os.path.join(run, "follow.png"))
    shutil.copy(os.path.join(data, "roi", name), os.path.join(run, "roi.png"))
    run_folder.write_station(run, run_folder.read_station(run).replace(roi="roi.png", follow="follow.png"))
    matrix = cv2.getRotationMatrix2D((32, 32), 15, 1.0)
    picture, region = (cv2.imread(os.path.join(data, part, name), cv2.IMREAD_UNCHANGED) for part in ("", "roi"))
    cv2.imwrite(os.path.join(data, "test", "good", "000.png"),
                cv2.warpAffine(picture, matrix, (64, 64), borderMode=cv2.BORDER_REPLICATE))
    cv2.imwrite(os.path.join(data, "test", "good", "001.png"), np.full((64, 64, 3), 90, np.uint8))
    return run, data, cv2.warpAffine(region, matrix, (64, 64), flags=cv2.INTER_NEAREST) > 0


def rows(capsys, *words):
    capsys.readouterr()
    predict.main([*words, "--json", "--quiet"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_evaluate_moves_the_region_and_says_where_it_could_not(moving, capsys, caplog):
    run, data, _ = moving
    assert evaluate.main(["--run", run, "--data", data, "--pictures", "0"]) == 0
    out, _ = capsys.readouterr()
    report = json.load(open(os.path.join(run, "evaluation", "report.json"), encoding="utf-8"))
    assert report["part"]["of"] == 16 and report["part"]["found"] in (14, 15)
    assert f"the region follows the part, found in {report['part']['found']} of 16" in out and "001.png" in caplog.text
    kept = json.load(open(os.path.join(run, "calibration.json"), encoding="utf-8"))["under"]
    assert len(kept["follow_sha256"]) == 64  # thresholds of a region that stays are others


@pytest.mark.slow
def test_predict_says_how_the_part_lies_and_so_does_an_export(moving, tmp_path, capsys):
    run, data, truth = moving
    good = os.path.join(data, "test", "good")
    found = rows(capsys, "--run", run, os.path.join(good, "000.png"), os.path.join(good, "001.png"))
    assert found[0]["part"]["turn"] == pytest.approx(-15, abs=1) and found[1]["part"] == {"found": False}
    assert export.main(["--run", run, "--out", str(tmp_path), "--name", "part", "--batch-sizes", "1"]) == 0
    assert "the served graph does not move the region with the part" in capsys.readouterr().out
    both = [os.path.join(good, "000.png"), os.path.join(good, "001.png")]
    served = rows(capsys, "--model", str(tmp_path / "part"), *both)
    assert [one["part"] for one in served] == [one["part"] for one in found]
    np.testing.assert_allclose([one["score"] for one in served], [one["score"] for one in found], atol=1e-4)
    predict.main(["--run", run, os.path.join(good, "001.png")])
    out, err = capsys.readouterr()
    assert "part not found, region as drawn" in out and "not found in 1 of them" in err

    from grdnet_tf import load

    detector = load(run)
    cut = detector.predict(os.path.join(good, "000.png"))[0].anomaly_map > 0
    drawn = load(run, roi=os.path.join(run, "roi.png")).predict(os.path.join(good, "000.png"))[0].anomaly_map > 0
    still = read_region(os.path.join(run, "roi.png")) > 0
    outside, inside = truth & ~still, still & ~truth
    assert cut[outside].mean() > drawn[outside].mean() + 0.3  # the map is coarser than the file
    assert cut[inside].mean() < drawn[inside].mean() - 0.3


def test_a_region_to_move_is_asked_for(moving, discs, tmp_path, capsys):
    picture, run = os.path.join(moving[0], "follow.png"), str(tmp_path / "told")
    given = [f"data.root={discs}", "data.channels='3'", f"station.follow={picture}"]
    with pytest.raises(InputError, match="station.follow = .* there is no region for all pictures"):
        run_folder.create_run(str(tmp_path / "run"), load_config(None, given))
    run_folder.create_run(run, load_config(None, [*given, f"station.roi={os.path.join(moving[0], 'roi.png')}"]))
    assert run_folder.read_station(run).follow == "follow.png"
    own = run_folder.read_station(run)
    run_folder.write_station(run, own.replace(align="roi.png"))  # any file that is there
    with pytest.raises(InputError, match="follow = 'follow.png' does not go with align"):
        run_folder.read_station(run)
    run_folder.write_station(run, own)
    os.remove(os.path.join(run, "follow.png"))
    assert train.main(["--run", run, "--resume"]) == 2
    assert "follow = 'follow.png'; there is no such file" in capsys.readouterr().err
