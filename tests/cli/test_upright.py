"""data.upright: a run that turns loose parts by itself, and is measured on pictures as they came."""
import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest

import evaluate
import predict
from grdnet_tf import config as configuration
from grdnet_tf.cli import align, train
from grdnet_tf.data import turning
from grdnet_tf.errors import InputError
from grdnet_tf.training import prepare, run_folder, upright

SMALL = ["data.image_size=[64,64]", "train.batch_size=4", "features.varied=0", "validation.drawn=0", "data.held_out=0.25"]


def fit(data, run, *settings):
    words = [word for setting in (*SMALL, *settings) for word in ("--set", setting)]
    return train.main(["--config", "padim_scattering", "--data", data, "--run", run, "--quiet", *words])


def report(run, *words):
    assert evaluate.main(["--run", run, "--pictures", "0", "--quiet", *words]) == 0
    with open(os.path.join(run, "evaluation", "report.json"), encoding="utf-8") as stream:
        return json.load(stream)


@pytest.fixture(scope="module")
def run(nails, tmp_path_factory):
    """PaDiM of the nails, which turned them."""
    folder = str(tmp_path_factory.mktemp("runs") / "nails")
    assert fit(nails, folder) == 0
    return folder


def test_loose_parts_are_turned_and_the_run_is_of_what_they_became(run, nails):
    config = run_folder.read_config(run)
    made = os.path.join(run, "upright")
    assert (config.data.upright, config.data.root, config.data.image_size) == (True, made, (32, 96))  # 64 x 128 would be more
    assert sorted(os.listdir(os.path.join(made, "train", "good"))) == [f"{i:02}.png" for i in range(12)]
    assert cv2.imread(os.path.join(made, "train", "good", "03.png")).shape == (32, 96, 3)
    assert turning.source(made) == nails and not os.path.exists(os.path.join(made, "test"))
    assert run_folder.read_station(run).align == "align.json" and run_folder.read_station(run).roi == "roi.png"


def test_it_is_measured_on_pictures_as_they_came_by_default_and_named(run, nails, tmp_path):
    found = report(run, "--thresholds", "value:0.5,value:0.5")
    assert found["data"] == nails and found["n_images"] == 6 and found["warnings"] == []
    by_default = open(os.path.join(run, "evaluation", "predictions.csv")).read()
    assert report(run, "--data", nails, "--thresholds", "value:0.5,value:0.5") == found
    assert open(os.path.join(run, "evaluation", "predictions.csv")).read() == by_default
    like, out = os.path.join(run, "align.json"), str(tmp_path / "by-hand")
    assert align.main([nails, "--out", out, "--like", like, "--quiet"]) == 0
    by_hand = report(run, "--data", out, "--thresholds", "value:0.5,value:0.5")
    assert (by_hand["data"], by_hand["turned"]) == (out, None)
    assert os.path.dirname(found["turned"]) == run and os.path.basename(found["turned"]).startswith("upright-test-")
    assert found["image_auroc_roi"] > 0.5
    for key in ("image_auroc_roi", "pixel_auroc_roi", "aupro", "miss_rate", "image_size"):
        assert by_hand[key] == found[key]


def test_predict_turns_what_it_is_given_to_the_same_scores(run, nails, capsys):
    report(run, "--data", nails, "--thresholds", "value:0.5,value:0.5")
    with open(os.path.join(run, "evaluation", "predictions.csv"), newline="") as stream:
        measured = {tuple(row["path"].rsplit(os.sep, 2)[1:]): float(row["score_roi"]) for row in csv.DictReader(stream)}
    capsys.readouterr()
    predict.main(["--run", run, "--json", "--quiet", os.path.join(nails, "test")])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = {tuple(row["path"].rsplit(os.sep, 2)[1:]): row["score"] for row in rows}
    assert told.keys() == measured.keys() and len(told) == 6
    np.testing.assert_allclose([told[name] for name in told], [measured[name] for name in told], atol=1e-5)


def test_a_product_that_lies_still_is_left_as_it_is(small_demo, tmp_path):
    folder = str(tmp_path / "run")
    assert fit(small_demo, folder) == 0
    config = run_folder.read_config(folder)
    assert (config.data.upright, config.data.root, config.data.image_size) == (False, small_demo, (64, 64))
    assert not os.path.exists(os.path.join(folder, "upright")) and run_folder.read_station(folder).align is None


