"""benchmarks/gpu.sh: its smallest part runs, each has flags that its script takes, none ends the others."""
import importlib
import json
import os
import subprocess
import sys
import time

import pytest

from benchmarks import gpu

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.mark.slow
def test_the_smallest_part_runs_and_is_written(tmp_path):
    command = [os.path.join(ROOT, "benchmarks", "gpu.sh"), "--only", "device", "--times", "4",  # of a minute, for a
               "--out", str(tmp_path / "told")]  # busy machine
    done = subprocess.run(command, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHON": sys.executable})
    assert done.returncode == 0 and "== device: done" in done.stdout, done.stdout + done.stderr
    with open(tmp_path / "told" / "gpu.json", encoding="utf-8") as stream:
        part, = json.load(stream)["parts"]
    found = {row["what"]: row["found"] for row in part["rows"]}
    import tensorflow as tf

    assert found["TensorFlow"].startswith(tf.__version__)
    gpus = tf.config.list_physical_devices("GPU")
    assert found["GPUs TensorFlow sees"].startswith(str(len(gpus)) if gpus else "none")
    if not gpus:
        assert found["TF-TRT"].startswith("skipped: ")


@pytest.mark.parametrize("quick", [False, True], ids=["whole", "quick"])
def test_every_part_has_flags_that_its_script_takes(quick):
    found = gpu.parts(quick, "told")
    assert len({name for name, *_ in found}) == len(found) == 14
    for name, limit, script, flags in found:
        taken = importlib.import_module(f"benchmarks.{script[:-3]}").parse([*flags, "--json", "rows"])
        assert taken.json == "rows" and 0 < limit < gpu.MOST, name
        configs = getattr(taken, "config", None) or []
        assert all(os.path.isfile(config) for config in ([configs] if isinstance(configs, str) else configs))


ROW = "import sys; open(sys.argv[sys.argv.index('--json') + 1], 'a').write('{\"measured\": 1}\\n{\"cut')\n"
ENDS = {"hangs": ("import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)", "ended after 5 s"),
        "aborts": ("import os; os.abort()", "crashed: SIGABRT"),
        "fails": ("sys.exit('error: no such thing')", "failed: error: no such thing"),
        "goes through": ("print('measured')", "done")}


@pytest.mark.parametrize("how", ENDS)
def test_a_part_that_ends_early_is_a_line_and_what_it_measured_is_kept(how, tmp_path):
    code, status = ENDS[how]
    (tmp_path / "part.py").write_text(ROW + code)
    start = time.monotonic()
    told = gpu.one(how, 5, str(tmp_path / "part.py"), [], str(tmp_path))
    assert told["status"] == status and told["rows"] == [{"measured": 1}]
    assert time.monotonic() - start < 20  # whatever it had started, which holds the same output, is gone too


def test_what_there_is_no_time_for_is_said(tmp_path):
    assert gpu.one("late", -3, "device.py", [], str(tmp_path))["status"].startswith("not reached")
