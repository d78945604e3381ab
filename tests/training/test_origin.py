"""Going on from another run: its weights, its configuration as the base, its record; added folders of good pictures."""
import collections
import json
import logging
import os
import shutil

import numpy as np
import pytest
import yaml
from quick_runs import FREE, SETTINGS, newest

from benchmarks import faults
from grdnet_tf.cli import train
from grdnet_tf.config import load_config
from grdnet_tf.errors import InputError
from grdnet_tf.storage import fingerprint, read_arrays
from grdnet_tf.training import good_pictures, prepare, recorded, run_folder

STEPS = ["--set", "train.steps_per_epoch=1", "--epochs", "1"]


def said(capsys, argv):
    """The one line of a refusal."""
    capsys.readouterr()
    assert train.main(argv) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def best(run):
    return read_arrays(os.path.join(str(run), run_folder.BEST))[0]


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """(run folder, its data) of a run of one step, to be left as it is."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("parent")
    file, data = folder / "quick.yaml", faults.draw(str(folder / "data"))
    file.write_text(yaml.safe_dump({**SETTINGS, "train": {**SETTINGS["train"], "ema": 0.9}}))
    tf.config.run_functions_eagerly(True)
    given = ["--data", data, "--config", str(file), "--run", str(folder / "run"), "--no-jit", *FREE, *STEPS]
    assert train.main(given) == 0
    tf.config.run_functions_eagerly(False)
    return str(folder / "run"), data


def test_other_data_with_a_region_brings_its_own(parent, tmp_path):
    run = str(shutil.copytree(parent[0], tmp_path / "run"))
    open(os.path.join(run, "roi.json"), "w").write('{"unit": "share", "shapes": [{"box": [0, 0, 0.5, 1]}]}')
    open(os.path.join(run, "station.yaml"), "w").write("roi: roi.json\n")
    data = str(shutil.copytree(parent[1], tmp_path / "data"))

    def region():
        return train.new_config(train.parser().parse_args(["--from", run, "--data", data])).station.roi

    assert region() == os.path.join(run, "roi.json")  # the camera's, where nothing else is said
    open(os.path.join(data, "roi.json"), "w").write('{"unit": "share", "shapes": [{"box": [0.5, 0, 1, 1]}]}')
    assert region() is None


@pytest.fixture
def more(tmp_path):
    """A folder of 9 pictures: 5 new ones, one of those again, three that the discs of `parent` are too."""
    new, folder = faults.draw(str(tmp_path / "drawn"), count=20, side=22), tmp_path / "more"
    folder.mkdir()
    for i in range(5):
        shutil.copy(os.path.join(new, "train", "good", f"{i + 10:02d}.png"), folder / f"new{i}.png")
    shutil.copy(folder / "new0.png", folder / "twice.png")
    return str(folder)


def test_it_begins_with_the_best_weights_and_says_so(eager, parent, tmp_path, caplog):
    run, data = parent
    child = str(tmp_path / "child")
    caplog.set_level(logging.INFO)
    assert train.main(["--from", run, "--run", child, *STEPS, "--set", "train.learning_rate=0"]) == 0
    config = run_folder.read_config(child)
    weights = best(run)
    assert config.origin.parent == run and config.origin.weights_sha256 == fingerprint(weights)
    assert config.origin.updates == 0 and config.train.ema == 0.9 and config.data.root == data  # the parent's own
    assert f"from the best weights of {run}, fresh optimizers" in caplog.text
    kernels = [name for name, array in weights.items() if array.ndim > 1]
    assert len(kernels) > 10
    for name in kernels:  # at a rate of 0 they stay; the moments of batch normalisation do not
        np.testing.assert_allclose(best(child)[name], weights[name], rtol=1e-5, atol=1e-7)
    counts = [array for name, array in newest(child)[0].items() if name == "optimizer/generator/000"]
    assert counts == [1]


def test_kept_optimizers_go_on_counting_and_the_schedule_begins_anew(eager, parent, tmp_path):
    run, _ = parent
    child = str(tmp_path / "child")
    assert train.main(["--from", run, "--keep-optimizers", "--run", child, *STEPS, "--set", "train.learning_rate=0.5",
                       "--set", "train.epochs=1"]) == 0
    before, after = newest(run)[0], newest(child)[0]
    assert run_folder.read_config(child).origin.updates == 1 and after["optimizer/generator/000"] == 2
    moments = [name for name in before if name.startswith("optimizer/generator/") and before[name].ndim > 1]
    assert moments and any(np.any(before[name]) for name in moments)
    rate = run_folder.read_config(child).train.learning_rate
    with open(os.path.join(child, "metrics.csv"), encoding="utf-8") as stream:
        head, row = stream.read().splitlines()
    assert float(dict(zip(head.split(","), row.split(",")))["learning_rate_generator"]) == rate == 0.5


def test_what_it_takes_and_refuses(parent, tmp_path, capsys):
    run, _ = parent
    begin = ["--from", run, "--run", str(tmp_path / "child")]
    for more, words in ((["--set", "network.latent=5"], "network.latent = 5, but"),
                        (["--set", "network.widths=[4]"], "network.widths = (4,), but"),
                        (["--set", "loss.adversarial=1"], "loss.adversarial = 1.0, but"),
                        (["--set", "data.channels=1"], "data.channels = 1, but")):
        line = said(capsys, [*begin, *more])
        assert words in line and line.endswith("another architecture")
    kept = [*begin, "--keep-optimizers", "--set", "train.schedule=cosine"]
    assert "train.schedule = cosine, but" in said(capsys, kept)
    assert "go with a new --run" in said(capsys, ["--resume", *begin])
    assert "goes with --from" in said(capsys, ["--keep-optimizers", "--run", "x"])
    assert "nothing: no run here" in said(capsys, ["--from", str(tmp_path / "nothing"), "--run", "x"])
    fitted = str(tmp_path / "fitted")
    run_folder.create_run(fitted, load_config("padim", [f"data.root={parent[1]}"]))
    assert "method: padim is fitted in one pass" in said(capsys, ["--from", fitted, "--run", "x"])
    assert not os.path.exists(tmp_path / "child")


@pytest.mark.slow
def test_a_parent_that_has_gone_on_is_not_begun_from_again(eager, parent, tmp_path, capsys):
    """A run that is killed before its first checkpoint begins again, with the weights that its record names."""
    copy, child = shutil.copytree(parent[0], str(tmp_path / "copy")), str(tmp_path / "child")
    assert train.main(["--from", copy, "--run", child, *STEPS]) == 0
    whole = faults.result(child)
    for name in os.listdir(os.path.join(child, "checkpoints")):
        os.remove(os.path.join(child, "checkpoints", name))
    os.remove(os.path.join(child, "summary.json"))
    assert train.main(["--run", child, "--resume"]) == 0
    assert faults.differences(faults.result(child), whole) == []
    for name in os.listdir(os.path.join(child, "checkpoints")):
        os.remove(os.path.join(child, "checkpoints", name))
    assert train.main(["--run", copy, "--resume", "--epochs", "3", "--set", "train.image_every=0"]) == 0
    shutil.copy(os.path.join(child, run_folder.BEST), os.path.join(copy, run_folder.BEST))
    assert "has gone on since" in said(capsys, ["--run", child, "--resume"])


@pytest.mark.slow
def test_what_the_parent_learnt_is_known_and_what_it_held_out_stays_so(eager, parent, more, tmp_path, caplog):
    run, data = parent
    child = str(tmp_path / "child")
    assert train.main(["--from", run, "--add-good", more, "--run", child, *STEPS]) == 0
    assert "--add-good: 1 pictures are there already and are used once" in caplog.text and "twice.png" in caplog.text
    before, after = recorded.read(run), recorded.read(child)
    assert set(before.names("trained")) < set(after.names("trained"))
    assert set(before.names("held_out")) < set(after.names("held_out"))
    added = [entry for entry in after.entries if os.path.isabs(entry.name)]
    assert len(added) == 5 and {entry.part for entry in added} == {"trained", "held_out"}
    config = run_folder.read_config(child)
    assert config.data.add_good == (more,)
    good = good_pictures.find(child, config)
    assert len(good.held_out) == len(after.names("held_out")) == 4 and not good.new
    again = prepare.training_data(config.model_copy(update={"data": config.data.replace(add_repeat=3)}), after)
    counts = collections.Counter(one.image for one in again.train)
    assert {os.path.dirname(path) == more: n for path, n in counts.items()} == {True: 3, False: 1}
    own = os.path.join(child, "config.yaml")
    assert train.main(["--run", child, "--resume", "--epochs", "2", "--config", own]) == 0
    # On other pictures alone: those of before are not there, but no threshold may be fitted on them.
    alone = str(tmp_path / "alone")
    assert train.main(["--from", child, "--data", more, "--run", alone, *STEPS]) == 0
    known = recorded.read(alone)
    assert set(known.learnt.values()) == {"trained", "before"}
    with pytest.raises(InputError, match="is one of the pictures that the run was trained on"):
        good_pictures.find(alone, run_folder.read_config(alone), named=data)


def test_added_pictures_have_the_one_roi_of_the_data(parent, more, tmp_path, caplog):
    from grdnet_tf.data import selection

    data = shutil.copytree(parent[1], str(tmp_path / "data"))
    with open(os.path.join(data, "roi.json"), "w", encoding="utf-8") as stream:
        json.dump({"unit": "share", "shapes": [{"box": [0, 0, 0.5, 1]}]}, stream)
    records = selection.training_records(data, [more])
    assert len(records) == 20 and len({one.roi for one in records}) == 1 and records[-1].roi is not None


@pytest.mark.slow
def test_real_defects_are_recorded_and_a_changed_mask_is_refused(eager, parent, tmp_path, capsys):
    import cv2

    real, child = tmp_path / "real", str(tmp_path / "child")
    for part in ("test", "ground_truth"):
        (real / part / "crack").mkdir(parents=True)
    mask = np.zeros((20, 20), np.uint8)
    mask[4:12, 5:11] = 255
    cv2.imwrite(str(real / "test" / "crack" / "0.png"), np.full((20, 20, 3), 30, np.uint8))
    cv2.imwrite(str(real / "ground_truth" / "crack" / "0_mask.png"), mask)
    given = ["--set", "noise.sources={real: 1}", "--set", f"noise.real={real}"]
    assert train.main(["--from", parent[0], "--run", child, *given, *STEPS]) == 0
    known = recorded.read(child)
    assert [os.path.basename(name) for name in known.names("noise")] == ["0.png"]
    assert train.main(["--run", child, "--resume", "--epochs", "2"]) == 0
    cv2.imwrite(str(real / "ground_truth" / "crack" / "0_mask.png"), mask.T)
    assert "0.png: its mask is not the one that the run began with" in said(capsys, ["--run", child, "--resume"])
    shutil.rmtree(real / "ground_truth")
    assert "has no mask" in said(capsys, ["--from", parent[0], "--run", str(tmp_path / "x"), *given])
