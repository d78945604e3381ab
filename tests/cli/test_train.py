"""train.py as a user runs it: run folder, exact resume after a real kill, bad input, and what a run promises."""
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import yaml

import train
from grdnet_tf.config import load_config
from grdnet_tf.storage import read_arrays
from grdnet_tf.training import fit, runs

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SETTINGS = {
    "data": {"image_size": [16, 16], "held_out": 0.2},
    "network": {"widths": [4, 8], "stem": 0, "blocks": 1, "latent": 4, "discriminator_widths": [4, 8],
                "segmenter_widths": [4, 8], "score_pool": 3},
    "noise": {"scales": [0, 3], "min_area": 2, "threshold": [0.0, 0.3]},
    "validation": {"views": 4, "scales": [0, 2], "min_area": 2},
    "train": {"epochs": 3, "steps_per_epoch": 5, "batch_size": 4, "learning_rate": 0.002, "ema": 0.9, "image_every": 2,
              "plateau_patience": 1, "deterministic": True, "checkpoint_steps": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with only train/good: 15 small pictures of a disc on a gradient."""
    root = tmp_path_factory.mktemp("product")
    (root / "train" / "good").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(15):
        image = np.tile(np.linspace(40, 120, 20, dtype=np.float32)[:, None, None], (1, 20, 3))
        cv2.circle(image, tuple(int(v) for v in rng.integers(8, 12, 2)), 5, (200, 180, 160), -1)
        cv2.imwrite(str(root / "train" / "good" / f"{i:02d}.png"), image + rng.normal(0, 4, image.shape))
    return str(root)


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return str(path)


FREE = ["--set", "train.deterministic=false"]  # what a run within this process must have, see `start`


def arguments(data, run, config_file, *more):
    return ["--data", data, "--run", str(run), "--config", config_file, "--no-jit", *more]


def start(*argv, **variables):
    """train.py in a process of its own. What runs deterministically must: there is no way back from that in a process,
    and XLA then refuses the gradient of max pooling to all tests that follow."""
    environment = dict(os.environ, PYTHONPATH=ROOT, TF_CPP_MIN_LOG_LEVEL="3", **variables)
    return subprocess.Popen([sys.executable, os.path.join(ROOT, "train.py"), *argv], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def complete(*argv, code=0):
    """What such a process writes, once it has ended with `code`."""
    process = start(*argv)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


def summary(run):
    return json.loads((run / "summary.json").read_text())


def rows(run):
    """metrics.csv without the minutes, which no seed can repeat."""
    with open(run / "metrics.csv", newline="") as stream:
        return [{k: v for k, v in row.items() if k != "minutes"} for row in csv.DictReader(stream)]


def events(run):
    """(tag, value) of everything in the run's TensorBoard files."""
    import tensorflow as tf

    return [(value.tag, value) for file in (run / "tensorboard").iterdir()
            for record in tf.data.TFRecordDataset(str(file))
            for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value]


@pytest.fixture(scope="module")
def finished(data, config_file, tmp_path_factory):
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    complete(*arguments(data, run, config_file))
    return run


# The run folder -------------------------------------------------------------------------------------------------------


def test_the_run_folder_explains_itself(finished):
    assert {"config.yaml", "environment.json", "metrics.csv", "tensorboard", "checkpoints", "best",
            "summary.json"} <= set(os.listdir(finished))
    assert len(rows(finished)) == 3 and {"l1", "ssim", "adversarial", "encoder", "discriminator", "segmentation",
                                         "val_segmentation", "learning_rate_generator"} <= set(rows(finished)[0])
    figures = summary(finished)
    assert figures["skipped"] == [] and len(figures["weights_sha256"]) == 64 and figures["peak_rss_mb"] > 50
    assert figures["train_images"] == 12 and figures["held_out_images"] == 3
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["packages"]["tensorflow"] and environment["python"]
    assert sorted(os.listdir(finished / "checkpoints")) == ["step-000000014.npz", "step-000000015.npz"]
    assert not [name for _, _, names in os.walk(finished) for name in names if name.endswith(".tmp")]


def test_tensorboard_holds_scalars_and_picture_strips(finished):
    assert {"segmentation", "val_segmentation", "learning_rate_segmenter"} <= {tag for tag, _ in events(finished)}
    strip = next(value for tag, value in events(finished) if tag.startswith("image | noisy"))
    width, height = (int(side) for side in strip.tensor.string_val[:2])
    assert (width, height) == (6 * 16, 16)


def test_the_best_weights_are_those_of_the_best_epoch_and_load(finished):
    from grdnet_tf.training.runs import load_run

    validation = [float(row["val_segmentation"]) for row in rows(finished)]
    _, state = read_arrays(str(finished / "best" / "weights.npz"))
    assert state["value"] == min(validation) and state["epoch"] == 1 + int(np.argmin(validation))
    run = load_run(str(finished))
    assert run.model(np.zeros((1, 16, 16, 3), np.float32)).score.shape == (1,)


def test_the_stored_configuration_repeats_the_run_with_other_parallelism(finished, tmp_path):
    run = tmp_path / "again"
    complete("--config", str(finished / "config.yaml"), "--run", str(run), "--set", "data.parallel_calls=1",
             "--set", "data.cache=none")
    assert summary(run)["weights_sha256"] == summary(finished)["weights_sha256"]
    assert rows(run) == rows(finished)


def test_a_run_is_never_overwritten(finished, data, config_file, capsys):
    before = sorted((p, p.stat().st_mtime_ns) for p in finished.rglob("*"))
    assert train.main(arguments(data, finished, config_file)) == 2
    assert "--resume" in capsys.readouterr().err
    assert sorted((p, p.stat().st_mtime_ns) for p in finished.rglob("*")) == before


# Resume ---------------------------------------------------------------------------------------------------------------


def wait_for_checkpoint(run, least_step, process):
    """Until a checkpoint of at least that step lies there."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        folder = run / "checkpoints"
        names = sorted(folder.glob("step-*.npz")) if folder.is_dir() else []
        if names and int(names[-1].stem.split("-")[1]) >= least_step:
            return
        time.sleep(0.002)
    pytest.fail(f"no checkpoint of step {least_step} or later: {process.communicate()[0]}")


@pytest.mark.parametrize("number, least_step, code", [(signal.SIGKILL, 6, -9), (signal.SIGTERM, 1, 143)])
def test_a_killed_run_resumes_to_the_same_bits(finished, data, config_file, tmp_path, number, least_step, code):
    run = tmp_path / "killed"
    process = start(*arguments(data, run, config_file))
    wait_for_checkpoint(run, least_step, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    assert not (run / "summary.json").exists()
    output = complete("--run", str(run), "--resume")
    assert summary(run)["weights_sha256"] == summary(finished)["weights_sha256"], output
    assert rows(run) == rows(finished)
    best = [read_arrays(str(r / "best" / "weights.npz"))[0] for r in (run, finished)]
    assert all(np.array_equal(best[0][name], best[1][name]) for name in best[1])


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(finished, tmp_path):
    run = tmp_path / "copy"
    shutil.copytree(finished, run)
    (run / "summary.json").unlink()
    newest = run / "checkpoints" / "step-000000015.npz"
    newest.write_bytes(newest.read_bytes()[:1000])
    output = complete("--run", str(run), "--resume")
    assert "step-000000015.npz: damaged" in output and "going back to the checkpoint before" in output
    assert summary(run)["weights_sha256"] == summary(finished)["weights_sha256"]


def test_a_finished_run_can_go_on_for_more_epochs(finished, tmp_path):
    run = tmp_path / "longer"
    shutil.copytree(finished, run)
    complete("--run", str(run), "--resume", "--epochs", "4")
    assert len(rows(run)) == 4 and rows(run)[:3] == rows(finished)


@pytest.mark.parametrize("extra, words", [
    (["--set", "network.latent=5"], ["network.latent", "another architecture"]),
    (["--set", "train.learning_rate=1"], ["train.learning_rate", "may change"])])
def test_resume_refuses_another_run(finished, extra, words, capsys):
    assert train.main(["--run", str(finished), "--resume", *extra]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words) and message.count("\n") == 1


def test_the_orientation_is_measured_once_and_kept(data, config_file, tmp_path, capsys):
    """Of the discs on a gradient from top to bottom some turns are natural, upside down is not."""
    run = tmp_path / "run"
    given = [*arguments(data, run, config_file), *FREE, "--set", "data.orientation=measured"]
    assert train.main([*given, "--epochs", "1"]) == 0
    stored = runs.read_config(str(run)).data
    assert stored.flip_horizontal and not stored.flip_vertical and 0 < stored.rotation < load_config().data.rotation
    assert train.main([*given, "--epochs", "2", "--resume"]) == 0
    assert runs.read_config(str(run)).data == stored and len(rows(run)) == 2
    assert train.main(["--run", str(run), "--resume", "--set", "data.rotation=1.5"]) == 2
    assert "--resume: data.rotation = 1.5" in capsys.readouterr().err


def test_too_few_pictures_to_measure_the_orientation_are_named(data, config_file, caplog):
    config = load_config(config_file, [f"data.root={data}", "data.held_out=0.5", "data.orientation=measured"])
    assert runs.oriented(config, runs.training_data(config)) == config
    assert "7 pictures" in caplog.text


def test_resume_refuses_other_pictures(finished, data, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (other / "train" / "good" / "00.png").unlink()
    output = complete("--run", str(finished), "--resume", "--data", str(other), "--epochs", "9", code=2)
    assert "error: --resume: the pictures in train/good are not those" in output


def test_resume_without_a_run(tmp_path, capsys):
    assert train.main(["--run", str(tmp_path / "nothing"), "--resume"]) == 2
    assert "nothing: no run here" in capsys.readouterr().err


# Bad input and broken training ----------------------------------------------------------------------------------------


def test_nan_stops_the_run_with_step_term_and_files(data, config_file, tmp_path, capsys):
    run = tmp_path / "nan"
    code = train.main(arguments(data, run, config_file, *FREE, "--set", "train.learning_rate=1e30"))
    message = capsys.readouterr().err
    assert code == 1 and "not finite" in message and ".png" in message and "step " in message
    assert not (run / "summary.json").exists()
    for checkpoint in (run / "checkpoints").iterdir():
        arrays, _ = read_arrays(str(checkpoint))
        assert all(np.all(np.isfinite(a)) for name, a in arrays.items() if name.startswith("generator"))


@pytest.mark.parametrize("more, words", [
    (["--set", "train.epoch=1"], "train.epochs"),
    (["--set", "train.batch_size=40"], "train.batch_size"),
    (["--set", "data.image_size=[18, 16]"], "divisible"),
    (["--set", "data.channels=1"], "data.channels"),
    (["--strategy", "multiworker"], "TF_CONFIG"),
    (["--set", "noise.sources={texture: 1}", "--set", "noise.textures=nowhere"], "nowhere: no texture"),
    (["--set", "validation.sources={texture: 1}"], "noise.textures"),
    (["--jit", "--set", "train.deterministic=true"], "train.deterministic"),
    (["--set", "noise.sources={shades: 1}"], "shade"),
    (["--set", "noise.shapes={line: 0}"], "noise.shapes"),
])
def test_bad_settings_exit_2_with_one_line_and_no_folder(data, config_file, tmp_path, capsys, more, words):
    run = tmp_path / "run"
    assert train.main(arguments(data, run, config_file, *FREE, *more)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0], errors
    assert not run.exists()


def test_bad_data_exits_2(config_file, tmp_path, capsys):
    assert train.main(arguments(str(tmp_path / "absent"), tmp_path / "run", config_file)) == 2
    good = tmp_path / "train" / "good"
    good.mkdir(parents=True)
    assert train.main(arguments(str(tmp_path), tmp_path / "run", config_file)) == 2
    (good / "a.png").write_bytes(b"")
    (good / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert train.main(arguments(str(tmp_path), tmp_path / "run", config_file)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "absent" in lines[0] and "good" in lines[1] and "a.png" in lines[2] and not (tmp_path / "run").exists()


def test_bad_pictures_can_be_skipped_and_are_listed(data, config_file, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    (copy / "train" / "good" / "99.png").write_bytes(b"not a picture")
    more = [*FREE, "--set", "data.on_bad_image=skip", "--set", "data.max_skipped=0.1", "--epochs", "1"]
    run = tmp_path / "run"
    assert train.main(arguments(str(copy), run, config_file, *more)) == 0
    assert [os.path.basename(path) for path, _ in summary(run)["skipped"]] == ["99.png"]


def test_pictures_that_are_tested_on_what_was_learnt_are_named(data, tmp_path, caplog):
    from grdnet_tf.config import load_config
    from grdnet_tf.training import runs

    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    (copy / "test" / "good").mkdir(parents=True)
    shutil.copy(copy / "train" / "good" / "03.png", copy / "test" / "good" / "seen.png")
    runs.training_data(load_config(overrides=[f"data.root={copy}"]))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and "03.png" in warnings[0] and "seen.png" in warnings[0]


def test_help_is_fast_and_imports_no_tensorflow():
    code = "import sys, train\ntry: train.main(['--help'])\nexcept SystemExit: pass\nprint('tensorflow' in sys.modules)"
    times = []
    for _ in range(3):
        begin = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        times.append(time.monotonic() - begin)
    assert done.stdout.strip().endswith("False") and "--resume" in done.stdout
    assert min(times) < 1.0


def test_print_config_is_a_configuration(data, config_file, tmp_path, capsys):
    assert train.main(arguments(data, tmp_path / "run", config_file, "--print-config", "--seed", "5", "--set",
                                "noise.textures=woods")) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["noise"]["textures"] == os.path.abspath("woods")  # the run may be read from another folder
    assert printed["train"]["seed"] == 5 and printed["network"]["widths"] == [4, 8] and not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [
    ["--precision", "mixed_float16", "--set", "train.clip_norm=1"], ["--precision", "mixed_bfloat16"], ["--jit"],
    ["--set", "noise.place=device", "--set", "train.schedule=cosine", "--set", "train.warmup_steps=2"],
    ["--set", "train.early_stopping=1", "--epochs", "50"]], ids=" ".join)
def test_every_flag_trains(data, config_file, tmp_path, more):
    from grdnet_tf.compat import keras

    run = tmp_path / "run"
    try:
        assert train.main(["--data", data, "--run", str(run), "--config", config_file, *FREE, *more]) == 0
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(summary(run)["figures"]["loss"])
    if "train.early_stopping=1" in more:
        assert summary(run)["epochs"] < 50


def test_mirrored_replicas_train(data, config_file, tmp_path):
    """In a process of its own: TensorFlow mixes up the collective ops of two such strategies in one."""
    complete(*arguments(data, tmp_path / "run", config_file, "--strategy", "mirrored", "--epochs", "1"))
    assert np.isfinite(summary(tmp_path / "run")["figures"]["loss"])


def test_textures_from_a_folder_are_shown_as_defects(data, config_file, tmp_path):
    """Pictures of 16 x 24, green textures, every defect replaces: the strips in TensorBoard show green in the mask."""
    import tensorflow as tf

    for i, side in enumerate((30, 40)):
        (tmp_path / "textures" / str(i)).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "textures" / str(i) / "t.png"), np.full((side, 20, 3), (0, 250, 0), np.uint8))
    run, textures = tmp_path / "run", f"noise.textures={tmp_path / 'textures'}"
    settings = ["data.image_size=[16, 24]", textures, "noise.sources={texture: 1}", "noise.opacity=[1, 1]",
                "validation.sources={texture: 1}", "validation.opacity=[1, 1]", "validation.probability=1",
                "validation.blurred=0", "train.image_every=1"]
    more = [word for setting in settings for word in ("--set", setting)]
    assert train.main(arguments(data, run, config_file, *FREE, "--epochs", "1", *more)) == 0
    strip = next(s for tag, s in events(run) if tag.startswith("image | noisy"))
    shown = [tf.io.decode_png(encoded).numpy() for encoded in strip.tensor.string_val[2:]]
    masked = np.concatenate([s[:, 24:48][s[:, 48:72, 0] > 128] for s in shown]).astype(int)
    assert len(masked) and np.all(masked[:, 1] - masked[:, [0, 2]].max(axis=1) > 100)


def test_the_cached_validation_set_is_read_to_its_end_once():
    """A pass left half way decides by chance what the cache keeps: here nothing may be read a second time."""
    import tensorflow as tf

    read = []

    def pictures():
        for number in range(5):
            read.append(number)
            yield number

    cached = tf.data.Dataset.from_generator(pictures, output_signature=tf.TensorSpec((), tf.int32)).cache()
    assert fit.first_batch(cached) == 0
    assert [int(number) for number in cached] == [0, 1, 2, 3, 4] and read == [0, 1, 2, 3, 4]


def test_windows_of_the_pictures_are_trained_on_and_whole_ones_judged(data, config_file, tmp_path):
    run = tmp_path / "run"
    assert train.main(arguments(data, run, config_file, *FREE, "--epochs", "2", "--set", "data.crop=[8, 16]")) == 0
    strip = next(s for tag, s in events(run) if tag.startswith("image | noisy"))
    assert [int(side) for side in strip.tensor.string_val[:2]] == [6 * 16, 16]  # six whole pictures beside each other
    assert np.isfinite(summary(run)["figures"]["val_loss"])


def test_turns_and_blur_of_the_configuration_are_done(data, config_file):
    def first(make, *settings):
        config = load_config(config_file, [f"data.root={data}", "data.channels='3'", "data.flip_horizontal=false",
                                           "data.flip_vertical=false", *settings])
        found, model = runs.training_data(config), runs.build_model(config)
        fit.compile_model(model, config, 5)
        return {name: part.numpy() for name, part in next(iter(make(model, config, found))).items()}

    def trained(model, config, found):
        return fit.training_set(model, config, found, 0)

    still, none, all_ = (first(trained, *s)["image"] for s in (["data.rotation=0"], ["data.turned=0"], []))
    np.testing.assert_array_equal(none, still)
    assert np.all(np.abs(all_ - still).max((1, 2, 3)) > 0.02)

    sharp, blurred = (first(fit.held_out_set, "validation.probability=1", *s)["mask"].sum()
                      for s in (["validation.blurred=0"], []))
    assert blurred > 1.1 * sharp > 0
