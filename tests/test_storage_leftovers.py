"""What killed writers leave on the disk goes; one at a time holds, between threads and processes."""
import os
import threading
import time

import pytest
from other_process import killed, python

from grdnet_tf import storage
from grdnet_tf.errors import InputError

# What killed writers leave --------------------------------------------------------------------------------------------

WRITER = """
import sys, time
from grdnet_tf import storage
def write(stream):
    stream.write(b"half"); stream.flush()
    print("ready", flush=True)
    time.sleep(60)
storage.write_file(sys.argv[1], write)
"""
FILLER = """
import os, sys, time
from grdnet_tf import storage
with storage.aside(sys.argv[1]) as folder:
    open(os.path.join(folder, "picture"), "w").close()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    for code, target in ((WRITER, str(tmp_path / "x")), (FILLER, str(tmp_path))):
        killed(code, target)
        assert len([name for name in os.listdir(tmp_path) if name.endswith(".tmp")]) == 1
        storage.write_text(str(tmp_path / "y"), "")
        assert os.listdir(tmp_path) == ["y"]
    killed(FILLER, str(tmp_path))
    with storage.aside(str(tmp_path)) as fresh:
        assert sorted(os.listdir(tmp_path)) == [os.path.basename(fresh), "y"]


def test_what_a_living_writer_has_begun_stays(tmp_path):
    process = python(FILLER, str(tmp_path))
    try:
        assert process.stdout.readline() == "ready\n"
        begun = os.listdir(tmp_path)
        os.utime(tmp_path / begun[0], (0, 0))  # however long it takes
        storage.write_text(str(tmp_path / "y"), "")
        assert sorted(os.listdir(tmp_path)) == sorted([*begun, "y"])
    finally:
        process.kill()
        process.communicate()


def test_what_another_machine_began_stays_for_an_hour(tmp_path):
    left = tmp_path / ".grdnet-00000000-1-0123456789abcdef.tmp"
    left.mkdir()
    (left / "inside").write_text("")
    storage.sweep(str(tmp_path))
    assert left.is_dir()
    os.utime(left, (0, 0))
    storage.sweep(str(tmp_path))
    assert left.is_dir()  # what is in it was just written
    os.utime(left / "inside", (time.time() - 3700,) * 2)
    storage.sweep(str(tmp_path))
    assert not left.exists()


def test_what_is_not_ours_stays(tmp_path):
    names = ["x.tmp", "weights.npz.1.tmp", ".grdnet-notes.tmp", ".grdnet-0000000-1-0123456789abcdef.tmp",
             ".grdnet-00000000-1-0123456789abcdef.tmp.bak"]
    for name in names:
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "kept").write_text("mine")
    link = tmp_path / ".grdnet-00000000-1-0123456789abcdef.tmp"
    os.symlink(tmp_path, link)
    os.utime(link, (0, 0), follow_symlinks=False)
    storage.write_text(str(tmp_path / "y"), "")
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "kept", "y"])
    assert (tmp_path / "kept").read_text() == "mine"  # what a link of that name points to


# One at a time --------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from grdnet_tf import storage
with storage.lock(sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.readline()
"""
COUNTER = """
import sys
from grdnet_tf import storage
for _ in range(20):
    with storage.lock(sys.argv[1] + ".lock", wait=60):
        with open(sys.argv[1]) as stream:
            count = int(stream.read())
        storage.write_text(sys.argv[1], str(count + 1))
"""


def test_a_lock_names_who_holds_it_and_ends_with_its_process(tmp_path):
    path = str(tmp_path / "lock")
    process = python(HOLDER, path)
    try:
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(InputError, match=rf"lock: held by process {process.pid} on .*; wait"):
            with storage.lock(path):
                pass
        started = time.monotonic()
        with pytest.raises(InputError, match="held by"):
            with storage.lock(path, wait=0.3):
                pass
        assert 0.3 <= time.monotonic() - started < 3
        threading.Timer(0.3, lambda: process.communicate("\n")).start()
        with storage.lock(path, wait=30):  # goes on as soon as the other has ended
            assert time.monotonic() - started < 20
        assert os.listdir(tmp_path) == []
    finally:
        process.kill()
    number = killed(HOLDER, path)
    assert str(number) in (tmp_path / "lock").read_text()  # the file stays, and locks nobody out
    with storage.lock(path):
        assert f"process {os.getpid()} " in (tmp_path / "lock").read_text()
    assert os.listdir(tmp_path) == []


def test_threads_are_kept_apart_and_an_error_lets_go(tmp_path):
    path = str(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError):
        with storage.lock(path):
            with pytest.raises(InputError, match=f"held by process {os.getpid()} "):
                with storage.lock(path):
                    pass
            raise ZeroDivisionError
    with storage.lock(path):
        pass


def test_no_update_is_lost_among_processes(tmp_path):
    (tmp_path / "count").write_text("0")
    processes = [python(COUNTER, str(tmp_path / "count")) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    for process in processes:
        process.communicate()
    assert (tmp_path / "count").read_text() == "80" and os.listdir(tmp_path) == ["count"]


def test_a_lock_that_cannot_be_made_or_is_a_link(tmp_path):
    with pytest.raises(InputError, match="cannot write .*absent/lock"):
        with storage.lock(str(tmp_path / "absent" / "lock")):
            pass
    os.symlink(tmp_path / "elsewhere", tmp_path / "lock")
    with pytest.raises(InputError, match="cannot write .*lock"):
        with storage.lock(str(tmp_path / "lock")):
            pass
    assert not (tmp_path / "elsewhere").exists()
