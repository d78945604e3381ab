"""Files and folders that are whole or absent, whatever ends the process that writes them. No TensorFlow, no pickle.

What is written has a temporary name (`.grdnet-...tmp`) until it is on the disk. What a killed process left is removed
by the next one that writes to the same folder.
"""
import contextlib
import errno
import functools
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
import zipfile
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple

import numpy as np

from .errors import InputError
from .locking import lock  # noqa: F401  asked for here: it guards what is written here

_STATE = "state.json"
_MARK = b"sha256 "  # with 64 hex digits, the comment at an archive's end: the digest of every byte before them
_OURS = re.compile(r"\.grdnet-([0-9a-f]{8})-(\d{1,9})-[0-9a-f]{16}\.tmp")  # where the process ran, its number, chance
_ABANDONED = 3600.0  # seconds without a change, of what a process that cannot be asked for began
_FULL = tuple(os.strerror(getattr(errno, name)) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))


# Writing: all or nothing ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """The system's refusals (no room, no right) as InputError naming `path`, also where a library words them anew."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    except Exception as error:  # TensorFlow, onnx and onnxruntime have classes of their own for a full disk
        reason = next((text for text in _FULL if text in str(error)), None)
        if reason is None or isinstance(error, InputError):
            raise
        raise InputError(f"cannot write {path}: {reason}") from error


def write_file(path: str, write: Callable) -> None:
    """Call `write(stream)` on a binary stream that becomes `path` only when all of it is on the disk.

    A full disk or a kill leaves what stood under `path` before. Raises InputError naming `path` on failure.
    """
    folder = os.path.dirname(os.path.abspath(path))
    with writing(path):
        sweep(folder)
        temporary = _temporary_name(folder)
        try:
            with open(temporary, "x+b") as stream:  # "x": never into a file or through a link that is there already
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
            sync(folder)  # the rename itself must outlive a power cut
        finally:
            with contextlib.suppress(OSError):  # there is none after the rename
                os.remove(temporary)


@contextlib.contextmanager
def aside(folder: str) -> Iterator[str]:
    """Path of a fresh folder within `folder`, to be filled and renamed. What is still there at the end is removed."""
    sweep(folder)
    path = _temporary_name(folder)
    os.mkdir(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sync(path: str) -> None:
    """Wait until a file, or the entries of a folder, are on the disk. Windows does so for files only."""
    folder = os.path.isdir(path)
    try:
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes what can be written only
    except PermissionError:
        if folder:  # Windows opens none
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno != errno.EINVAL:  # some network drives have no such call for folders
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: str) -> None:
    """`sync` of all that is in a folder, and of the folder."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(os.path.join(parent, name))
        sync(parent)


def make_readable(path: str) -> None:
    """Let every user read a file, or all that is in a folder: a server runs as another one than whoever exports."""
    for parent, _, names in os.walk(path):
        os.chmod(parent, os.stat(parent).st_mode & 0o777 | 0o555)
        for name in names:
            make_readable(os.path.join(parent, name))
    if os.path.isfile(path):
        os.chmod(path, os.stat(path).st_mode & 0o777 | 0o444)


def make_folder(path: str) -> None:
    """A folder that every user may enter, with those above it, where they are not there yet."""
    if not os.path.isdir(path):
        above = os.path.dirname(os.path.abspath(path))
        make_folder(above)
        os.makedirs(path, exist_ok=True)  # another process may be faster
        os.chmod(path, 0o755)


def write_text(path: str, text: str) -> None:
    """UTF-8; of a file name that is not, the odd bytes as `\\udcNN`."""
    write_file(path, lambda stream: stream.write(text.encode("utf-8", "backslashreplace")))


def write_json(path: str, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


# What a killed process left -------------------------------------------------------------------------------------------


def sweep(folder: str) -> None:
    """Remove temporary files and folders of ours from `folder` whose process is gone.

    Where that cannot be known (another machine or container, Windows) they go when nothing in them has changed for an
    hour. What cannot be removed stays.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        ours, path = _OURS.fullmatch(name), os.path.join(folder, name)
        if ours and _abandoned(path, *ours.groups()):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.remove(path)