def test_the_window_to_train_on_is_cut_to_the_canvas(nails, tmp_path):
    config = configuration.load_config("cpu", [f"data.root={nails}"])
    found = upright.decided(config, str(tmp_path / "run")).config
    size = found.data.image_size
    assert size == (96, 320) and found.data.crop == (96, 160)  # of 192 x 192 and 128 x 128
    whole = upright.decided(configuration.replace(config, data__crop=None), str(tmp_path / "other")).config
    assert whole.data.image_size == size and whole.data.crop is None
    smaller = configuration.replace(config, data__image_size=(64, 96), data__crop=None)
    few = upright.decided(smaller, str(tmp_path / "few")).config
    assert few.data.image_size == (32, 96)


def test_a_run_that_goes_on_does_so_as_it_began(run, nails, tmp_path):
    folder = shutil.copytree(run, str(tmp_path / "moved"))
    shutil.move(run, run + "-gone")
    try:
        assert run_folder.read_config(folder).data.root == os.path.join(folder, "upright")  # it is looked for beside
        shutil.rmtree(os.path.join(folder, "best"))
        os.makedirs(os.path.join(folder, "best"))
        os.remove(os.path.join(folder, "summary.json"))
        assert train.main(["--run", folder, "--resume", "--quiet"]) == 0
        assert os.path.isfile(os.path.join(folder, "best", "weights.npz"))
    finally:
        shutil.move(run + "-gone", run)
    resumed = train.resume_config(train.parser().parse_args(["--run", run, "--resume", "--config", "padim_scattering", *[
        word for setting in SMALL[1:] for word in ("--set", setting)]]))
    assert (resumed.data.upright, resumed.data.image_size, resumed.data.root) == (True, (32, 96), os.path.join(run, "upright"))


def test_what_a_killed_run_left_before_it_began_is_made_anew_and_what_is_not_its_own_is_kept(nails, run, tmp_path, capsys):
    folder, rest = tmp_path / "run", ".grdnet-00000000-4194303-0123456789abcdef.tmp"
    (folder / rest / "train" / "good").mkdir(parents=True)  # killed while it turned
    shutil.copytree(os.path.join(run, "upright"), folder / "upright")  # and before, after it had
    (folder / "upright" / "train" / "good" / "old.png").write_bytes(b"half")
    assert fit(nails, str(folder)) == 0
    assert "old.png" not in os.listdir(folder / "upright" / "train" / "good")
    other = tmp_path / "other"
    (other / "upright").mkdir(parents=True)
    (other / "upright" / "notes.txt").write_text("mine")
    assert fit(nails, str(other)) == 2 and (other / "upright" / "notes.txt").read_text() == "mine"
    assert "exists and is not an empty folder" in capsys.readouterr().err


def test_where_they_cannot_be_turned_auto_goes_on_and_true_ends_with_one_line(small_demo, nails, tmp_path, capsys):
    turned = str(tmp_path / "turned")
    assert align.main([nails, "--out", turned, "--side", "64", "--quiet"]) == 0
    more = os.path.join(nails, "test", "good")
    loose = configuration.load_config("padim_scattering", [f"data.root={nails}"])
    for changes, told in (({"data__root": small_demo}, "no part longer than wide lies on plain ground"),
                          ({"data__add_good": (more,)}, "data.add_good"), ({"station__tiles": (64, 16)}, "station.tiles"),
                          ({"station__roi": os.path.join(turned, "roi.png")}, "station.roi is drawn on pictures as they lie")):
        config = configuration.replace(loose, **changes)
        left = upright.decided(config, str(tmp_path / "run")).config
        assert left == configuration.replace(config, data__upright=False)
        with pytest.raises(InputError, match="data.upright = true: ") as error:
            upright.decided(configuration.replace(config, data__upright=True), str(tmp_path / "run"))
        assert told in str(error.value) and "\n" not in str(error.value)
    for asked in ("auto", True):  # of what grdnet align made nothing is left to do, but for the pictures' size
        already = configuration.replace(loose, data__root=turned, data__upright=asked)
        found = upright.decided(already, str(tmp_path / "run")).config
        assert found == configuration.replace(already, data__upright=True, data__image_size=(32, 64))
        larger = configuration.replace(already, data__image_size=(64, 128))
        assert upright.decided(larger, str(tmp_path / "run")).config.data.image_size == (64, 128)
    assert not os.path.exists(tmp_path / "run")


