"""A run on shards is the run on their folder; it goes on with the same shards only, and says what is gone."""
import os
import re
import shutil
import signal

import numpy as np
import pytest
from quick_runs import newest, prepared
from tiny_training import arguments, complete, start, wait_for_checkpoint

from benchmarks import faults
from grdnet_tf.data.records import list_mvtec
from grdnet_tf.data.shard_rows import Wanted
from grdnet_tf.data.shard_writing import write
from grdnet_tf.errors import InputError
from grdnet_tf.training import building, fit, recorded


@pytest.fixture
def sets(data, tmp_path):
    """The folder of a run's test, in a shard and in several."""
    for name, size in (("one", 150_000_000), ("several", 4000)):
        write(data, str(tmp_path / name), ("train",), Wanted(size=size))
    return str(tmp_path / "one"), str(tmp_path / "several")


def test_the_same_pictures_are_trained_on_and_held_out(data, sets, config_file, tmp_path):
    (_, ours), (_, one), (_, several) = (prepared(config_file, root) for root in (data, *sets))
    assert ours.recorded.entries == one.recorded.entries == several.recorded.entries
    assert ours.recorded.fingerprint == one.recorded.fingerprint != several.recorded.fingerprint
    for name, found in (("one", one), ("several", several)):
        os.mkdir(tmp_path / f"run-{name}")
        recorded.write(str(tmp_path / f"run-{name}"), found.recorded)
        assert recorded.read(str(tmp_path / f"run-{name}")) == found.recorded


def test_a_run_goes_on_with_the_shards_that_it_began_with(data, sets):
    """Those of the folder in one shard come in the folder's order; in several they do not."""
    one, several = sets
    found = {root: recorded.record(root, 3, 8, {recorded.TRAINED: list_mvtec(root, "train")}) for root in (data, *sets)}
    for began, goes_on in ((data, one), (one, data), (several, several)):
        same = recorded.same_pictures(found[began], list_mvtec(goes_on, "train"), goes_on)
        assert [os.path.relpath(record.image, goes_on) for record in same[recorded.TRAINED]] == found[began].names(
            recorded.TRAINED)
    for began, goes_on in ((data, several), (several, one)):
        with pytest.raises(InputError, match="in other shards than those that the run began with"):
            recorded.same_pictures(found[began], list_mvtec(goes_on, "train"), goes_on)


@pytest.mark.slow
def test_a_shard_that_vanishes_is_named_and_the_last_step_kept(eager, sets, config_file, resume, tmp_path, capsys):
    config, found = prepared(config_file, sets[1])
    batches = building.training_stream(building.build_model(config), config, found)
    files = [{record.image.table.files[record.image.table.shard[record.image.row]] for record in batches.batch(step)}
             for step in range(3)]
    lost = sorted(files[2] - files[0] - files[1])[0]  # of the third batch alone
    shutil.move(lost, lost + ".aside")
    run = str(tmp_path / "run")
    with pytest.raises(InputError, match=re.escape(lost) + ": No such file.*after step 2: .*--resume"):
        fit.run(config, found, run, False)
    assert newest(run)[1]["step"] == 2
    assert resume() == 2
    assert re.search(f"error: {re.escape(lost)}: No such file or directory\n$", capsys.readouterr().err)
    shutil.move(lost + ".aside", lost)
    assert resume() == 0
    whole = str(tmp_path / "whole")
    assert fit.run(config, found, whole, False) == 0
    np.testing.assert_allclose(newest(run)[0]["segmenter/000"], newest(whole)[0]["segmenter/000"], atol=1e-6)


@pytest.mark.slow
def test_a_killed_run_on_shards_resumes_to_the_same_bits(discs, tiny_config, tmp_path):
    out = str(tmp_path / "several")
    write(discs, out, ("train",), Wanted(size=5000))
    complete(*arguments(out, tmp_path / "whole", tiny_config))
    run = tmp_path / "killed"
    process = start(*arguments(out, run, tiny_config))
    wait_for_checkpoint(run, 6, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode == -9
    output = complete("--run", str(run), "--resume")
    assert faults.differences(*(faults.result(str(tmp_path / name)) for name in ("killed", "whole"))) == [], output


@pytest.mark.slow
def test_a_run_on_one_shard_is_the_run_on_the_folder(finished, discs, tiny_config, tmp_path):
    out = str(tmp_path / "one")
    write(discs, out, ("train",))
    complete(*arguments(out, tmp_path / "run", tiny_config))
    assert faults.differences(faults.result(str(tmp_path / "run")), faults.result(str(finished))) == []
