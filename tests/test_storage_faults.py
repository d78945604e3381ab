"""Files under faults: flipped bits, killed writers, links, long names, a full disk, and two processes at once."""
import os
import secrets
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from other_process import ARRAYS, ROOT

from grdnet_tf import storage
from grdnet_tf.errors import InputError

# Damage ---------------------------------------------------------------------------------------------------------------


def test_every_flipped_byte_and_every_truncation_is_damage(tmp_path):
    path = tmp_path / "x.npz"
    storage.write_arrays(str(path), ARRAYS, {"epoch": 3})
    whole = path.read_bytes()
    assert 600 < len(whole) < 2000
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1:])
        with pytest.raises(InputError, match=r"x\.npz: damaged"):
            storage.read_arrays(str(path))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"x\.npz: damaged"):
            storage.read_arrays(str(path))
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match=r"x\.npz: damaged"):
        storage.read_arrays(str(path))
    path.write_bytes(whole)
    assert storage.read_arrays(str(path))[1] == {"epoch": 3}


def test_others_read_the_file_too(tmp_path):
    path = str(tmp_path / "x.npz")
    storage.write_arrays(path, ARRAYS, {})
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == {"a/0", "b", "state.json"}
        assert np.array_equal(archive["a/0"], [[0, 1, 2], [3, 4, 5]])
    assert zipfile.ZipFile(path).testzip() is None


def test_files_without_a_digest_load_and_their_damage_is_an_input_error(tmp_path):
    """As np.savez writes them, and as this package did before it kept a digest."""
    path, state = tmp_path / "x.npz", np.frombuffer(b'{"epoch": 3}', np.uint8)
    np.savez(path, **{"state.json": state}, **ARRAYS)
    arrays, found = storage.read_arrays(str(path))
    assert found == {"epoch": 3} and np.array_equal(arrays["a/0"], ARRAYS["a/0"]) and arrays["b"] == 7
    whole, refused = path.read_bytes(), 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1:])
        try:
            storage.read_arrays(str(path))
        except InputError as error:
            assert "x.npz: damaged" in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > len(whole) // 2  # the time of an entry, for one, is not looked at


@pytest.mark.parametrize("content", [b"", b"PK\5\6", bytes(200), b"\x93NUMPY\x01\0", b"sha256 " + b"0" * 64,
                                     b"x" * 30 + b"PK\5\6" + bytes(18), b"[" * 5000])
def test_what_is_no_archive_at_all(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz: damaged"):
        storage.read_arrays(str(tmp_path / "x.npz"))


def test_a_folder_is_said_so(tmp_path):
    with pytest.raises(InputError, match="cannot read .*: Is a directory"):
        storage.read_arrays(str(tmp_path))
    with pytest.raises(InputError, match="no such file"):
        storage.read_arrays(str(tmp_path / "absent.npz"))


def test_the_fingerprint_depends_on_names():
    zeros = np.zeros(4, np.float32)
    assert storage.fingerprint({"a": zeros}) != storage.fingerprint({"c": zeros})
    assert storage.fingerprint({"a": zeros, "b": zeros}) != storage.fingerprint({"a": zeros, "c": zeros})


# On the disk ----------------------------------------------------------------------------------------------------------


def test_file_and_folder_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def seen(descriptor):
        mode = os.fstat(descriptor).st_mode
        size = os.fstat(descriptor).st_size
        done.append(("folder",) if stat.S_ISDIR(mode) else ("file", size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    monkeypatch.setattr(os, "replace", lambda *names: (done.append(("rename",)), replace(*names)))
    storage.write_text(str(tmp_path / "x"), "12345")
    assert done == [("file", 5), ("rename",), ("folder",)]
    done.clear()
    storage.sync_tree(str(tmp_path))
    assert done == [("file", 5), ("folder",)]


def test_temporary_names_cannot_be_foreseen_and_links_are_not_followed(tmp_path, monkeypatch):
    names, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (names.append(old), replace(old, new)))
    for _ in range(2):
        storage.write_text(str(tmp_path / "x"), "new")
    assert len(set(names)) == 2 and not os.path.exists(names[0])
    chance = names[0][-20:-4]  # 16 hex digits of chance, ".tmp"
    assert int(chance, 16) and chance not in names[1]

    monkeypatch.setattr(secrets, "token_hex", lambda count: chance)  # as if somebody had guessed it
    (tmp_path / "victim").write_text("untouched")
    os.symlink(tmp_path / "victim", names[0])
    with pytest.raises(InputError, match="cannot write .*x: File exists"):
        storage.write_text(str(tmp_path / "x"), "evil")
    assert (tmp_path / "victim").read_text() == "untouched" and (tmp_path / "x").read_text() == "new"


def test_new_files_have_the_rights_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    storage.write_text(str(tmp_path / "x"), "")
    assert os.stat(tmp_path / "x").st_mode == os.stat(tmp_path / "plain").st_mode
    (tmp_path / "folder").mkdir()
    with storage.aside(str(tmp_path)) as fresh:
        assert os.stat(fresh).st_mode == os.stat(tmp_path / "folder").st_mode


def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("ä" * 127 + "x")  # 255 bytes
    storage.write_text(str(path), "content")
    assert path.read_text() == "content" and os.listdir(tmp_path) == [path.name]


def test_a_text_with_a_file_name_that_is_not_utf8(tmp_path):
    storage.write_text(str(tmp_path / "x"), os.fsdecode(b"Stra\xdfe, ") + "Straße")
    assert (tmp_path / "x").read_bytes() == b"Stra\\udcdfe, " + "Straße".encode()


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    def fail(stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.write_file(str(tmp_path / "x"), fail)
    with pytest.raises(InputError, match="cannot write .*absent/x: No such file"):
        storage.write_text(str(tmp_path / "absent" / "x"), "")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_in_the_words_of_a_library(tmp_path):
    for text in ("ckpt.data: No space left on device", "[ONNXRuntimeError] : 1 : FAIL : No space left on device [x]"):
        with pytest.raises(InputError, match="cannot write DIR: No space left on device"):
            with storage.writing("DIR"):
                raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="something else"):
        with storage.writing("DIR"):
            raise RuntimeError("something else")


FULL = """
import os, sys
from grdnet_tf import storage
from grdnet_tf.errors import InputError
import numpy as np
os.chdir(sys.argv[1])
storage.write_arrays("x.npz", {"a": np.ones(4)}, {})
try:
    storage.write_arrays("x.npz", {"a": np.ones(10**6)}, {})
except InputError as error:
    print(error)
with storage.lock("held"):
    pass
print(storage.read_arrays("x.npz")[0]["a"].sum(), os.listdir("."))
"""


def test_a_disk_that_is_really_full(tmp_path):
    def run(code):
        return subprocess.run(["unshare", "--mount", "--map-root-user", "sh", "-c",
                               f'mount -t tmpfs -o size=1m none "{tmp_path}" && "$0" -c "$1" "{tmp_path}"',
                               sys.executable, code], cwd=ROOT, capture_output=True, text=True)

    try:
        possible = run("").returncode == 0
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("a file system of its own may not be mounted here")
    done = run(FULL)
    assert done.stdout.splitlines() == ["cannot write x.npz: No space left on device", "4.0 ['x.npz']"], done.stderr
