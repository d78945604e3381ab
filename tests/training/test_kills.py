"""Runs killed at random moments and resumed are the runs undisturbed: two cases of benchmarks/faults.py."""
import os
import re
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("case", ["plateau float32 ema=0.9 checkpoint_steps=2",
                                  "cosine mixed_float16 ema=0 checkpoint_steps=0"])
def test_killed_runs_are_the_same_bits(case):
    command = [sys.executable, os.path.join(ROOT, "benchmarks", "faults.py"), "--cases", case, "--kills", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kills = re.search(r"^(\d+) kills in 1 cases, 0 of them not the same bits$", done.stdout, re.M)
    assert kills and int(kills.group(1)) >= 1, done.stdout  # the first waits for a checkpoint: it cannot miss
