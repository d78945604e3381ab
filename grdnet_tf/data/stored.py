"""A path whose bytes lie in a shard; and files of this machine or of one that tf.io.gfile knows, by the same few calls.

What is remote has :// in its path. Only that needs TensorFlow.
"""
from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

from ..storage import file_sha256, remote

_AT_ONCE = 3  # shards of a remote file system in memory: in use, in use until now, coming


class Unreadable(Exception):
    """Bytes that cannot be had from a shard: which file, and why."""


class Stored(str):
    """The path of a picture, mask or ROI as if its set were a folder; `table`, `row`, `part`: where it is."""
    __slots__ = ("table", "row", "part")

    def __new__(cls, path: str, table, row: int, part: str):
        self = super().__new__(cls, path)
        self.table, self.row, self.part = table, row, part
        return self

    def read(self) -> bytes:
        """The bytes of the file. Raises Unreadable."""
        return self.table.read(self.row, self.part)

    def expect(self) -> None:
        """Its shard will be read soon."""
        self.table.expect(self.row)

    @property
    def sha256(self) -> str:
        """Of the file that it was, before it was resized; of a drawn ROI as `roi.digest` has it."""
        return self.table.digests[self.part][self.row].tobytes().hex()

    @property
    def size(self) -> int:
        """Bytes of the file that it was."""
        return int(self.table.columns["file_bytes"][self.row])


class Reader:
    """Parts of shards. Remote ones are read whole, as a request costs as much as megabytes do; the last few stay."""

    def __init__(self):
        self._lock, self._pool, self._held = threading.Lock(), ThreadPoolExecutor(1), {}

    def read(self, file: str, offset: int, length: int, crc: int) -> bytes:
        """`length` bytes from `offset` on, whose CRC-32 is `crc`. Raises Unreadable."""
        try:
            if remote(file):
                contents = self._whole(file).result()[offset:offset + length]
            else:
                with open(file, "rb", buffering=0) as stream:
                    stream.seek(offset)
                    contents = stream.read(length)
        except OSError as error:
            raise Unreadable(f"cannot be read: {file}: {error.strerror or error}") from None
        if len(contents) != length or zlib.crc32(contents) != crc:
            what = "truncated" if len(contents) < length else "not as it was written"
            raise Unreadable(f"cannot be read: {file} is {what}")
        return contents

    def expect(self, file: str) -> None:
        """A hint that `file` will be read soon: it is fetched in the meantime."""
        if remote(file):
            self._whole(file)
        elif hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError), open(file, "rb", buffering=0) as stream:  # who reads says why
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    def _whole(self, file):
        """A future of the file's bytes."""
        with self._lock:
            future = self._held.pop(file, None)
            if future is None or future.done() and future.exception():
                future = self._pool.submit(read_file, file)
            self._held[file] = future  # the newest is the last
            for old in list(self._held)[:-_AT_ONCE]:
                del self._held[old]
            return future


# Files, here or remote -----------------------------------------------------------------------------------------------


def join(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}" if remote(root) else os.path.join(root, *name.split("/"))


def read_file(path: str) -> bytes:
    """Raises OSError."""
    if not remote(path):
        with open(path, "rb") as stream:
            return stream.read()
    return _asked(lambda gfile: gfile.GFile(path, "rb").read(), path)


def file_size(path: str) -> int:
    """Raises OSError."""
    return _asked(lambda gfile: gfile.stat(path).length, path) if remote(path) else os.path.getsize(path)


def exists(path: str) -> bool:
    return _asked(lambda gfile: gfile.exists(path), path) if remote(path) else os.path.exists(path)


def _asked(action, path):
    """`action(tf.io.gfile)`, what TensorFlow says of a file as OSError."""
    import tensorflow as tf

    try:
        return action(tf.io.gfile)
    except tf.errors.NotFoundError:
        raise FileNotFoundError(2, os.strerror(2), path) from None
    except tf.errors.OpError as error:
        raise OSError(5, error.message.splitlines()[0] if error.message else type(error).__name__, path) from None


def file_digest(path: str) -> str:
    """SHA-256. Raises OSError."""
    return hashlib.sha256(read_file(path)).hexdigest() if remote(path) else file_sha256(path)
