"""Pictures that vanish, break or change while a run needs them: named, and no step is lost."""
import os
import re
import shutil

import cv2
import numpy as np
import pytest
from quick_runs import newest, prepared, rows

from grdnet_tf.errors import InputError
from grdnet_tf.training import building, fit

pytestmark = pytest.mark.slow  # many small runs


def test_a_picture_that_vanishes_is_named_and_the_last_step_kept(data, config_file, resume, start, tmp_path):
    """One of the third batch, so that two steps are whole when it is missed."""
    config, found = prepared(config_file, data)
    stream = building.training_stream(building.build_model(config), config, found)
    lost = stream.files(2)[0]
    aside = str(tmp_path / "aside.png")
    shutil.move(lost, aside)
    run = str(tmp_path / "run")
    with pytest.raises(InputError, match=re.escape(os.path.basename(lost)) + ".*after step 2: .*--resume"):
        fit.run(config, found, run, False)
    arrays, state = newest(run)
    assert (state["epoch"], state["step"]) == (0, 2)
    assert arrays["optimizer/generator/000"] == 2  # the optimizers' counters, too
    assert resume() == 2  # the picture is still away
    shutil.move(aside, lost)
    assert resume() == 0
    whole = str(tmp_path / "whole")
    assert fit.run(config, found, whole, False) == 0
    one, other = newest(run)[0], newest(whole)[0]
    assert one["optimizer/segmenter/000"] == other["optimizer/segmenter/000"] == 6
    np.testing.assert_allclose(one["segmenter/000"], other["segmenter/000"], atol=1e-6)


def test_a_held_out_picture_that_breaks_loses_no_step(data, config_file, resume, tmp_path):
    config, found = prepared(config_file, data, "train.ema=0.9")
    lost = found.held_out[1].image
    contents = open(lost, "rb").read()
    with open(lost, "wb") as stream:
        stream.write(contents[:len(contents) // 2])
    run = str(tmp_path / "run")
    with pytest.raises(InputError, match=re.escape(os.path.basename(lost)) + ".*after step 3: "):
        fit.run(config, found, run, False)
    assert newest(run)[1]["step"] == 3  # before the validation
    with open(lost, "wb") as stream:
        stream.write(contents)
    assert resume() == 0
    whole = str(tmp_path / "whole")
    assert fit.run(config, found, whole, False) == 0
    ours, theirs = rows(run), rows(whole)
    assert list(ours[0]) == list(theirs[0]) and len(ours) == 2
    for name in theirs[0]:
        if name != "minutes":
            assert float(ours[0][name]) == pytest.approx(float(theirs[0][name]), rel=1e-4), name


def test_a_picture_changed_in_place_is_noticed(start, resume, data, tmp_path, capsys):
    """A BMP, of which another drawing has the same size."""
    path = os.path.join(data, "train", "good", "99.bmp")
    cv2.imwrite(path, np.full((20, 20, 3), 100, np.uint8))
    assert start("--epochs", "1") == 0
    size = os.path.getsize(path)
    cv2.imwrite(path, np.full((20, 20, 3), 101, np.uint8))
    assert os.path.getsize(path) == size
    assert resume("--epochs", "2") == 2
    assert "99.bmp: the picture is not the one that the run began with" in capsys.readouterr().err
