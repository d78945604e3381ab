"""grdnet align, a run on what it makes, and new pictures that are turned by it; bad input."""
import csv
import json
import os
import shlex
import shutil

import cv2
import numpy as np
import pytest

import evaluate
import export
import predict
from grdnet_tf import config as configuration
from grdnet_tf.cli import align, calibrate, train
from grdnet_tf.data import aligning
from grdnet_tf.data.records import list_mvtec
from grdnet_tf.errors import InputError
from grdnet_tf.training import prepare, run_folder


@pytest.fixture(scope="module")
def upright(nails, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("upright") / "set")
    assert align.main([nails, "--out", out, "--side", "64", "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def run(trained, upright, tmp_path_factory):
    """The small run as one that was trained on the upright nails is: with their align.json and region."""
    folder = shutil.copytree(trained, str(tmp_path_factory.mktemp("runs") / "run"))
    for name in ("align.json", "roi.png"):
        shutil.copy(os.path.join(upright, name), os.path.join(folder, name))
    config = run_folder.read_config(folder)
    run_folder.write_config(folder, configuration.replace(config, data__root=os.path.join(folder, "gone")))
    station = run_folder.read_station(folder).replace(align="align.json", roi="roi.png")
    run_folder.write_station(folder, station)
    fitted(folder, upright)
    return folder


def fitted(folder, upright):
    """Thresholds for it: what it was trained on were no nails."""
    assert calibrate.main(["--run", folder, "--good", os.path.join(upright, "train", "good"), "--only", "--quiet"]) == 0


def rows(capsys, *words):
    capsys.readouterr()
    assert predict.main([*words, "--json", "--quiet"]) in (0, 3, 5)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_folder_that_is_made(upright):
    test, good = list_mvtec(upright, "test"), list_mvtec(upright, "train")
    assert len(good) == 12 and [one.defect for one in test] == 3 * ["good"] + 3 * ["spot"]
    assert {one.roi for one in test + good} == {os.path.join(upright, "roi.png")}
    for record in test[3:]:
        mask = cv2.imread(record.mask, 0)
        rows, columns = np.nonzero(mask)
        assert set(np.unique(mask)) == {0, 255} and 12 <= len(rows) <= 45  # 29 pixels at 64/86 of the scale, and a soft edge
        assert rows.mean() == pytest.approx(16, abs=2) and abs(columns.mean() - 38.5) < 3  # on the shank, before the middle
    assert cv2.imread(os.path.join(upright, "roi.png"), 0)[16, 6:58].all()


@pytest.mark.slow
def test_new_pictures_are_judged_as_their_upright_ones_and_shown_as_they_lie(run, upright, nails, tmp_path, capsys):
    raw = [os.path.join(nails, "test", part, "1.png") for part in ("good", "spot")]
    plain = shutil.copytree(run, str(tmp_path / "plain"))
    run_folder.write_station(plain, run_folder.read_station(plain).replace(align=None))
    fitted(plain, upright)
    expected = rows(capsys, "--run", plain, *[os.path.join(upright, "test", part, "1.png") for part in ("good", "spot")])
    found = rows(capsys, "--run", run, *raw)
    np.testing.assert_allclose([one["score"] for one in found], [one["score"] for one in expected], atol=1e-6)
    assert [one["size"] for one in found] == [[160, 180]] * 2 and [one["size"] for one in expected] == [[32, 64]] * 2

    from grdnet_tf import load

    seen = load(run).predict(raw[1])[0]
    assert seen.anomaly_map.shape == (160, 180) and seen.overlay.shape == (160, 180, 3)
    alignment = aligning.read(os.path.join(run, "align.json"))
    region = cv2.imread(os.path.join(run, "roi.png"), 0) > 0
    within = alignment.back(region.astype(np.float32), alignment.matrix(cv2.imread(raw[1])[..., ::-1]), (160, 180))
    within = cv2.resize(within, (180, 160))
    wider = cv2.dilate(within, np.ones((13, 13)))  # the map is coarser than the file
    assert not seen.anomaly_map[wider == 0].any() and (seen.anomaly_map[within > 0.99] > 0).mean() > 0.9

    assert export.main(["--run", run, "--out", str(tmp_path / "out"), "--name", "nails", "--batch-sizes", "1"]) == 0
    assert "the served graph takes pictures that lie upright" in capsys.readouterr().out
    assert "takes pictures of upright parts" in (tmp_path / "out" / "serving" / "README.md").read_text(encoding="utf-8")
    served = rows(capsys, "--model", str(tmp_path / "out" / "nails"), *raw)
    np.testing.assert_allclose([one["score"] for one in served], [one["score"] for one in found], atol=1e-4)


def test_a_picture_without_a_part_is_never_good(run, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "empty.png"), np.full((160, 180, 3), 220, np.uint8))
    found = rows(capsys, "--run", run, str(tmp_path / "empty.png"))
    assert found[0]["verdict"] == "unreadable" and "no whole part is found on plain ground" in found[0]["reason"]


def test_a_run_takes_the_alignment_of_its_data(upright, nails, tmp_path, capsys):
    folder = str(tmp_path / "run")
    run_folder.create_run(folder, configuration.load_config(None, [f"data.root={upright}", "data.channels='3'"]))
    assert run_folder.read_station(folder).align == "align.json" and run_folder.read_station(folder).roi == "roi.png"
    assert aligning.read(os.path.join(folder, "align.json")).size == (32, 64)


def test_good_pictures_for_thresholds_may_lie_as_they_came(run, nails, upright, tmp_path, capsys):
    kept = []
    more, like = str(tmp_path / "more"), os.path.join(upright, "align.json")
    assert align.main([os.path.join(nails, "test", "good"), "--like", like, "--out", more, "--quiet"]) == 0
    for good in (os.path.join(nails, "test", "good"), more):
        assert calibrate.main(["--run", run, "--good", good, "--only", "--quiet"]) == 0
        with open(os.path.join(run, "calibration.json"), encoding="utf-8") as stream:
            kept.append({name: entry["value"] for name, entry in json.load(stream)["thresholds"].items()})
    assert kept[0] == kept[1] and len(kept[0]) >= 2
    made, = (name for name in os.listdir(run) if name.startswith("upright-good-"))
    assert sorted(os.listdir(os.path.join(run, made, "train", "good"))) == ["0.png", "1.png", "2.png"]
    fitted(run, upright)


def test_what_was_turned_by_another_alignment_is_not_mixed_in(run, nails, upright, tmp_path, capsys):
    """As its parts may lie the other way round, at another scale: in a test, for thresholds, in training."""
    other = str(tmp_path / "other")
    assert align.main([nails, "--out", other, "--side", "60", "--quiet"]) == 0
    assert aligning.read(f"{other}/align.json").size == aligning.read(f"{upright}/align.json").size
    again = str(tmp_path / "again")
    assert align.main([nails, "--out", again, "--like", f"{upright}/align.json", "--quiet"]) == 0
    good = os.path.join(nails, "train", "good")
    for words, told in ((["--data", other], "another align.json"), (["--data", upright, "--good", other], "another align.json"),
                        (["--data", upright, "--thresholds", f"best_f1:{nails}"], "180 x 160")):
        assert evaluate.main(["--run", run, *words]) == 2
        assert told in capsys.readouterr().err
    kept = [f"station.align={upright}/align.json", "data.channels='3'"]
    for root, added in ((nails, ()), (other, ()), (upright, (good,)), (upright, (other,))):
        settings = [f"data.root={root}", f"data.add_good={json.dumps(added)}", *kept]
        with pytest.raises(InputError, match="grdnet align DIR --like"):
            prepare.training_data(configuration.load_config(None, settings))
    prepare.training_data(configuration.load_config(None, [f"data.root={again}", *kept]))


def test_a_damaged_picture_is_named(run, upright, tmp_path, capsys):
    data = shutil.copytree(upright, str(tmp_path / "data"))
    open(os.path.join(data, "test", "good", "0.png"), "wb").write(b"no picture")
    for words in (lambda: evaluate.main(["--run", run, "--data", data]),
                  lambda: calibrate.main(["--run", run, "--good", os.path.join(data, "test", "good")])):
        assert words() == 2
        assert capsys.readouterr().err.startswith(f"error: {data}/test/good/0.png: ")


def test_micrometres_are_those_of_the_files_as_they_came(run, upright, tmp_path):
    plain = shutil.copytree(run, str(tmp_path / "plain"))
    run_folder.write_station(plain, run_folder.read_station(plain).replace(align=None))
    areas = []
    for folder in (run, plain):
        assert evaluate.main(["--run", folder, "--data", upright, "--out", str(tmp_path / "out"), "--pictures", "0",
                              "--quiet", "--um-per-pixel", "10", "--thresholds", "value:0,value:0"]) == 0
        with open(tmp_path / "out" / "regions.csv", newline="") as stream:
            areas.append([float(row["area_um2"]) for row in csv.DictReader(stream)])
    scale = aligning.read(os.path.join(run, "align.json")).scale
    assert areas[0] and areas[0] == pytest.approx([area / scale ** 2 for area in areas[1]], rel=1e-3)


def test_the_commands_that_follow_can_be_given_as_they_are_printed(nails, tmp_path, capsys):
    out = str(tmp_path / "up right")
    assert align.main([nails, "--out", out, "--side", "64"]) == 0
    _, *commands = capsys.readouterr().out.strip().splitlines()
    assert len(commands) == 2
    for command, crop in zip(commands, (None, (32, 64))):
        word, *words = shlex.split(command, comments=True)
        assert word in ("then:", "or:") and words[:2] == ["grdnet", "train"]
        config = train.new_config(train.parser().parse_args(words[2:]))
        assert (config.data.root, config.data.image_size, config.data.crop) == (out, (32, 64), crop)


def test_what_cannot_be_done_ends_with_one_line(nails, upright, tmp_path, tmp_path_factory, capsys):
    blank = str(tmp_path_factory.mktemp("blank"))
    cv2.imwrite(f"{blank}/0.png", np.full((60, 70, 3), 90, np.uint8))
    for words, told in [([nails, "--out", upright], "exists already"), ([nails, "--out", str(tmp_path / "a"), "--side", "8"], "--side 8"),
                        ([nails, "--out", str(tmp_path / "a"), "--like", str(tmp_path / "no.json")], "no.json: no such file"),
                        ([nails, "--out", str(tmp_path / "a"), "--side", "8193"], "--side 8193: expected 8192 or less"),
                        ([blank, "--out", str(tmp_path / "a"), "--like", f"{upright}/align.json"],
                         f"{blank}: in 1 of 1 good pictures no part on plain ground"),
                        ([str(tmp_path / "none"), "--out", str(tmp_path / "a")], "none")]:
        assert align.main(words) == 2
        err = capsys.readouterr().err.strip()
        assert err.splitlines()[-1].startswith("error: ") and told in err and not os.path.exists(tmp_path / "a")
    assert os.listdir(tmp_path) == []  # nothing half made


def test_training_on_loose_parts_warns_and_on_upright_ones_does_not(nails, upright, caplog):
    prepare.training_data(configuration.load_config(None, [f"data.root={upright}"]))
    assert caplog.text == ""
    prepare.training_data(configuration.load_config(None, [f"data.root={nails}"]))
    assert "lie in all directions on plain ground" in caplog.text
