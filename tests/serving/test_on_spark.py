"""Apache Spark itself over files: what it writes, and when a task fails in the middle of its work."""
import os
import shutil
import sys
from typing import Iterator

import pytest
from failing_once import first_time
from scored_files import HOW, ROOT, by_name, example, parquet

pytest.importorskip("pyspark", reason=f"Apache Spark: {HOW}")
if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
    pytest.skip("Apache Spark: no Java: apt-get install openjdk-17-jre-headless, or set JAVA_HOME",
                allow_module_level=True)

import pandas
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf

from grdnet_tf.errors import InputError
from grdnet_tf.serving.on_spark import inspect_udf


@pytest.fixture(scope="module", autouse=True)
def spark():
    """On this machine, one task at a time, each tried four times. Workers import from the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([ROOT, os.path.join(ROOT, "tests", "helpers")]))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        session = (SparkSession.builder.master("local[1,4]").config("spark.ui.enabled", False)
                   .config("spark.sql.execution.arrow.maxRecordsPerBatch", 4).getOrCreate())
        yield session
        session.stop()


def test_a_task_that_fails_is_tried_again_and_writes_no_row_twice(spark, exported, line, judged, tmp_path):
    out, marker = str(tmp_path / "rows"), str(tmp_path / "failed")

    @pandas_udf("string")
    def fails_once(batches: Iterator[pandas.Series]) -> Iterator[pandas.Series]:
        for number, paths in enumerate(batches):
            if number == 3 and first_time(marker):
                raise RuntimeError("a worker is lost")
            yield paths

    files = spark.read.format("binaryFile").load(str(line))
    rows = files.select(fails_once("path").alias("path"), inspect_udf(exported)("content").alias("found"))
    rows.select("path", "found.*").write.parquet(out)
    assert os.path.exists(marker)
    assert by_name(parquet(f"{out}/*.parquet")) == {name: row for name, row in judged.items() if name != "empty.png"}


def test_files_become_rows_of_parquet(exported, line, judged, tmp_path):
    """But an empty file, and one whose name begins with "_" or ".": Spark lists none. docs/scale.md says so."""
    out = str(tmp_path / "rows")
    shutil.copytree(line, tmp_path / "pictures" / "deeper")
    shutil.copy(line / "00.png", tmp_path / "pictures" / "_00.png")
    example("score_spark").main(exported, str(tmp_path / "pictures"), out)
    assert by_name(parquet(f"{out}/*.parquet")) == {name: row for name, row in judged.items() if name != "empty.png"}


def test_what_is_no_export_is_refused_before_a_worker_starts(tmp_path):
    with pytest.raises(InputError, match="no export"):
        inspect_udf(str(tmp_path))
