"""Picture files by the million through one export: what Beam, Ray and Spark call on each of their workers.

    inspect = inspect_files(export)                        loads it, once
    inspect([bytes, ...])    -> {"score": (N,) float32, "is_anomalous", "verdict", "valid": (N,) int32}

`on_beam`, `on_ray` and `on_spark` beside this file put it into these engines. TensorFlow is imported where a model is
loaded, so the machine that only starts a job needs none of its memory.
"""
import hashlib
import json
import logging
import os
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Union

import numpy as np

from ..data.stored import join, read_file
from ..errors import ExportStopped, InputError
from ..storage import remote
from . import publish

logger = logging.getLogger(__name__)

BATCH = 16  # pictures a call: more are hardly faster on a CPU (docs/scale.md)
# Of every file; see `signatures`.
ROW = {"score": "float32", "is_anomalous": "int32", "verdict": "int32", "valid": "int32"}
MAP = "anomaly_map"  # a thousand times the size of all else in a row: only where it is asked for


class Pinned(NamedTuple):
    """One version: its folder, and the SHA-256 of its manifest, which holds the digests of all its files."""
    folder: str
    manifest: str


def pinned(export: Union[str, Pinned]) -> Pinned:
    """What `export` means now, for workers that start later: the newer version of tomorrow must not judge the rest.

    Args:
      export: a version, a model's folder (its newest version is meant), or a Pinned. An address with :// (gs://, s3://)
        is that of a version.

    Raises: InputError where there is none, or no manifest in it.
    """
    if isinstance(export, Pinned):
        return export
    folder = os.fspath(export)
    folder = folder.rstrip("/") if remote(folder) else os.path.abspath(publish.newest(folder))
    return Pinned(folder, hashlib.sha256(_manifest(folder)).hexdigest())


def inspect_files(export: Union[str, Pinned], signature: str = "serve_bytes", batch: int = BATCH,
                  outputs: Optional[Sequence[str]] = None) -> Callable[[Sequence[bytes]], Dict[str, np.ndarray]]:
    """Load an export once; a function from the contents of N picture files to {output: array of N rows}.

    Args:
      export: see `pinned`.
      signature: one that takes files alone: serve_bytes, serve_regions, serve_bytes_map.
      batch: pictures at once. Longer lists are cut, the last part is filled up, so that one shape is all there is.
      outputs: which; None: all but the map.

    What is no picture has `valid` 0 (see `signatures`). No files at all give arrays of no rows.
    Raises: InputError for an export, a signature or an output that is not there; ExportStopped if the export is no
    longer the pinned one. The function raises TypeError for what is no bytes.
    """
    return Inspector(export, signature, batch, outputs).inspect


class Inspector:
    """What `inspect_files` returns the method of: a class, as Beam shares an object by its methods."""

    def __init__(self, export, signature="serve_bytes", batch=BATCH, outputs=None):
        import tensorflow as tf

        if batch < 1:
            raise InputError(f"batch {batch}: expected 1 or more")
        wanted = pinned(export)
        try:
            self._loaded = tf.saved_model.load(wanted.folder)  # kept: its variables live as long as it does
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise InputError(f"{wanted.folder}: no SavedModel that can be loaded: {_first_line(error)}") from None
        told = _manifest(wanted.folder)
        if hashlib.sha256(told).hexdigest() != wanted.manifest:
            raise ExportStopped(f"{wanted.folder}: another export than when the job began; its rows would not compare")
        if (json.loads(told).get("station") or {}).get("align"):
            logger.warning("warning: %s: it takes parts that lie upright, as `grdnet align` makes them, and does not turn "
                           "them", wanted.folder)
        self._function, self._batch = _takes_files(self._loaded, wanted.folder, signature), batch
        offered = set(self._function.structured_outputs)
        self._verdict = "is_anomalous" in offered and "verdict" not in offered  # of before there was looking again
        offered |= {"verdict"} if self._verdict else set()
        self._outputs = list(outputs or sorted(offered - {MAP}))
        for name in self._outputs:
            if name not in offered:
                raise InputError(f"output {name!r}: expected some of {', '.join(sorted(offered))}, of {signature}")

    def inspect(self, files: Sequence[bytes]) -> Dict[str, np.ndarray]:
        import tensorflow as tf

        files = [_contents(one) for one in files]
        parts = []
        for start in range(0, max(len(files), 1), self._batch):
            part = files[start:start + self._batch]
            found = self._function(image_bytes=tf.constant(part + [b""] * (self._batch - len(part)), tf.string))
            if self._verdict:
                found = dict(found, verdict=2 * found["is_anomalous"])
            parts.append({name: found[name].numpy()[:len(part)] for name in self._outputs})
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}


def _takes_files(loaded, folder, signature):
    """The signature's function. InputError where there is none of this name that takes nothing but files."""
    function = loaded.signatures.get(signature) if hasattr(loaded, "signatures") else None
    if function is None or list(function.structured_input_signature[1]) != ["image_bytes"]:
        named = [name for name, one in getattr(loaded, "signatures", {}).items()
                 if list(one.structured_input_signature[1]) == ["image_bytes"]]
        raise InputError(f"{folder}: signature {signature!r}: expected one that takes picture files alone: "
                         + (", ".join(sorted(named)) or "there is none"))
    return function


def _contents(file):
    if not isinstance(file, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected the bytes of a picture file, got {type(file).__name__}")
    return bytes(file)


def _manifest(folder):
    """The bytes of a version's manifest, from wherever TensorFlow reads. InputError where there are none."""
    path = join(folder, publish.MANIFEST)
    try:
        return read_file(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; an export is copied as a whole") from None


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
