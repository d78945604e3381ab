"""A folder into which a camera writes: each picture once, when it is whole. No TensorFlow.

Polled, not notified: that works on network drives too. A file is taken when two looks in a row have found it the same,
and it can be read; one that stays unreadable is taken too, after `patience` seconds without a change, and judged as
what it is. A file that is written anew under its name is another picture.
"""
import os
import time
from typing import Callable, Iterator, Optional

from ..data.files import FORMATS, BadImage, read_picture
from ..data.layout import LITTER
from ..errors import InputError
from .folder import key
from .sources import Item

EVERY, PATIENCE = 0.5, 5.0  # seconds


def watch(folder: str, known: Callable[[tuple], bool] = lambda one: False, *, every: float = EVERY,
          patience: float = PATIENCE, idle: Optional[float] = None, clock=time.monotonic,
          sleep=time.sleep) -> Iterator[Optional[Item]]:
    """Items of the pictures in `folder` and its subfolders as they come, by the time of change; None after each look.

    Args:
      known: of a `folder.key`: whether that picture was judged before.
      every: seconds between two looks.
      patience: seconds for which a file that cannot be read may still be on its way.
      idle: seconds without a new picture after which it ends; None: never.

    Raises: InputError where there is no such folder.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder to watch")
    taken, seen, last = set(), {}, clock()  # `taken`: of what is still there; `seen`: {path: (stamp, since when)}
    while True:
        now, (there, unseen) = clock(), _files(folder)
        present = {key(*one) for one in there.items()}  # what is gone is forgotten: memory follows the folder
        taken = {one for one in taken if one in present or one[0].startswith(unseen)}
        fresh, seen_before, seen = [], seen, {}
        for path, stamp in there.items():
            one = key(path, stamp)
            if one in taken or known(one):
                continue
            before, since = seen_before.get(path, (None, now))
            since = since if before == stamp else now
            seen[path] = (stamp, since)
            if before == stamp:
                fresh.append((stamp, path, now - since))
        for stamp, path, age in sorted(fresh):
            if age < patience and not _whole(path):
                continue
            taken.add(key(path, stamp))
            del seen[path]
            last = clock()
            yield Item(path, os.path.relpath(path, folder).replace(os.sep, "/"), None, stamp)
        yield None
        if idle is not None and clock() - last > idle and not seen:
            return
        sleep(every)


def _files(folder):
    """{path: (time of change in ns, bytes)} of the pictures below a folder; no hidden ones, no linked folders.

    And what the paths begin with of which nothing is known this time: a drive may be away for a while.
    """
    found, waiting, unseen = {}, [folder], []
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name.lower() in LITTER:
                        continue
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif os.path.splitext(entry.name)[1].lower() in FORMATS:
                            status = entry.stat()
                            found[entry.path] = (status.st_mtime_ns, status.st_size)
                    except OSError:  # gone since
                        continue
        except OSError:
            unseen.append(os.path.join(current, ""))
    return found, tuple(unseen)


def _whole(path):
    """Whether a file can be read: an image that is still being written cannot."""
    try:
        read_picture(path)
    except BadImage:
        return False
    return True
