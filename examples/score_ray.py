"""Scores picture files with Ray Data: python examples/score_ray.py EXPORT PICTURES OUT [WORKERS]

Writes OUT/*.parquet: path, score, is_anomalous, verdict, valid (0: no picture). docs/scale.md
"""
import sys

import ray

from grdnet_tf.serving.batch import BATCH, pinned
from grdnet_tf.serving.on_ray import RayInspector


def main(export, pictures, out, workers="1"):
    # A worker for each core may be asked for; where these left nothing to those who read and write, all would wait.
    files = ray.data.read_binary_files(pictures, include_paths=True, num_cpus=0.1)
    rows = files.map_batches(RayInspector, fn_constructor_args=(pinned(export),), batch_size=BATCH, num_cpus=0.9,
                             concurrency=int(workers))
    rows.write_parquet(out, mode="overwrite", ray_remote_args={"num_cpus": 0.1})


if __name__ == "__main__":
    sys.exit(__doc__) if len(sys.argv) < 4 else main(*sys.argv[1:])
