"""Apache Beam itself over files: what it writes, one model for several processes, a bundle that fails."""
import glob
import json
import os
import shutil

import pytest
import tensorflow as tf
from failing_once import first_time
from scored_files import HOW, by_name, example, parquet

pytest.importorskip("apache_beam", reason=f"Apache Beam: {HOW}")

import apache_beam as beam
from apache_beam.coders import StrUtf8Coder
from apache_beam.io.filesystem import BeamIOError
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

from grdnet_tf.errors import InputError
from grdnet_tf.serving.on_beam import SCHEMA, GRDNetHandler, row


def lines(out):
    return [json.loads(text) for path in glob.glob(f"{out}-*.jsonl") for text in open(path, encoding="utf-8")]


def test_files_become_rows_of_json_and_parquet(exported, line, judged, tmp_path):
    out = str(tmp_path / "rows")
    example("score_beam").main(exported, f"{line}/*", out)
    assert by_name(lines(out)) == judged == by_name(parquet(f"{out}-*.parquet"))
    with pytest.raises(BeamIOError, match="Empty match"):  # a wrong pattern is no line without pictures
        example("score_beam").main(exported, f"{line}/*.tif", out)


def test_records_become_the_same_rows(exported, line, judged, tmp_path):
    """tf.train.Example with `path` and `image`, as in a shard; in two files."""
    paths = sorted(line.iterdir())
    for number, part in enumerate((paths[:9], paths[9:])):
        with tf.io.TFRecordWriter(str(tmp_path / f"test-{number:05d}-of-00002.tfrecord")) as writer:
            for path in part:
                features = {"path": path.name.encode(), "image": path.read_bytes(), "split": b"test"}
                writer.write(tf.train.Example(features=tf.train.Features(feature={
                    name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                    for name, value in features.items()})).SerializeToString())
    example("score_beam").main(exported, f"{tmp_path}/test-*.tfrecord", str(tmp_path / "rows"))
    assert by_name(lines(tmp_path / "rows")) == judged


def test_a_name_that_is_no_text(exported, line, judged, tmp_path):
    shutil.copy(line / "00.png", os.fsencode(tmp_path) + b"/a\xff.png")
    example("score_beam").main(exported, f"{tmp_path}/*.png", str(tmp_path / "rows"))
    assert by_name(lines(tmp_path / "rows")) == {"a\\udcff.png": judged["00.png"]}


def test_one_model_for_all_processes(exported, line, judged, tmp_path):
    """Beam gives the worker a proxy then, of whose object nothing but the methods is there."""
    out = str(tmp_path / "rows")
    handler = GRDNetHandler(exported, shared=True)
    assert handler.share_model_across_processes()
    with beam.Pipeline() as pipeline:
        rows = (pipeline | beam.Create([(path.name, path.read_bytes()) for path in line.iterdir()])
                | RunInference(KeyedModelHandler(handler)) | beam.Map(row))
        rows | beam.Map(json.dumps) | beam.io.WriteToText(out, ".jsonl")
    assert by_name(lines(out)) == judged


class FailsOnce(StrUtf8Coder):
    """Of the lines of a text: fails while a bundle is being written, twenty lines of it already in a file."""

    def __init__(self, marker):
        self._marker, self._lines = marker, 0

    def encode(self, text):
        self._lines += 1
        if self._lines == 20 and first_time(self._marker):
            raise RuntimeError("a worker is lost")
        return super().encode(text)


def test_a_bundle_that_fails_is_tried_again_and_writes_no_row_twice(exported, line, judged, tmp_path):
    out, judging, writing = (str(tmp_path / name) for name in ("rows", "judging", "writing"))

    def fails_once(found):
        if found["path"] == "21.png" and first_time(judging):
            raise RuntimeError("a worker is lost")
        return found

    with beam.Pipeline(BundleBasedDirectRunner()) as pipeline:  # the one of the local runners that tries again
        rows = (pipeline | beam.Create([(path.name, path.read_bytes()) for path in sorted(line.iterdir())])
                | RunInference(KeyedModelHandler(GRDNetHandler(exported))) | beam.Map(row) | beam.Map(fails_once))
        rows | beam.Map(json.dumps) | beam.io.WriteToText(out, ".jsonl", coder=FailsOnce(writing))
        rows | beam.io.WriteToParquet(out, SCHEMA, file_name_suffix=".parquet")
    assert os.path.exists(judging) and os.path.exists(writing)
    assert by_name(lines(out)) == judged == by_name(parquet(f"{out}-*.parquet"))


def test_what_is_no_export_is_refused_before_a_worker_starts(tmp_path):
    with pytest.raises(InputError, match="no export"):
        GRDNetHandler(str(tmp_path))
