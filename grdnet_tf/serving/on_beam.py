"""An export in Apache Beam: GRDNetHandler for RunInference, from files to rows. Needs the extra `beam`.

    matches | fileio.ReadMatches() | beam.Map(named) | RunInference(KeyedModelHandler(GRDNetHandler(export)))
            | beam.Map(row)

With the records of `grdnet shards`, beam.io.ReadFromTFRecord(pattern) | beam.Map(recorded) stand for the first two.
Complete: examples/score_beam.py. Beam's own TensorFlow handlers take no export: they call what was loaded, which is no
function, and they import TensorFlow where a pipeline is only built.
"""
import os
from typing import Iterable, Sequence, Tuple

import pyarrow
from apache_beam.io.fileio import ReadableFile
from apache_beam.ml.inference.base import ModelHandler

from ..errors import printable
from .batch import BATCH, ROW, Inspector, pinned

# Of `row`, with the signature serve_bytes.
SCHEMA = pyarrow.schema([("path", pyarrow.string()),
                         *((name, pyarrow.type_for_alias(kind)) for name, kind in ROW.items())])


class GRDNetHandler(ModelHandler[bytes, dict, Inspector]):
    """From the bytes of picture files to {output: value}; in KeyedModelHandler from (name, bytes) to (name, that).

    Args:
      export, signature, batch, outputs: see `batch.inspect_files`. What is meant by `export` is settled here, not on
        the workers.
      shared: one model for all processes of a machine; its calls go from process to process.

    Raises: InputError where there is no export.
    """

    def __init__(self, export, signature="serve_bytes", batch=BATCH, outputs=None, shared=False):
        super().__init__()
        self._given, self._shared = (pinned(export), signature, batch, outputs), shared

    def load_model(self) -> Inspector:
        return Inspector(*self._given)

    def run_inference(self, batch: Sequence[bytes], model: Inspector, inference_args=None) -> Iterable[dict]:
        found = model.inspect(batch)  # of a shared model nothing but methods is there
        return [{name: values[i].tolist() for name, values in found.items()} for i in range(len(batch))]

    def batch_elements_kwargs(self) -> dict:
        return {"min_batch_size": self._given[2], "max_batch_size": self._given[2]}

    def share_model_across_processes(self) -> bool:
        return self._shared

    def get_num_bytes(self, batch: Sequence[bytes]) -> int:
        return sum(len(file) for file in batch)

    def get_metrics_namespace(self) -> str:
        return "GRDNet"


def named(file: ReadableFile) -> Tuple[str, bytes]:
    """(path, contents) of a file; Beam carries no path that is not UTF-8, so odd bytes of it become \\udcXX."""
    return printable(file.metadata.path), file.read()


def recorded(record: bytes) -> Tuple[str, bytes]:
    """(path, contents) of a picture in a shard, a tf.train.Example."""
    import tensorflow as tf

    features = tf.train.Example.FromString(record).features.feature
    path, contents = (b"".join(features[name].bytes_list.value) for name in ("path", "image"))
    return printable(os.fsdecode(path)), contents


def row(found: Tuple[str, dict]) -> dict:
    """(path, outputs) -> {"path": ..., output: value}: a line of JSON, or a row of SCHEMA."""
    path, outputs = found
    return {"path": path, **outputs}