def test_by_the_stations_alignment_they_lie_as_another_runs_do(run, nails, tmp_path):
    own = os.path.join(run, "align.json")
    config = configuration.load_config("padim_scattering", [f"data.root={nails}", f"station.align={own}"])
    found = upright.decided(config, str(tmp_path / "run")).config
    assert found.data.image_size == run_folder.read_config(run).data.image_size
    for name in ("00.png", "07.png"):
        ours, theirs = (os.path.join(folder, "upright", "train", "good", name) for folder in (str(tmp_path / "run"), run))
        assert open(ours, "rb").read() == open(theirs, "rb").read()


def test_pictures_without_a_part_are_counted_and_a_region_as_they_lay_is_refused(run, nails, tmp_path, capsys):
    data = shutil.copytree(nails, str(tmp_path / "data"))
    cv2.imwrite(os.path.join(data, "test", "good", "empty.png"), np.full((160, 180, 3), 220, np.uint8))
    found = report(run, "--data", data, "--thresholds", "value:0.5,value:0.5")
    assert any(line.startswith("1 pictures are not measured: no part on plain ground is found") and
               line.endswith(os.path.join(data, "test", "good", "empty.png")) for line in found["warnings"])
    cv2.imwrite(str(tmp_path / "region.png"), np.full((160, 180), 255, np.uint8))
    assert evaluate.main(["--run", run, "--data", nails, "--roi", str(tmp_path / "region.png")]) == 2
    assert "is turned upright, and its regions with it" in capsys.readouterr().err
    for part in ("good", "spot"):
        for i in range(3):
            cv2.imwrite(os.path.join(data, "test", part, f"{i}.png"), np.full((160, 180, 3), 220, np.uint8))
    assert evaluate.main(["--run", run, "--data", data]) == 2
    assert f"{data}: in 7 of 7 pictures no part on plain ground is found" in capsys.readouterr().err


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_a_damaged_good_picture_is_named(nails, tmp_path, capsys, caplog, on_bad_image):
    data = shutil.copytree(nails, str(tmp_path / "data"))
    with open(os.path.join(data, "train", "good", "05.png"), "wb") as stream:
        stream.write(b"no picture")
    folder = str(tmp_path / "run")
    status = fit(data, folder, f"data.on_bad_image={on_bad_image}", "data.max_skipped=0.2")
    assert f"{data}/train/good/05.png: " in capsys.readouterr().err + caplog.text
    assert status == (2 if on_bad_image == "error" else 0)
    if not status:
        assert len(os.listdir(os.path.join(folder, "upright", "train", "good"))) == 11


def test_a_run_that_goes_on_with_a_new_lot_turns_it_alike(nails, tmp_path):
    """`--from RUN --add-good DIR`, whose pictures are as they came."""
    config = configuration.load_config("cpu", [f"data.root={nails}"])
    parent = upright.decided(config, str(tmp_path / "parent")).config
    align_json = os.path.join(parent.data.root, "align.json")
    more = os.path.join(nails, "test", "good")
    child = configuration.replace(parent, data__add_good=(more,), station__align=align_json)
    found = upright.decided(child, str(tmp_path / "child")).config
    added, = found.data.add_good
    assert found == configuration.replace(child, data__add_good=(added,))
    assert os.path.basename(added).startswith("upright-added-0-") and os.path.dirname(added) == str(tmp_path / "child")
    assert sorted(os.listdir(added)) == ["align.json", "train", "turned.json"]  # the region is the run's
    assert cv2.imread(os.path.join(added, "train", "good", "1.png")).shape == (96, 320, 3)
    assert prepare.training_data(found).train
    run_folder.check_new(str(tmp_path / "child"))  # what was made before it began is no hindrance
    assert upright.decided(found, str(tmp_path / "grandchild")).config == found
    other = configuration.replace(child, data__root=nails, data__add_good=())  # another lot in the place of the first
    again = upright.decided(other, str(tmp_path / "other")).config.data
    assert (again.root, again.image_size) == (os.path.join(str(tmp_path / "other"), "upright"), (96, 320))


def test_its_pictures_are_compared_with_those_of_a_run_that_left_them_as_they_lie(run, nails, tmp_path, capsys):
    other = str(tmp_path / "as-they-lie")
    assert fit(nails, other, "data.upright=false") == 0
    for folder, threshold in ((run, 0), (other, 1)):
        report(folder, "--data", nails, "--thresholds", f"value:{threshold},value:0.5")
    capsys.readouterr()
    assert evaluate.main(["--compare", run, other, "--out", str(tmp_path / "comparison")]) == 0
    assert "good rejected 3 -> 0 of 3, 3 no more, 0 newly" in capsys.readouterr().out
