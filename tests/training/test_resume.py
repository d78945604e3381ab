"""A run goes on to the same bits after a real kill, and only as the run that it was."""
import json
import shutil
import signal

import pytest
from tiny_training import arguments, complete, rows, start, summary, wait_for_checkpoint

import train
from benchmarks import faults


@pytest.mark.parametrize("number, least_step, code", [
    (signal.SIGKILL, 6, -9), pytest.param(signal.SIGTERM, 1, 143, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_same_bits(finished, discs, tiny_config, tmp_path, number, least_step, code):
    run = tmp_path / "killed"
    process = start(*arguments(discs, run, tiny_config))
    wait_for_checkpoint(run, least_step, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    assert not (run / "summary.json").exists()
    output = complete("--run", str(run), "--resume")
    assert faults.differences(faults.result(str(run)), faults.result(str(finished))) == [], output


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--keep-optimizers"]], ids=["fresh", "kept"])
def test_a_killed_fine_tuning_resumes_to_the_same_bits(finished, tmp_path, more):
    begin = ["--from", str(finished), "--no-jit", "--epochs", "2", *more]
    complete(*begin, "--run", str(tmp_path / "whole"))
    process = start(*begin, "--run", str(tmp_path / "killed"))
    wait_for_checkpoint(tmp_path / "killed", 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode == -9
    output = complete("--run", str(tmp_path / "killed"), "--resume")
    results = [faults.result(str(tmp_path / name)) for name in ("killed", "whole")]
    assert faults.differences(*results) == [], output


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(finished, tmp_path):
    run = tmp_path / "copy"
    shutil.copytree(finished, run)
    (run / "summary.json").unlink()
    newest = run / "checkpoints" / "step-000000015.npz"
    newest.write_bytes(newest.read_bytes()[:1000])
    output = complete("--run", str(run), "--resume")
    assert "step-000000015.npz: damaged" in output and "going back to the checkpoint before" in output
    assert summary(run)["weights_sha256"] == summary(finished)["weights_sha256"]


@pytest.mark.slow
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


def test_resume_refuses_other_pictures(finished, discs, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(discs, other)
    (other / "train" / "good" / "00.png").unlink()
    output = complete("--run", str(finished), "--resume", "--data", str(other), "--epochs", "9", code=2)
    assert "00.png: gone; the run cannot go on without it" in output


def test_resume_without_a_run(tmp_path, capsys):
    assert train.main(["--run", str(tmp_path / "nothing"), "--resume"]) == 2
    assert "nothing: no run here" in capsys.readouterr().err


@pytest.mark.slow
def test_drawn_defects_are_judged_once_and_again_when_more_is_trained(start, resume, tmp_path):
    assert start("--epochs", "1", "--set", "validation.drawn=1") == 0
    told = tmp_path / "run" / "drawn.json"
    assert json.loads(told.read_text())["drawings"] > 0
    told.write_text("as it was")
    assert resume() == 0 and told.read_text() == "as it was"  # nothing was trained
    assert resume("--epochs", "2") == 0 and json.loads(told.read_text())["drawings"] > 0
    told.unlink()
    assert resume() == 0 and told.exists()  # stopped before they were drawn
