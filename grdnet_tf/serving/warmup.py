"""Warmup records: requests that TensorFlow Serving answers for itself before a version goes live.

    <version>/assets.extra/tf_serving_warmup_requests     TFRecord of tensorflow.serving.PredictionLog

The first call of a signature is slow (buffers, kernels, TensorRT engines); so it is made before there are users. A
record that fails keeps the version from being served, which makes the file a last self-test too.
"""
import os

import tensorflow as tf

from ..errors import InputError
from .client import encode_predict_request, message

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
MOST = 1000  # records; TensorFlow Serving refuses a version with more


def write_warmup(path, model_name, version, requests) -> None:
    """Write `requests` to the file `path`, whose folder is made.

    Args:
      requests: [(signature name, {input name: NumPy array; strings as arrays or lists of bytes})], in the order in
        which the server shall send them.

    Raises: InputError if there are none or too many, or if `path` cannot be written.
    """
    if not 0 < len(requests) <= MOST:
        raise InputError(f"{path}: {len(requests)} warmup requests; TensorFlow Serving takes 1 to {MOST}")
    records = [encode_record(model_name, version, signature, inputs) for signature, inputs in requests]
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with tf.io.TFRecordWriter(path) as writer:
            for record in records:
                writer.write(record)
    except (OSError, tf.errors.OpError) as error:
        raise InputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error.message}") from None


def encode_record(model_name, version, signature, inputs) -> bytes:
    """The bytes of PredictionLog.predict_log.request, fields 6 and 1."""
    plain = {name: _plain(value) for name, value in inputs.items()}
    return message(6, message(1, encode_predict_request(model_name, signature, plain, version)))


def _plain(value):
    """NumPy's arrays of bytes as a list, which the client sends as strings."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return value.tolist() if kind in "OS" and kind else value
