"""What every command prints alike: how far it is, and how it ends."""
import io
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from grdnet_tf.console import Progress, ended, watched
from grdnet_tf.errors import ExportStopped, InputError


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(stream, times, total=100, each=10):
    """What is shown when `each` more are done at each of the times."""
    now = iter([0.0, *times])
    progress = Progress("pictures", stream, lambda: next(now))
    for number in range(len(times)):
        progress(each * (number + 1), total)
    return stream.getvalue()


def test_nothing_is_shown_of_what_is_over_at_once():
    assert told(io.StringIO(), [0.1 * i for i in range(1, 11)]) == ""


def test_lines_in_a_file_come_every_ten_seconds_with_rate_and_end():
    lines = told(io.StringIO(), [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]).splitlines()
    assert lines == ["30 of 100 pictures, 2.5 a second, 28 s left", "60 of 100 pictures, 2.5 a second, 16 s left",
                     "90 of 100 pictures, 2.5 a second, 4 s left", "100 of 100 pictures, 2.5 a second"]
    assert told(io.StringIO(), [40], total=100).splitlines() == ["10 of 100 pictures, 0.25 a second, 6 min 00 s left"]


def test_a_terminal_has_one_line():
    shown = told(Terminal(), [3, 6, 9], total=30)
    assert shown.count("\r") == 3 and shown.count("\n") == 1 and shown.endswith("30 of 30 pictures, 3.33 a second\n")


def test_watching_changes_nothing():
    assert list(watched([[1, 2], [3]], "pictures", 3, len)) == [[1, 2], [3]]


@pytest.mark.parametrize("error, status, line", [
    (InputError("a.png: is empty"), 2, "error: a.png: is empty\n"), (ExportStopped("self-test"), 1, "stopped: self-test\n"),
    (OSError(28, "No space left on device", "b"), 2, "error: b: No space left on device\n"),
    (KeyboardInterrupt(), 130, "stopped: interrupted\n")])
def test_how_a_command_ends(error, status, line, capsys):
    def action():
        raise error

    assert ended(action) == status and capsys.readouterr().err == line
    assert ended(lambda: 0) == 0


COMMANDS = [["-m", "grdnet_tf", "--help"], ["-m", "grdnet_tf", "train", "--help"],
            ["-m", "grdnet_tf", "train", "--print-config"], ["-m", "grdnet_tf.serving.client", "--help"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(command, unbuffered, pytestconfig):
    """As in `grdnet --help | head -0`. Newer versions of argparse keep to themselves that their help was not read."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, *command], stdout=writer, stderr=subprocess.PIPE, cwd=pytestconfig.rootpath,
                          env=dict(os.environ, PYTHONUNBUFFERED=unbuffered))
    os.close(writer)
    assert done.stderr == b"" and done.returncode in ({0, 141} if command[-1] == "--help" else {141})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_an_output_that_is_full_is_one_line(pytestconfig):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "grdnet_tf", "--help"], stdout=full, stderr=subprocess.PIPE,
                              cwd=pytestconfig.rootpath)
    assert (done.returncode, done.stderr) == (2, b"error: input or output: No space left on device\n")


STARTING = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795860982.781534   27556 port.cc:153] oneDNN custom operations are on.
2026-11-28 09:30:44.848520: E external/local_xla/xla/stream_executor/cuda/cuda_dnn.cc:9261] Unable to register it
To enable the following instructions: AVX2 AVX512F, rebuild TensorFlow with the appropriate compiler flags.
"""


@pytest.mark.parametrize("asked, expected", [({}, b"a real warning\n"),
                                             ({"TF_CPP_MIN_LOG_LEVEL": "0"}, STARTING + b"a real warning\n")])
def test_tensorflows_lines_at_its_start_are_left_out_unless_asked_for(asked, expected, tmp_path, pytestconfig):
    """A module that writes to the error stream what the libraries of both stacks do on a machine without a GPU."""
    (tmp_path / "tensorflow.py").write_text(f"import os\nos.write(2, {STARTING!r})\nos.write(2, b'a real warning\\n')\n")
    code = "from grdnet_tf.console import ended\nimport sys\nsys.exit(ended(lambda: __import__('tensorflow') and 0))"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment.update(asked, PYTHONPATH=os.pathsep.join([str(tmp_path), str(pytestconfig.rootpath)]))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, expected)


def test_a_quiet_command_shows_no_progress_and_what_comes_next_does(capsys):
    seen = []
    for quiet in (True, False):
        ended(lambda _: seen.append(told(io.StringIO(), [40])) or 0, lambda _: SimpleNamespace(quiet=quiet))
    assert seen == ["", "10 of 100 pictures, 0.25 a second, 6 min 00 s left\n"]


def test_progress_of_what_nobody_can_count():
    assert told(io.StringIO(), [15, 30], total=None).splitlines() == ["10 pictures, 0.667 a second",
                                                                      "20 pictures, 0.667 a second"]
