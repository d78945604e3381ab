"""Scores picture files with Apache Spark: python examples/score_spark.py EXPORT PICTURES OUT [MASTER]

Writes OUT/*.parquet: path, score, is_anomalous, verdict, valid (0: no picture). docs/scale.md
"""
import os
import sys

from pyspark.sql import SparkSession

from grdnet_tf.serving.on_spark import inspect_udf


def main(export, pictures, out, master="local[*]"):
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # of the workers; else the first python3 on the PATH
    spark = (SparkSession.builder.master(master)
             .config("spark.sql.execution.arrow.maxRecordsPerBatch", 256)  # whole files: 10,000 would fill the memory
             .config("spark.sql.files.openCostInBytes", 0)  # 4 MB a file by default: tasks of 31 files
             .getOrCreate())
    files = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(pictures)
    found = inspect_udf(export)("content")
    files.select("path", found.alias("found")).select("path", "found.*").write.mode("overwrite").parquet(out)


if __name__ == "__main__":
    sys.exit(__doc__) if len(sys.argv) < 4 else main(*sys.argv[1:])
