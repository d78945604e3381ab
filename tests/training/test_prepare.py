"""What a run trains on: measured once, and compared with what it will be tested on."""
import os
import shutil

import pytest
from drawn import photographs
from tiny_training import FREE, arguments, rows

import train
from grdnet_tf.config import load_config
from grdnet_tf.training import prepare, run_folder


def test_the_orientation_is_measured_once_and_kept(discs, tiny_config, tmp_path, capsys):
    """Of the discs on a gradient from top to bottom some turns are natural, upside down is not."""
    run = tmp_path / "run"
    given = [*arguments(discs, run, tiny_config), *FREE, "--set", "data.orientation=measured"]
    assert train.main([*given, "--epochs", "1"]) == 0
    stored = run_folder.read_config(str(run)).data
    assert stored.flip_horizontal and not stored.flip_vertical and 0 < stored.rotation < load_config().data.rotation
    assert train.main([*given, "--epochs", "2", "--resume"]) == 0
    assert run_folder.read_config(str(run)).data == stored and len(rows(run)) == 2
    assert train.main(["--run", str(run), "--resume", "--set", "data.rotation=1.5"]) == 2
    assert "--resume: data.rotation = 1.5" in capsys.readouterr().err


def test_too_few_pictures_to_measure_the_orientation_are_named(discs, tiny_config, caplog):
    config = load_config(tiny_config, [f"data.root={discs}", "data.held_out=0.5", "data.orientation=measured"])
    assert prepare.oriented(config, prepare.training_data(config)) == config
    assert "7 pictures" in caplog.text


def test_pictures_that_are_tested_on_what_was_learnt_are_named(discs, tmp_path, caplog):
    copy = tmp_path / "data"
    shutil.copytree(discs, copy)
    (copy / "test" / "good").mkdir(parents=True)
    shutil.copy(copy / "train" / "good" / "03.png", copy / "test" / "good" / "seen.png")
    prepare.training_data(load_config(overrides=[f"data.root={copy}"]))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and "03.png" in warnings[0] and "seen.png" in warnings[0]


@pytest.mark.parametrize("by, apart", [("part", True), ("picture", False)])
def test_a_run_holds_out_parts_that_it_does_not_train_on(tmp_path, caplog, by, apart):
    photographs(tmp_path, 20, 4)
    caplog.set_level("INFO")
    found = prepare.training_data(load_config(overrides=[f"data.root={tmp_path}", f"data.held_out_by={by}"]))
    trained, held_out = ({one.image[-7:] for one in records} for records in (found.train, found.held_out))
    assert trained.isdisjoint(held_out) is apart and len(found.held_out) == 8
    assert ("80 good pictures, 20 parts by their likeness" in caplog.text) is apart


def test_more_pictures_than_are_compared_are_held_out_at_random_with_a_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("grdnet_tf.data.holding_out.MOST", 79)
    photographs(tmp_path, 20, 4)
    found = prepare.training_data(load_config(overrides=[f"data.root={tmp_path}", "data.held_out_by=part"]))
    assert len(found.held_out) == 8 and "of these 80 a share is held out at random" in caplog.text


def copies(paths, root):
    """Copies of the pictures as training pictures of `root`."""
    folder = root / "train" / "good"
    folder.mkdir(parents=True)
    for path in paths:
        shutil.copy(path, folder)


def test_a_run_that_goes_on_does_not_hold_out_new_pictures_of_parts_that_were_trained_on(tmp_path, caplog):
    """20 parts of six shots. The parent knows four shots of each of the first 15; the others are new."""
    caplog.set_level("INFO")
    paths = photographs(tmp_path / "all", 20, 6)
    some = [path for path in paths if path.rpartition("/")[2][0] in "0123" and int(path[-7:-4]) < 15]
    copies(some, tmp_path / "first")
    options = ["data.held_out=0.2", "data.held_out_by=part"]
    before = prepare.training_data(load_config(overrides=[f"data.root={tmp_path / 'first'}", *options]))
    after = prepare.training_data(load_config(overrides=[f"data.root={tmp_path / 'all'}", *options]),
                                  parent=before.recorded)
    held, trained = ({one.image[-7:-4] for one in records} for records in (after.held_out, after.train))
    assert held.isdisjoint(trained)
    first = {one.image[-7:-4] for one in before.held_out}
    assert first and first < held and len(held) == len(first) + 1  # and of 30 pictures of new parts a fifth: one part
    assert len(after.held_out) == 6 * len(held)


def test_new_pictures_of_known_parts_alone_are_drawn_one_by_one(tmp_path):
    paths = photographs(tmp_path / "all", 20, 4)
    copies([path for path in paths if "/0_" in path], tmp_path / "first")
    before = prepare.training_data(load_config(overrides=[f"data.root={tmp_path / 'first'}"]))
    gone = {one.image[-7:] for one in before.held_out}
    for path in paths:
        if path[-7:] in gone:  # no part that was held out comes again
            os.remove(path)
    after = prepare.training_data(load_config(overrides=[f"data.root={tmp_path / 'all'}", "data.held_out_by=part"]),
                                  parent=before.recorded)
    assert len(after.held_out) == 5 and len(after.train) == 67