def _temporary_name(folder):
    """Short, as the name that it stands for may fill what the file system allows; nobody can foresee it."""
    return os.path.join(folder, f".grdnet-{_here()}-{os.getpid()}-{secrets.token_hex(8)}.tmp")


@functools.lru_cache(maxsize=None)
def _here():
    """8 hex digits for where a process number means the same process: one machine since its start, one container."""
    facts = [platform.node()]
    with contextlib.suppress(OSError):  # Linux only
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            facts.append(stream.read())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(facts).encode("utf-8", "replace")).hexdigest()[:8]


def _abandoned(path, where, number):
    if where == _here() and os.name == "posix":  # Windows' `os.kill` would end the process
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
        except OSError:  # somebody else's
            pass
        return False
    inside = [] if os.path.islink(path) else os.walk(path)
    last = 0.0
    for each in (path, *(os.path.join(parent, name) for parent, folders, files in inside for name in folders + files)):
        with contextlib.suppress(OSError):
            last = max(last, os.lstat(each).st_mtime)
    return time.time() - last > _ABANDONED


# Paths ---------------------------------------------------------------------------------------------------------------


def remote(path: str) -> bool:
    """Whether a path is of another file system, such as gs://bucket/folder: tf.io.gfile's, not the system's."""
    return "://" in path


def absolute(path: str) -> str:
    """`os.path.abspath` of what is no remote path."""
    return path if remote(path) else os.path.abspath(path)


# Arrays and digests ---------------------------------------------------------------------------------------------------


def file_sha256(path: str) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return _sha256(stream)


def _sha256(stream, size: Optional[int] = None) -> str:
    """SHA-256 of the first `size` bytes of a stream, or of all."""
    digest, left = hashlib.sha256(), float("inf") if size is None else size
    stream.seek(0)
    while left > 0:
        block = stream.read(int(min(left, 1 << 20)))
        if not block:
            break
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()


def write_arrays(path: str, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Named arrays and a JSON state in one uncompressed .npz; its comment holds the SHA-256 of all before it."""
    text = np.frombuffer(json.dumps(state).encode("utf-8"), np.uint8)

    def write(stream):  # np.savez leaves its archive open where the disk is full: a traceback after the error's line
        with zipfile.ZipFile(stream, "w") as archive:
            archive.comment = _MARK + bytes(64)
            for name, array in {_STATE: text, **arrays}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
        end = stream.seek(-64, os.SEEK_END)
        digest = _sha256(stream, end)
        stream.seek(end)
        stream.write(digest.encode("ascii"))

    write_file(path, write)


def read_json(path: str):
    """What a JSON file holds. Raises OSError, and ValueError for what is no JSON or nested too deep to be ours."""
    with open(path, encoding="utf-8") as stream:
        try:
            return json.load(stream)
        except RecursionError:
            raise ValueError(f"{path}: nested too deep") from None


def read_arrays(path: str) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
    """What `write_arrays` wrote. Raises InputError naming `path` if it is missing, truncated or altered by one bit."""
    try:
        stream = open(path, "rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    try:
        with stream:
            _check_digest(stream)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        state = json.loads(arrays.pop(_STATE).tobytes().decode("utf-8"))
    except Exception as error:  # without a digest there is hardly a class that zipfile and NumPy do not raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: damaged ({reason})") from None
    return arrays, state


def _check_digest(stream):
    """ValueError where the digest is not that of the bytes before it."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - len(_MARK) - 64))
    tail = stream.read()
    if tail.startswith(_MARK):
        if _sha256(stream, size - 64).encode("ascii") != tail[-64:]:
            raise ValueError("its SHA-256 is not the one that it was written with")
    elif tail[-22:-18] != b"PK\5\6" or tail[-2:] != b"\0\0":  # an archive without a comment has no digest either
        raise ValueError("the end is missing or altered")


def fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
