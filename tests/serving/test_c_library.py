"""The export in TensorFlow's C library, without its Python: the nearest to a server's loader that a wheel brings."""
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from small_served import files

LIBRARIES = os.path.dirname(tf.__file__)
LOADER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "helpers", "c_loader.py")

pytestmark = pytest.mark.skipif(
    not os.path.exists(os.path.join(LIBRARIES, "libtensorflow_cc.so.2")),
    reason="this TensorFlow has no libtensorflow_cc.so.2 beside it: Linux wheels have")


def asked(folder, served, tmp_path, signature, **inputs):
    """{output: array} of `signature`, from a process that never imports tensorflow."""
    definition, request = served.definitions[signature], {}
    for name, values in inputs.items():
        tensor = definition.inputs[name].name
        if isinstance(values, list):
            request[tensor + ".lengths"] = np.array([len(one) for one in values])
            request[tensor + ".bytes"] = np.frombuffer(b"".join(values), np.uint8)
        else:
            request[tensor] = values
    outputs = {name: tensor.name for name, tensor in definition.outputs.items()}
    np.savez(tmp_path / "request.npz", outputs=list(outputs.values()), **request)
    done = subprocess.run([sys.executable, LOADER, LIBRARIES, folder, str(tmp_path / "request.npz"),
                           str(tmp_path / "answer.npz")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "answer.npz") as answer:
        return {name: answer[tensor] for name, tensor in outputs.items()}


def test_floats_and_files_get_the_sessions_answers(folder, served, pictures, tmp_path):
    """Batches of 3 and 4, a file that is no picture among them."""
    images = pictures[0] / np.float32(255)
    found, wanted = (ask(images=images[:3]) for ask in (
        lambda **given: asked(folder, served, tmp_path, "serving_default", **given),
        lambda **given: served.run("serving_default", **given)))
    assert found.keys() == wanted.keys() and len(found["score"]) == 3
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)

    contents = [*files(pictures[0])[:3], b"no picture"]
    found = asked(folder, served, tmp_path, "serve_bytes", image_bytes=contents)
    wanted = served.run("serve_bytes", image_bytes=np.array(contents, object))
    assert found["valid"].tolist() == [1, 1, 1, 0] and found["is_anomalous"][3] == 1
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-6)
