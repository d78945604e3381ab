"""An export in Apache Spark: a function of the column of files. Needs the extra `spark` and a Java Runtime.

    files.select("path", inspect_udf(export)("content").alias("found")).select("path", "found.*")

with `files` of spark.read.format("binaryFile"). Complete: examples/score_spark.py.
"""
import gc

from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import FloatType, IntegerType, StructField, StructType

from .batch import BATCH, ROW, inspect_files, pinned

COLUMNS = StructType([StructField(name, {"float32": FloatType(), "int32": IntegerType()}[kind])
                      for name, kind in ROW.items()])


def inspect_udf(export, signature="serve_bytes", batch=BATCH):
    """From a column of picture files' bytes to one of COLUMNS; every Python worker of Spark loads the export once.

    What is meant by `export` is settled here, not on the workers. See `batch.inspect_files` for the arguments.
    Raises: InputError where there is no export.
    """
    settled = pinned(export)

    def load():
        inspect = inspect_files(settled, signature, batch, COLUMNS.names)
        # A worker collects garbage after each of its tasks: 0.3 s with all that TensorFlow brings, which stays anyway.
        gc.collect()
        gc.freeze()
        return inspect

    return predict_batch_udf(load, return_type=COLUMNS, batch_size=batch)
