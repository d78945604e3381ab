"""Files that are whole or absent."""
import os
import resource

import numpy as np
import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.storage import fingerprint, read_arrays, write_arrays, write_text

ARRAYS = {"a/0": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32(3.5), "c": np.array(7, np.int64)}


def test_arrays_and_state_come_back(tmp_path):
    path = str(tmp_path / "x.npz")
    write_arrays(path, ARRAYS, {"epoch": 3, "names": ["ä"]})
    arrays, state = read_arrays(path)
    assert state == {"epoch": 3, "names": ["ä"]} and set(arrays) == set(ARRAYS)
    for name in ARRAYS:
        assert arrays[name].dtype == np.asarray(ARRAYS[name]).dtype and np.array_equal(arrays[name], ARRAYS[name])
    assert os.listdir(tmp_path) == ["x.npz"]


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "other file"])
def test_damage_is_found_and_named(tmp_path, damage):
    path = tmp_path / "x.npz"
    write_arrays(str(path), {"a": np.zeros(1000, np.float32)}, {})
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[:len(content) // 2]
    elif damage == "one bit":
        content[len(content) // 2] ^= 1
    else:
        content = bytearray() if damage == "empty" else bytearray(b"no archive")
    path.write_bytes(content)
    with pytest.raises(InputError, match="x.npz"):
        read_arrays(str(path))


def test_a_pickle_is_refused(tmp_path):
    path = str(tmp_path / "x.npz")
    np.savez(path, evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="x.npz"):
        read_arrays(path)


@pytest.mark.parametrize("write", [lambda path: write_text(path, "new" * 10000),
                                   lambda path: write_arrays(path, {"a": np.zeros(10000)}, {})], ids=["text", "arrays"])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")  # a traceback after the error's line
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, write):
    path = tmp_path / "x"
    write_text(str(path), "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the system itself refuses a larger file
    try:
        with pytest.raises(InputError, match="cannot write .*x"):
            write(str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x"]


def test_the_fingerprint_sees_names_types_shapes_and_bytes():
    base = fingerprint({"a": np.zeros(4, np.float32), "b": np.ones(2, np.float32)})
    assert base == fingerprint({"b": np.ones(2, np.float32), "a": np.zeros(4, np.float32)})  # not the order
    others = [{"a": np.zeros((2, 2), np.float32), "b": np.ones(2, np.float32)},
              {"a": np.zeros(4, np.int32), "b": np.ones(2, np.float32)},
              {"c": np.zeros(4, np.float32), "b": np.ones(2, np.float32)},
              {"a": np.full(4, -0.0, np.float32), "b": np.ones(2, np.float32)}]
    assert base not in [fingerprint(other) for other in others]
