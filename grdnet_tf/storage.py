"""Files that are whole or absent: written to a temporary name, synced to disk, renamed. No TensorFlow, no pickle."""
import hashlib
import json
import os
import zipfile
from typing import Any, Callable, Dict, Mapping, Tuple

import numpy as np

from .errors import InputError

_STATE = "state.json"


def write_file(path: str, write: Callable) -> None:
    """Call `write(stream)` on a binary stream that becomes `path` only when all of it is on the disk.

    A full disk or a kill leaves what stood under `path` before. Raises InputError naming `path` on failure.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync(os.path.dirname(os.path.abspath(path)))  # the rename itself must outlive a power cut
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def sync(path: str) -> None:
    """Wait until a file or the entries of a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def umask() -> int:
    """What a new folder's mode leaves out; `tempfile.mkdtemp` makes folders that nobody else may read."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def file_sha256(path: str) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_text(path: str, text: str) -> None:
    write_file(path, lambda stream: stream.write(text.encode("utf-8")))


def write_json(path: str, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_arrays(path: str, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> None:
    """Named arrays and a JSON state in one uncompressed .npz, each entry under a CRC-32."""
    text = np.frombuffer(json.dumps(state).encode("utf-8"), np.uint8)

    def write(stream):  # np.savez leaves its archive open where the disk is full: a traceback after the error's line
        with zipfile.ZipFile(stream, "w") as archive:
            for name, array in {_STATE: text, **arrays}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)

    write_file(path, write)


def read_arrays(path: str) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
    """What `write_arrays` wrote. Raises InputError naming `path` if it is missing, truncated or altered."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        state = json.loads(arrays.pop(_STATE).tobytes().decode("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged ({str(error).splitlines()[0] if str(error) else 'unreadable'})") from None
    return arrays, state


def fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
