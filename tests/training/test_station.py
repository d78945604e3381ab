"""RUN/station.yaml: what a run is told of its station, and what is wrong with a file that was changed by hand."""
import json
import os
import shutil

import numpy as np
import pytest
from picture_files import pillow
from small_runs import make_run

from grdnet_tf.cli import train
from grdnet_tf.errors import InputError
from grdnet_tf.options import Station
from grdnet_tf.training import run_folder

DRAWN = {"unit": "share", "shapes": [{"box": [0, 0, 0.5, 1]}]}


@pytest.fixture
def data(discs, tmp_path):
    return shutil.copytree(discs, str(tmp_path / "data"))


def test_a_run_that_is_told_nothing_knows_nothing(data, tmp_path):
    run = make_run(tmp_path / "run", data)
    assert run_folder.read_config(run).station == Station()
    text = open(os.path.join(run, "station.yaml"), encoding="utf-8").read()
    assert "calibration.json" in text and "# micrometres of a pixel of the pictures' files\num_per_pixel: null" in text
    assert "station" not in open(os.path.join(run, "config.yaml"), encoding="utf-8").read()
    os.remove(os.path.join(run, "station.yaml"))  # a run from before there was one
    assert run_folder.read_config(run).station == Station()


def test_what_is_set_in_training_is_kept_and_the_roi_copied(data, tmp_path):
    (tmp_path / "line.json").write_text(json.dumps(DRAWN))
    run = make_run(tmp_path / "run", data, "station.um_per_pixel=12.5", "station.tiles=[64, 8]", "station.min_area=7",
                   f"station.roi={tmp_path / 'line.json'}")
    os.remove(tmp_path / "line.json")
    station = run_folder.read_config(run).station
    assert station == Station(um_per_pixel=12.5, tiles=(64, 8), min_area=7, roi="roi.json")
    assert json.load(open(os.path.join(run, station.roi), encoding="utf-8")) == DRAWN


def test_the_one_roi_of_the_data_folder_is_the_stations(data, tmp_path):
    open(os.path.join(data, "roi.png"), "wb").write(pillow(np.full((20, 20), 255, np.uint8), "PNG"))
    assert run_folder.read_config(make_run(tmp_path / "one", data)).station.roi == "roi.png"
    os.remove(os.path.join(data, "roi.png"))
    for name, pictures, roi in (("all", "*", "roi.json"), ("some", "train/*", None)):  # of some pictures: not its own
        drawn = {"unit": "share", "shapes": [{"box": [0, 0, 1, 1], "pictures": pictures}]}
        open(os.path.join(data, "roi.json"), "w").write(json.dumps(drawn))
        assert run_folder.read_config(make_run(tmp_path / name, data)).station.roi == roi


@pytest.mark.parametrize("text, words", [
    ("um_per_pixel: -1", "um_per_pixel = -1; expected a number, at least 1e-06"),
    ("min_areas: 3", "the nearest is min_area"),
    ("roi: gone.png", "there is no such file"), ("[1, 2", "no YAML"), ("- 1", "no YAML"),
    ("tiles: 64", "expected a list of 2 numbers")])
def test_a_file_that_is_wrong_is_named(text, words, data, tmp_path):
    run = make_run(tmp_path / "run", data)
    open(os.path.join(run, "station.yaml"), "w").write(text)
    with pytest.raises(InputError) as error:
        run_folder.read_config(run)
    assert words in str(error.value) and "station.yaml" in str(error.value)


def test_a_resume_leaves_the_station_as_it_is(data, tmp_path, capsys):
    run = make_run(tmp_path / "run", data, "station.min_area=7")
    open(os.path.join(run, "station.yaml"), "a").write("um_per_pixel: 3\n")
    resumed = train.resume_config(train.parser().parse_args(["--run", run, "--resume", "--epochs", "9"]))
    assert (resumed.station.min_area, resumed.train.epochs) == (7, 9)
    assert train.main(["--run", run, "--resume", "--set", "station.min_area=3"]) == 2
    assert "station.yaml" in capsys.readouterr().err
