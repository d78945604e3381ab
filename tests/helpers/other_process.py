"""Python code in processes of its own, some of them killed."""
import os
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

ARRAYS = {"a/0": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7, np.int64)}

def python(code, *arguments):
    """A process of its own that runs `code`; it prints "ready" and then waits to be killed, or ends."""
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE,
                            stdin=subprocess.PIPE, text=True)

def killed(code, *arguments):
    process = python(code, *arguments)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()
    return process.pid
