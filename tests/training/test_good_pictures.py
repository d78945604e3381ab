"""What a run trained on and held out is recorded, and stays what it was whatever happens to the folder."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest

from grdnet_tf.config import load_config
from grdnet_tf.errors import InputError
from grdnet_tf.training import good_pictures, prepare, recorded, run_folder


def draw(path, seed):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8))


def names(records):
    return {os.path.basename(one.image) for one in records}


@pytest.fixture
def begun(tmp_path):
    """(run folder, configuration, data) of a run on 20 pictures, 4 of them held out."""
    root = tmp_path / "product"
    for i in range(20):
        draw(root / "train" / "good" / f"{i:03d}.png", i)
    config = load_config(None, [f"data.root={json.dumps(str(root))}", "data.held_out=0.2", "data.channels=3"])
    data, run = prepare.training_data(config), tmp_path / "run"
    run_folder.create_run(str(run), config, data.recorded)
    return str(run), config, data


def good(begun, **options):
    return good_pictures.find(begun[0], begun[1], **options)


def test_the_pictures_are_known_again(begun):
    run, config, data = begun
    found = good(begun)
    assert names(found.held_out) == names(data.held_out) and len(found.held_out) == 4 and not found.new and found.keep
    assert found.words == "4 good images that the run held out"
    assert recorded.read(run) == data.recorded


def test_a_picture_that_comes_is_new_and_one_that_goes_takes_no_other_with_it(begun):
    run, config, data = begun
    folder = os.path.join(config.data.root, "train", "good")
    draw(os.path.join(folder, "000_.png"), 99)  # the second in the order of names: all positions after it move
    os.remove(data.train[3].image)
    found = good(begun)
    assert names(found.held_out) == names(data.held_out) and names(found.new) == {"000_.png"} and found.keep
    assert found.words == "4 good images that the run held out, 1 new ones"


def test_equal_names_in_another_folder_say_nothing(begun, tmp_path):
    run, config, data = begun
    for i in range(5):
        draw(tmp_path / "lot" / "train" / "good" / f"{i:03d}.png", 100 + i)
    named = good(begun, named=str(tmp_path / "lot"))
    assert len(named.held_out) == 4 and names(named.new) == {f"{i:03d}.png" for i in range(5)}
    os.rename(config.data.root, tmp_path / "moved")
    assert len(good(begun, data=str(tmp_path / "lot")).new) == 5  # the run's own data is not there any more
    draw(tmp_path / "moved" / "train" / "good" / "003.png", 200)
    with pytest.raises(InputError, match="003.png: has changed since the run recorded it"):
        good(begun, data=str(tmp_path / "moved"))


@pytest.mark.parametrize("folder", ["good", "train", ""])
def test_pictures_of_other_layouts_are_known_again(tmp_path, folder):
    for i in range(10):
        draw(tmp_path / "product" / folder / f"{i:03d}.png", i)
    config = load_config(None, [f"data.root={json.dumps(str(tmp_path / 'product'))}", "data.held_out=0.2",
                                "data.channels=3"])
    data = prepare.training_data(config)
    run_folder.create_run(str(tmp_path / "run"), config, data.recorded)
    found = good_pictures.find(str(tmp_path / "run"), config)
    assert names(found.held_out) == names(data.held_out) and len(found.held_out) == 2 and not found.new and found.keep


def test_bad_pictures_beside_good_ones_are_not_named_with_them(begun, tmp_path, caplog):
    draw(tmp_path / "named" / "good" / "300.png", 300)
    draw(tmp_path / "named" / "bad" / "301.png", 301)
    assert names(good(begun, named=str(tmp_path / "named")).new) == {"300.png"}
    assert "bad/ left out, only good/" in caplog.text


def test_the_folder_may_move_and_pictures_be_renamed(begun):
    run, config, data = begun
    moved = config.data.root + "-moved"
    os.rename(config.data.root, moved)
    shutil.move(data.held_out[0].image.replace(config.data.root, moved), os.path.join(moved, "train", "good", "zz.png"))
    found = good(begun, data=moved)
    assert len(found.held_out) == 4 and "zz.png" in names(found.held_out) and not found.new and found.keep


def test_a_skipped_picture_moves_nothing(tmp_path):
    root = tmp_path / "product"
    for i in range(20):
        draw(root / "train" / "good" / f"{i:03d}.png", i)
    bad = root / "train" / "good" / "003.png"
    bad.write_bytes(bad.read_bytes()[:100])
    config = load_config(None, [f"data.root={json.dumps(str(root))}", "data.held_out=0.2", "data.channels=3",
                                "data.on_bad_image=skip", "data.max_skipped=0.1"])
    data, run = prepare.training_data(config), tmp_path / "run"
    run_folder.create_run(str(run), config, data.recorded)  # and killed: there is no summary.json
    assert data.recorded.names(recorded.SKIPPED) == ["train/good/003.png"]
    draw(bad, 3)  # mended since: the run never saw it
    found = good_pictures.find(str(run), config)
    assert names(found.held_out) == names(data.held_out) and not names(found.held_out) & names(data.train)


def test_a_picture_that_has_changed_is_refused_by_name(begun):
    draw(begun[2].train[5].image, 77)
    with pytest.raises(InputError, match=f"{begun[2].train[5].image}: has changed since"):
        good(begun)


def test_another_folder_may_serve_this_once_but_is_not_kept(begun, tmp_path):
    shutil.rmtree(begun[1].data.root)
    for i in range(3):
        draw(tmp_path / "other" / "train" / "good" / f"{i}.png", 200 + i)
    found = good(begun, data=str(tmp_path / "other"))
    assert len(found.new) == 3 and not found.held_out and not found.keep
    assert found.words == "3 good images that the run never saw"


def test_named_pictures_join_and_are_kept_unless_they_were_trained_on(begun, tmp_path):
    for i in range(3):
        draw(tmp_path / "flat" / f"{i}.png", 300 + i)
    found = good(begun, named=str(tmp_path / "flat"))
    assert len(found.held_out) == 4 and len(found.new) == 3 and found.keep
    assert found.sha256 != good(begun).sha256
    shutil.copy(begun[2].train[0].image, tmp_path / "flat" / "copy.png")
    with pytest.raises(InputError, match="copy.png is one of the pictures that the run was trained on"):
        good(begun, named=str(tmp_path / "flat"))


def test_an_equal_picture_in_both_parts_counts_as_trained_on(begun):
    run, config, data = begun
    shutil.copy(data.train[0].image, data.held_out[0].image)
    twice = prepare.training_data(config)
    shutil.rmtree(run)
    run_folder.create_run(run, config, twice.recorded)
    assert len(good(begun).held_out) == 3


def test_a_run_without_a_record_has_no_pictures_that_are_surely_its_own(begun, caplog):
    os.remove(os.path.join(begun[0], recorded.FILE))
    assert good(begun).records == [] and "does not say which pictures it held out" in caplog.text


@pytest.mark.parametrize("content", ["", "[]", '{"root": 1}', "[" * 100_000,
                                     '{"root": "a", "channels": 3, "depth": 8, "pictures": [1]}',
                                     '{"root": "a", "channels": 3, "depth": 8, "pictures": [["a"]]}'])
def test_a_damaged_record_is_named(begun, content):
    path = os.path.join(begun[0], recorded.FILE)
    with open(path, "w") as stream:
        stream.write(content)
    with pytest.raises(InputError, match="data.json: damaged"):
        good(begun)


# Going on with a run --------------------------------------------------------------------------------------------------


def again(begun):
    return prepare.training_data(begun[1], recorded.read(begun[0]))


def test_a_run_goes_on_with_its_own_pictures_in_its_own_order(begun, caplog):
    run, config, data = begun
    draw(os.path.join(config.data.root, "train", "good", "000_.png"), 99)
    found = again(begun)
    assert found.train == data.train and found.held_out == data.held_out
    assert "1 pictures have come since the run began and are left out, the first is train/good/000_.png" in caplog.text


@pytest.mark.parametrize("happens, words", [
    (lambda path: os.remove(path), "gone; the run cannot go on without it"),
    (lambda path: draw(path, 77), "the picture is not the one that the run began with")])
def test_a_run_does_not_go_on_with_other_pictures(begun, happens, words):
    happens(begun[2].train[2].image)
    with pytest.raises(InputError, match=f"{begun[2].train[2].image}: {words}"):
        again(begun)


def test_a_roi_belongs_to_what_a_run_began_with(begun):
    run, config, data = begun
    folder = os.path.join(config.data.root, "roi", "train", "good")
    os.makedirs(folder)
    for one in data.train + data.held_out:
        cv2.imwrite(os.path.join(folder, os.path.basename(one.image)), np.full((16, 16), 255, np.uint8))
    with pytest.raises(InputError, match="its ROI is not the one that the run began with"):
        again(begun)
