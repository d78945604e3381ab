"""data.upright: a run that turns loose parts by itself, or says why not."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from loose_parts import SMALL, fit

from grdnet_tf import config as configuration
from grdnet_tf.cli import align, train
from grdnet_tf.data import turning
from grdnet_tf.errors import InputError
from grdnet_tf.locking import lock
from grdnet_tf.training import prepare, run_folder, upright


def test_loose_parts_are_turned_and_the_run_is_of_what_they_became(nails_run, nails):
    config = run_folder.read_config(nails_run)
    made = os.path.join(nails_run, "upright")
    assert (config.data.upright, config.data.root, config.data.image_size) == (True, made, (32, 96))  # 64 x 128 would be more
    assert sorted(os.listdir(os.path.join(made, "train", "good"))) == [f"{i:02}.png" for i in range(12)]
    assert cv2.imread(os.path.join(made, "train", "good", "03.png")).shape == (32, 96, 3)
    assert turning.source(made) == nails and not os.path.exists(os.path.join(made, "test"))
    assert run_folder.read_station(nails_run).align == "align.json" and run_folder.read_station(nails_run).roi == "roi.png"


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


def test_a_run_that_goes_on_does_so_as_it_began(nails_run, nails, tmp_path):
    folder = shutil.copytree(nails_run, str(tmp_path / "moved"))
    shutil.move(nails_run, nails_run + "-gone")
    try:
        assert run_folder.read_config(folder).data.root == os.path.join(folder, "upright")  # it is looked for beside
        shutil.rmtree(os.path.join(folder, "best"))
        os.makedirs(os.path.join(folder, "best"))
        os.remove(os.path.join(folder, "summary.json"))
        assert train.main(["--run", folder, "--resume", "--quiet"]) == 0
        assert os.path.isfile(os.path.join(folder, "best", "weights.npz"))
    finally:
        shutil.move(nails_run + "-gone", nails_run)
    resumed = train.resume_config(train.parser().parse_args(["--run", nails_run, "--resume", "--config", "padim_scattering", *[
        word for setting in SMALL[1:] for word in ("--set", setting)]]))
    assert (resumed.data.upright, resumed.data.image_size, resumed.data.root) == (True, (32, 96), os.path.join(nails_run, "upright"))


def test_what_a_killed_run_left_before_it_began_is_made_anew_and_what_is_not_its_own_is_kept(nails, nails_run, tmp_path, capsys):
    folder, rest = tmp_path / "run", ".grdnet-00000000-4194303-0123456789abcdef.tmp"
    (folder / rest / "train" / "good").mkdir(parents=True)  # killed while it turned
    shutil.copytree(os.path.join(nails_run, "upright"), folder / "upright")  # and before, after it had
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


def test_by_the_stations_alignment_they_lie_as_another_runs_do(nails_run, nails, tmp_path):
    own = os.path.join(nails_run, "align.json")
    config = configuration.load_config("padim_scattering", [f"data.root={nails}", f"station.align={own}"])
    found = upright.decided(config, str(tmp_path / "run")).config
    assert found.data.image_size == run_folder.read_config(nails_run).data.image_size
    for name in ("00.png", "07.png"):
        ours, theirs = (os.path.join(folder, "upright", "train", "good", name) for folder in (str(tmp_path / "run"), nails_run))
        assert open(ours, "rb").read() == open(theirs, "rb").read()


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


def test_a_run_whose_name_another_has_now_reads_its_own_pictures(nails, tmp_path):
    first, second = str(tmp_path / "run"), str(tmp_path / "kept")
    for folder in (first, second):
        assert fit(nails, folder) == 0
    shutil.move(second, str(tmp_path / "old"))
    shutil.move(first, second)
    assert run_folder.read_config(str(tmp_path / "old")).data.root == str(tmp_path / "old" / "upright")
    assert run_folder.read_config(second).data.root == os.path.join(second, "upright")


def test_one_part_longer_than_all_others_does_not_leave_them_out(nails, tmp_path, caplog):
    data = shutil.copytree(nails, str(tmp_path / "data"))
    small = cv2.imread(os.path.join(data, "train", "good", "00.png"))
    for i in range(1, 7):  # of seven the camera stood half as near
        path = os.path.join(data, "train", "good", f"{i:02}.png")
        half = cv2.resize(cv2.imread(path), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        ground = np.full_like(small, 220)
        ground[40:40 + half.shape[0], 45:45 + half.shape[1]] = half
        cv2.imwrite(path, ground)
    folder = str(tmp_path / "run")
    assert fit(data, folder) == 0
    assert run_folder.read_config(folder).data.upright is False
    assert "but are not turned upright" in caplog.text and "three quarters of the largest one's length" in caplog.text
    assert not os.path.exists(os.path.join(folder, "upright"))


def test_what_is_left_out_and_what_is_in_both_splits_is_recorded_as_ever(nails, tmp_path, caplog):
    data = shutil.copytree(nails, str(tmp_path / "data"))
    shutil.copy(os.path.join(data, "train", "good", "00.png"), os.path.join(data, "test", "good", "0.png"))
    cv2.imwrite(os.path.join(data, "train", "good", "99.png"), np.full((160, 180, 3), 220, np.uint8))
    with open(os.path.join(data, "train", "good", "05.png"), "wb") as stream:
        stream.write(b"no picture")
    folder = str(tmp_path / "run")
    assert fit(data, folder, "data.on_bad_image=skip", "data.max_skipped=0.2") == 0
    assert f"the same picture is in training and test: {data}/train/good/00.png" in caplog.text
    with open(os.path.join(folder, "summary.json"), encoding="utf-8") as stream:
        skipped = dict(json.load(stream)["skipped"])
    assert set(skipped) == {os.path.join(data, "train", "good", name) for name in ("05.png", "99.png")}


def test_it_goes_on_by_the_words_that_it_began_with(nails_run, nails):
    words = ["--run", nails_run, "--resume", "--data", nails, "--config", "padim_scattering"]
    same = [word for setting in SMALL[1:] for word in ("--set", setting)]
    assert train.resume_config(train.parser().parse_args([*words, *same])).data.root == os.path.join(nails_run, "upright")
    with pytest.raises(InputError, match="data.image_size = .*: the run turned its parts, .*; leave it out"):
        train.resume_config(train.parser().parse_args([*words, *same, "--set", SMALL[0]]))


def test_two_trainings_do_not_turn_into_one_folder(nails, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    config = configuration.load_config("cpu", [f"data.root={nails}"])
    with lock(str(folder / "lock")):
        with pytest.raises(InputError, match="lock"):
            upright.decided(config, str(folder))
    assert upright.decided(config, str(folder)).config.data.upright is True
