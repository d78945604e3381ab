"""What a million pictures cost: arrays of their columns, and no object for each."""
import tracemalloc

import numpy as np
import pytest

from benchmarks.shards import written
from grdnet_tf.data import shards
from grdnet_tf.data.holding_out import hold_out
from grdnet_tf.data.order import endless
from grdnet_tf.data.records import inspect, list_mvtec

COUNT = 30_000


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A set of that many rows, in 8 shards."""
    out = str(tmp_path_factory.mktemp("rows") / "set")
    written(out, COUNT)
    return out


def test_a_picture_takes_less_than_a_hundred_bytes(rows):
    """Name 23, digest 32, place and CRC-32 12, bytes of its file 4, shard 4, row 4, in one of two parts 4: 83."""
    tracemalloc.start()
    try:
        found = inspect(list_mvtec(rows, "train"))
        parts = hold_out(found.records, 0.1, 0)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(parts[1]) == COUNT // 10 and found.sizes == ((32, 32),) and found.peak == 255
    assert kept / COUNT < 100
    assert most / COUNT < 400  # on the way, with a shard's text and its objects, of which there are 4000 at a time


def test_all_of_a_pass_are_seen_once(rows):
    """Also where their places are worked out in several goes."""
    groups = shards.groups(list_mvtec(rows, "train")[:9000])
    seen = next(iter(endless(9000, 500, 3, 0, groups).batch(9000)))[1].numpy()
    assert sorted(seen.tolist()) == list(range(9000))
    assert (np.diff(groups[seen]) != 0).sum() == 7
    parts = [next(iter(endless(9000, 500, 3, 2, groups, (i, 2)).batch(500)))[1].numpy()
             for i in range(2)]
    np.testing.assert_array_equal(seen[1000:1500], np.concatenate([part[:250] for part in parts]))
