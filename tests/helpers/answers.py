"""Servers that answer what they are told to."""
import json
import math

import numpy as np
import pytest

from grdnet_tf.serving import client
from grdnet_tf.serving.client import ServingError, message

grpc = pytest.importorskip("grpc")

PNG = b"\x89PNG\r\n\x1a\n..."

FILES = [b"one", b"two"]

SOUND = {"score": [0.25, 0.75], "is_anomalous": [0, 1], "verdict": [1, 2], "valid": [1, 1]}

MEMORY = 200 << 20  # bytes that no answer may make the client hold

class Answering:
    """What the two servers answer next: `status`, `headers` and `body` over HTTP, `body` alone over gRPC."""
    status, headers, body = 200, {}, b""

def said(call):
    """The one line of the ServingError that `call()` ends with."""
    with pytest.raises(ServingError) as error:
        call()
    assert "\n" not in str(error.value) and str(error.value).isprintable() and len(str(error.value)) < 700
    return str(error.value)

def outputs(**changed):
    return json.dumps({"outputs": dict(SOUND, **changed)}).encode()

def response(tensors):
    """A PredictResponse; `tensors` are arrays, or the bytes of a TensorProto."""
    return b"".join(message(1, message(1, name.encode()) + message(
        2, tensor if isinstance(tensor, bytes) else client.encode_tensor(tensor))) for name, tensor in tensors.items())

def sound_tensors(**changed):
    return dict({"score": np.array(SOUND["score"], np.float32), "is_anomalous": np.array([0, 1], np.int32),
                 "verdict": np.array([1, 2], np.int32), "valid": np.array([1, 1], np.int32)}, **changed)

def is_sane(found):
    assert set(found) == set(SOUND) and all(len(values) == 2 for values in found.values())
    for score, bad, verdict, valid in zip(*(found[name] for name in SOUND)):
        assert isinstance(score, (int, float)) and math.isfinite(score) and -0.01 < score < 1.01
        assert bad in (0, 1) and valid in (0, 1) and (valid or bad) and verdict in (0, 1, 2) and bad == (verdict == 2)

NO_ANSWER = {
    "null score": {"score": None}, "score nan": {"score": [math.nan, 0.5]},
    "score infinite": {"score": [math.inf, 0.5]},
    "null in score": {"score": [None, 0.5]}, "score text": {"score": ["0.1", "0.2"]},
    "score true": {"score": [True, 0.5]},
    "score nested": {"score": [[0.1], [0.2]]}, "score large": {"score": [1e30, 0.5]},
    "score below": {"score": [-1, 0.5]},
    "a lone score": {"score": 0.5}, "one score": {"score": [0.5]}, "three scores": {"score": [0.5] * 3},
    "no scores": {"score": []}, "score object": {"score": {"a": 1}}, "score b64": {"score": [{"b64": "AAAA"}] * 2},
    "null decisions": {"is_anomalous": None}, "null decision": {"is_anomalous": [None, 0]},
    "decision 2": {"is_anomalous": [2, 0]}, "decision nan": {"is_anomalous": [math.nan, 0]},
    "decision half": {"is_anomalous": [0.5, 0]}, "decision float": {"is_anomalous": [0.0, 0.0]},
    "decision text": {"is_anomalous": ["0", "0"]}, "decision missing": {"is_anomalous": [0]},
    "verdict null": {"verdict": None}, "verdict 3": {"verdict": [3, 2]}, "verdict true": {"verdict": [True, 2]},
    "verdict against decision": {"verdict": [2, 2]}, "decision against verdict": {"verdict": [0, 1]},
    "valid null": {"valid": [None, 1]}, "valid 7": {"valid": [7, 1]}, "valid -1": {"valid": [-1, 1]},
    "ragged": {"score": [[0.1], 0.2]}, "neither valid nor anomalous": {"valid": [0, 1]},
    "bad base64": {"overlay_bytes": [{"b64": "###"}] * 2}, "base64 number": {"overlay_bytes": [{"b64": 7}] * 2},
    "no base64": {"overlay_bytes": [{}] * 2}, "surrogate": {"overlay_bytes": ["\ud800"] * 2},
}

HUGE = b"\x80\xbc\xc1\x96\x0b"  # 3,000,000,000 as a varint

OF_2 = message(2, message(2, b"\x08\x02"))
FLOATS_2 = b"\x08\x01" + OF_2
