"""Scores pictures with Apache Beam: python examples/score_beam.py EXPORT 'PICTURES/**.png' OUT [Beam's options]

'SHARDS/test-*.tfrecord' reads what `grdnet shards` wrote.
Writes OUT-*.jsonl and OUT-*.parquet: path, score, is_anomalous, verdict, valid (0: no picture). docs/scale.md
"""
import json
import sys

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.fileio import EmptyMatchTreatment
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from grdnet_tf.serving.on_beam import SCHEMA, GRDNetHandler, named, recorded, row


def main(export, pictures, out, *options):
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        if pictures.endswith(".tfrecord"):
            files = pipeline | beam.io.ReadFromTFRecord(pictures) | beam.Map(recorded)
        else:
            files = (pipeline | fileio.MatchFiles(pictures, EmptyMatchTreatment.DISALLOW)
                     | beam.Reshuffle()  # to all workers; else the one that lists the files reads them too
                     | fileio.ReadMatches() | beam.Map(named))
        rows = files | RunInference(KeyedModelHandler(GRDNetHandler(export))) | beam.Map(row)
        rows | beam.Map(json.dumps) | beam.io.WriteToText(out, ".jsonl")
        rows | beam.io.WriteToParquet(out, SCHEMA, file_name_suffix=".parquet")


if __name__ == "__main__":
    sys.exit(__doc__) if len(sys.argv) < 4 else main(*sys.argv[1:])
