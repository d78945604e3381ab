"""Ray Data itself over files: what it writes, and when a worker is killed in the middle of its work."""
import os

import pytest
from failing_once import KilledOnce
from scored_files import HOW, ROOT, by_name, example, parquet

ray = pytest.importorskip("ray", reason=f"Ray: {HOW}")
pytest.importorskip("pyarrow", reason=f"Ray Data: {HOW}")

from grdnet_tf.serving.batch import BATCH, pinned


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Of this machine, two workers at most. They import from the checkout and from tests/helpers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([ROOT, os.path.join(ROOT, "tests", "helpers")]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
        yield
        ray.shutdown()


def test_files_become_rows_of_parquet(exported, line, judged, tmp_path):
    out = str(tmp_path / "rows")
    example("score_ray").main(exported, str(line), out, "2")  # as many as there are cores
    assert by_name(parquet(f"{out}/*.parquet")) == judged


def test_a_worker_that_is_killed_is_replaced_and_no_row_written_twice(exported, line, judged, tmp_path):
    out, marker = str(tmp_path / "rows"), str(tmp_path / "killed")
    files = ray.data.read_binary_files(str(line), include_paths=True)
    rows = files.map_batches(KilledOnce, fn_constructor_args=(pinned(exported), marker), batch_size=BATCH,
                             concurrency=1)
    rows.write_parquet(out)
    assert os.path.exists(marker)
    assert by_name(parquet(f"{out}/*.parquet")) == judged
