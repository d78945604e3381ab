"""train.py as a user runs it: its flags, bad settings and bad data in one line."""
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from tiny_training import FREE, arguments, summary

import train
from grdnet_tf.compat import keras


@pytest.mark.parametrize("more, words", [
    (["--set", "train.epoch=1"], "train.epochs"),
    (["--set", "train.batch_size=40"], "train.batch_size"),
    (["--set", "data.image_size=[18, 16]"], "divisible"),
    (["--set", "data.channels=1"], "data.channels"),
    (["--strategy", "multiworker"], "TF_CONFIG"),
    (["--set", "noise.sources={texture: 1}", "--set", "noise.textures=nowhere"], "nowhere: no texture"),
    (["--set", "validation.sources={texture: 1}"], "noise.textures"),
    (["--set", "noise.textures=woods"], "woods: nothing reads it"),
    (["--set", "noise.real=parts"], "parts: nothing reads it"),
    (["--jit", "--set", "train.deterministic=true"], "train.deterministic"),
    (["--set", "noise.sources={shades: 1}"], "shade"),
    (["--set", "noise.shapes={line: 0}"], "noise.shapes"),
])
def test_bad_settings_exit_2_with_one_line_and_no_folder(discs, tiny_config, tmp_path, capsys, more, words):
    run = tmp_path / "run"
    assert train.main(arguments(discs, run, tiny_config, *FREE, *more)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0], errors
    assert not run.exists()


def test_bad_data_exits_2(tiny_config, tmp_path, capsys):
    assert train.main(arguments(str(tmp_path / "absent"), tmp_path / "run", tiny_config)) == 2
    good = tmp_path / "train" / "good"
    good.mkdir(parents=True)
    assert train.main(arguments(str(tmp_path), tmp_path / "run", tiny_config)) == 2
    (good / "a.png").write_bytes(b"")
    (good / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert train.main(arguments(str(tmp_path), tmp_path / "run", tiny_config)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "absent" in lines[0] and "good" in lines[1] and "a.png" in lines[2] and not (tmp_path / "run").exists()


def test_a_newcomer_without_a_configuration_is_told_which_one_is_for_a_cpu(tmp_path, caplog):
    given = ["--data", str(tmp_path / "absent"), "--run", str(tmp_path / "run")]
    for more in ([], ["--config", "cpu"], ["--set", "method=padim"]):
        assert train.main([*given, *more]) == 2
    line, = [record.getMessage() for record in caplog.records]
    assert "no --config: the defaults, 200 epochs at 256 x 256, are for a GPU; on a CPU: --config cpu" in line


@pytest.mark.slow
def test_bad_pictures_can_be_skipped_and_are_listed(discs, tiny_config, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(discs, copy)
    (copy / "train" / "good" / "99.png").write_bytes(b"not a picture")
    more = [*FREE, "--set", "data.on_bad_image=skip", "--set", "data.max_skipped=0.1", "--epochs", "1"]
    run = tmp_path / "run"
    assert train.main(arguments(str(copy), run, tiny_config, *more)) == 0
    assert [os.path.basename(path) for path, _ in summary(run)["skipped"]] == ["99.png"]


def test_help_is_fast_and_imports_no_tensorflow(pytestconfig):
    code = "import sys, train\ntry: train.main(['--help'])\nexcept SystemExit: pass\nprint('tensorflow' in sys.modules)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=pytestconfig.rootpath, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.strip().endswith("False") and "--resume" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2  # CPU time: the machine may be busy


def test_one_set_takes_several_keys(capsys):
    """And the last of a key that is named twice."""
    assert train.main(["--config", "cpu", "--set", "train.epochs=3", "noise.defects=2", "--set", "train.epochs=4",
                       "--print-config"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["train"]["epochs"], config["noise"]["defects"]) == (4, 2)


def test_print_config_is_a_configuration(discs, tiny_config, tmp_path, capsys):
    assert train.main(arguments(discs, tmp_path / "run", tiny_config, "--print-config", "--seed", "5", "--set",
                                "noise.textures=woods", "--set", "noise.sources={texture: 1}")) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["noise"]["textures"] == os.path.abspath("woods")  # the run may be read from another folder
    assert printed["train"]["seed"] == 5 and printed["network"]["widths"] == [4, 8] and not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [
    ["--precision", "mixed_float16", "--set", "train.clip_norm=1", "--epochs", "1"],
    pytest.param(["--precision", "mixed_bfloat16", "--epochs", "1"], marks=pytest.mark.slow),
    pytest.param(["--jit", "--epochs", "1"], marks=pytest.mark.slow),
    ["--set", "noise.place=device", "--set", "train.schedule=cosine", "--set", "train.warmup_steps=2", "--epochs", "1"],
    pytest.param(["--set", "train.early_stopping=1", "--epochs", "50"], marks=pytest.mark.slow)], ids=" ".join)
def test_every_flag_trains(discs, tiny_config, tmp_path, more):
    run = tmp_path / "run"
    assert train.main(["--data", discs, "--run", str(run), "--config", tiny_config, *FREE, *more]) == 0
    assert keras.mixed_precision.global_policy().name == "float32"  # as before: exports of this process go by it
    assert np.isfinite(summary(run)["figures"]["loss"])
    if "train.early_stopping=1" in more:
        assert summary(run)["epochs"] < 50
