"""Ctrl-C, SIGTERM and a closed terminal: a checkpoint, one line, the exit status that a shell expects."""
import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import faults
from grdnet_tf.storage import read_arrays
from grdnet_tf.training.signals import Signals

pytestmark = pytest.mark.slow  # many small runs

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
posix = pytest.mark.skipif(os.name == "nt", reason="there a process cannot send these")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return faults.draw(str(tmp_path_factory.mktemp("product") / "data"))


def begin(*argv):
    environment = dict(os.environ, PYTHONPATH=ROOT, TF_CPP_MIN_LOG_LEVEL="3")
    return subprocess.Popen([sys.executable, os.path.join(ROOT, "train.py"), *argv], env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(path, process):
    deadline = time.monotonic() + 600
    while not os.path.exists(path):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def arguments(data, run, **settings):
    more = {key.replace("__", "."): value for key, value in settings.items()}
    return ["--data", data, "--run", str(run), "--no-jit", *faults.flags(faults.all_settings(**more))]


def last_line(error):
    return error.strip().splitlines()[-1]


@posix
@pytest.mark.slow
@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_saves_the_step_that_is_over(data, tmp_path, name, status):
    run = tmp_path / "run"
    process = begin(*arguments(data, run, train__epochs=5000, train__checkpoint_steps=3))
    wait_for(run / "checkpoints" / "step-000000003.npz", process)
    process.send_signal(getattr(signal, name))
    _, error = process.communicate(timeout=300)
    line = last_line(error)
    assert process.returncode == status, error
    assert line.startswith(f"stopped: {name} after step ") and line.endswith("--resume goes on")
    assert "Traceback" not in error
    newest = sorted(os.listdir(run / "checkpoints"))[-1]
    assert int(newest[5:-4]) == int(line.split("step ")[1].split(";")[0]) >= 3


@posix
@pytest.mark.slow
def test_a_signal_in_the_validation_saves_the_epochs_steps(data, tmp_path):
    """Six steps and a validation of 20,000 views, minutes: interrupted there, and taken up to the bits of a whole run.

    The weights are swapped for their average at that time, and the sums of the epoch's figures are overwritten."""
    def settings(run, views):
        return arguments(data, run, validation__views=views, train__epochs=1, train__steps_per_epoch=6, train__ema=0.9,
                         train__checkpoint_steps=5)

    run = tmp_path / "run"
    process = begin(*settings(run, 20000))
    wait_for(run / "checkpoints" / "step-000000005.npz", process)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130 and "after step 6" in last_line(error), error
    arrays, state = read_arrays(str(run / "checkpoints" / "step-000000006.npz"))
    assert (state["epoch"], state["step"]) == (0, 6)
    config = run / "config.yaml"  # the rest with a validation of seconds, as the whole run has it
    text = config.read_text()
    assert "views: 20000" in text
    config.write_text(text.replace("views: 20000", "views: 4"))
    whole = tmp_path / "whole"
    for argv in ([*settings(whole, 4)], ["--run", str(run), "--resume"]):
        process = begin(*argv)
        assert process.wait(600) == 0, process.communicate()[1]
    assert faults.differences(faults.result(str(run)), faults.result(str(whole))) == []


@posix
@pytest.mark.slow
def test_a_signal_before_the_first_step_ends_at_once(data, tmp_path):
    run = tmp_path / "run"
    process = begin(*arguments(data, run, train__epochs=1))
    wait_for(run / "config.yaml", process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 130 and "after step 0; --resume goes on" in last_line(error), error
    assert "Traceback" not in error
    process = begin("--run", str(run), "--resume")
    assert process.wait(600) == 0 and (run / "summary.json").exists()


@posix
def test_a_second_signal_ends_the_process():
    code = ("import os, signal\nfrom grdnet_tf.training.signals import Signals\n"
            "with Signals() as signals:\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n    print(signals.number, flush=True)\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n    print('still here')")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "2\n" and done.returncode == -signal.SIGINT


@posix
def test_a_signal_within_a_destructor_is_kept_and_says_nothing():
    """Python drops what is raised there, and would print a traceback between the run's lines."""
    code = ("import os, signal, sys\nfrom grdnet_tf.training.signals import Interrupted, Signals\n"
            "class Dying:\n    def __init__(self, last): self.last = last\n    def __del__(self): self.last()\n"
            "def stop(): raise Interrupted(signals.number, 'after step 0')\n"
            "before = sys.unraisablehook\n"
            "with Signals() as signals:\n    signals.at_once = stop\n"
            "    Dying(lambda: os.kill(os.getpid(), signal.SIGINT))\n    print(signals.number)\n"
            "    Dying(lambda: 1 / 0)\nprint(sys.unraisablehook is before)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "2\nTrue\n" and done.returncode == 0
    assert "ZeroDivisionError" in done.stderr and "Interrupted" not in done.stderr


@posix
def test_what_is_ignored_stays_ignored_and_handlers_come_back():
    """nohup means that a closed terminal does not end the run."""
    before = signal.getsignal(signal.SIGINT)
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.number is None and signal.getsignal(signal.SIGINT) != before
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.number == signal.SIGTERM
        assert signal.getsignal(signal.SIGINT) == before and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, kept)
