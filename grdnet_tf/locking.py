"""One at a time: a lock between processes that no killed one leaves behind, on POSIX and Windows. No TensorFlow."""
import contextlib
import errno
import logging
import os
import platform
import time
from typing import Iterator

from .errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    try:
        import msvcrt
    except ImportError:
        msvcrt = None

logger = logging.getLogger(__name__)

_BYTE = 1 << 30  # the one that Windows locks, and then lets nobody read: far behind what is in the file
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def lock(path: str, wait: float = 0.0) -> Iterator[None]:
    """Be the only one, of all processes and threads, that holds `path`: a file that is there for as long.

    The system lets go of it when the process ends, however it ends: what a killed one leaves locks nobody out.

    Args:
      wait: seconds to wait for another that holds it.

    Raises: InputError that names who holds it, or if the file cannot be made. Where the file system knows no locks
    there is a warning, and nobody is kept out.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None
        if _seized(descriptor, path):
            if _still(descriptor, path):
                break
            os.close(descriptor)  # the holder before has removed it since it was opened
            continue
        os.lseek(descriptor, 0, os.SEEK_SET)
        holder = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise InputError(f"{path}: held by {holder}; wait until that one has ended")
        time.sleep(0.02)
    try:
        with contextlib.suppress(OSError):  # a full disk: then it does not say who
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode("utf-8", "replace"))
        yield
    finally:
        if fcntl is None:  # Windows removes no file that is open, be it the next one's
            os.close(descriptor)
        with contextlib.suppress(OSError):
            os.remove(path)
        if fcntl is not None:  # removed while it is held, or the next one could hold what is removed under it
            os.close(descriptor)


def _seized(descriptor, path):
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            os.lseek(descriptor, _BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    except OSError as error:
        if error.errno in _HELD:
            return False
        logger.warning("warning: %s: cannot be locked here (%s); let no other command write there meanwhile", path,
                       error.strerror)
    return True


def _still(descriptor, path):
    """Whether `path` is still the file that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
