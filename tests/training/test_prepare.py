"""What a run trains on: measured once, and compared with what it will be tested on."""
import os
import shutil

import pytest
from drawn import photographs
from tiny_training import FREE, arguments, rows

import train
from grdnet_tf.config import load_config, replace
from grdnet_tf.data.records import Record
from grdnet_tf.errors import InputError
from grdnet_tf.training import prepare, run_folder


@pytest.mark.slow
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


def test_a_run_that_goes_on_does_not_hold_out_new_pictures_of_parts_that_were_trained_on(tmp_path):
    """20 parts of six shots. The parent knows four shots of each of the first 15; the others are new."""
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


def gone_on(tmp_path, shots, parents, new, *options):
    """What a run takes that begins from one on the first shots of `parents`; `new`: {part: shots}, beside those."""
    paths = photographs(tmp_path / "drawn", 20, shots)
    known = [path for path in paths if "/0_" in path and int(path[-7:-4]) in parents]
    copies(known, tmp_path / "first")
    overrides = [f"data.root={tmp_path / 'first'}", "data.held_out_by=part"]
    before = prepare.training_data(load_config(overrides=overrides))
    held = sorted(int(one.image[-7:-4]) for one in before.held_out)
    wanted = {(shot, part) for part, count in new(held).items() for shot in range(1, 1 + count)}
    added = [path for path in paths if (int(path.rpartition("/")[2][0]), int(path[-7:-4])) in wanted]
    copies(known + added, tmp_path / "all")
    overrides[0] = f"data.root={tmp_path / 'all'}"
    return held, prepare.training_data(load_config(overrides=[*overrides, *options]), parent=before.recorded)


def shown(records):
    return [int(one.image[-7:-4]) for one in records]


@pytest.mark.parametrize("new, more", [
    (lambda held: {held[0]: 1}, 1),                      # the only new picture
    (lambda held: {held[0]: 1, 0: 1}, 1),
    (lambda held: {held[0]: 2, 0: 3, 1: 3, 2: 3}, 2),
    (lambda held: {0: 3, 1: 3, 2: 3}, 0),                        # of trained parts alone
    (lambda held: {17: 3}, 0),                                   # one new part: not divided
])
def test_new_pictures_go_where_their_part_is(tmp_path, new, more):
    held, found = gone_on(tmp_path, 4, range(17), new)
    assert {0, 1, 2}.isdisjoint(held)
    assert sorted(shown(found.held_out)) == sorted(held + more * [held[0]])
    assert set(shown(found.held_out)).isdisjoint(shown(found.train))


def test_where_nothing_else_is_left_to_validate_on_new_pictures_are_drawn_one_by_one(tmp_path):
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


def test_training_on_what_the_parent_held_out_is_said(tmp_path, caplog):
    held, found = gone_on(tmp_path, 1, range(20), lambda held: {}, "data.held_out=0", "train.monitor=segmentation")
    assert len(found.train) == 20 and not found.held_out
    assert f"trained on are {len(held)} pictures, too, that the run of --from held out" in caplog.text


def test_pictures_that_are_held_out_and_trained_on_are_named(tmp_path, caplog):
    path = photographs(tmp_path, 1, 1)[0]
    for i in range(4):
        shutil.copy(path, f"{path[:-4]}{i}.png")
    found = prepare.training_data(load_config(overrides=[f"data.root={tmp_path}", "data.held_out_by=part"]))
    assert len(found.held_out) == 1 and "warning: 1 of the 1 held-out pictures are trained on as well" in caplog.text
    assert found.held_out[0].image in caplog.text


@pytest.mark.filterwarnings("error")
def test_one_picture_is_too_few_and_its_folder_is_named(tmp_path):
    photographs(tmp_path, 1, 1)
    with pytest.raises(InputError, match=f"^{tmp_path}: 1 training picture"):
        prepare.training_data(load_config(overrides=[f"data.root={tmp_path}", "data.held_out_by=part"]))


def beside(rois, held_out=2, **changes):
    """The options of features, decided for good pictures with these regions of interest."""
    records = [Record(f"{i}.png", None, roi, 0, "good") for i, roi in enumerate(rois)]
    config = replace(load_config("cpu"), **changes)
    return prepare.beside(config, prepare.Data(records, records[:held_out], 1, 8, [], None)).features


def test_padim_judges_beside_grdnet_unless_regions_move_or_nothing_is_held_out(caplog):
    caplog.set_level("INFO")
    assert beside([None] * 4).fused is beside(["all.png"] * 4).fused is True
    assert caplog.messages == 2 * ["features.fused: GRD-Net and PaDiM judge together"]
    for found, reason in ((beside(["a.png", "b.png", "c.png"]), "pictures have regions of interest of their own"),
                          (beside([None] * 4, held_out=0), "no pictures are held out"),
                          (beside([None] * 4, station__tiles=(96, 32)), "station.tiles are set"),
                          (beside([None] * 4, network__widths=(16, 32), network__segmenter_widths=(16, 32),
                                  data__image_size=(72, 72), data__crop=None), "data.image_size is not divisible by 16"),
                          (beside([None] * 4, data__image_size=(32768, 32768)), "more memory than there is")):
        assert found.fused is False and reason in caplog.text
    assert beside(["a.png", "b.png"], features__fused=True).fused and not beside([None], features__fused=False).fused
    alone = beside(["a.png", "b.png"], features__ridge=0.1)
    assert (alone.fused, alone.ridge, alone.backbone) == (False, 0.01, "scattering")


def test_windows_need_not_be_divisible_by_what_padim_sees_of_whole_pictures():
    assert beside([None] * 4, network__widths=(16, 32), network__segmenter_widths=(16, 32), network__discriminator_widths=(8, 16),
                  data__image_size=(64, 64), data__crop=(36, 36)).fused is True
