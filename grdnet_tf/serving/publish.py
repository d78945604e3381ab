"""Put a finished version where a server looks for it: whole, checked and on the disk, or not at all. No TensorFlow.

    OUT/<model name>/<version>/manifest.json and what it lists

A server takes the largest whole number among the folders, complete or not. So everything is written to a folder whose
name is no number, and renamed as the last step; a version that is there is never touched.
"""
import contextlib
import json
import os
import shutil
import tempfile
from typing import Callable, Dict, List, Optional

from ..errors import ExportStopped, InputError
from ..storage import file_sha256, sync, umask, write_json

MANIFEST = "manifest.json"
LARGEST = 2**63 - 1  # a server reads versions as int64


def free_version(home: str, version=None) -> int:
    """`version`, or the one after the largest in `home`, OUT/<model name>. InputError if it is there already."""
    if os.path.exists(home) and not os.path.isdir(home):
        raise InputError(f"{home}: is a file, expected a folder of versions")
    present = [int(name) for name in os.listdir(home) if name.isdecimal()] if os.path.isdir(home) else []
    version = max(present, default=0) + 1 if version is None else version
    if not 1 <= version <= LARGEST:
        raise InputError(f"--version {version}: expected a whole number from 1 to {LARGEST}")
    if version in present:
        raise InputError(f"{os.path.join(home, str(version))}: is there already; versions are never overwritten, leave "
                         "--version out for the next one")
    return version


def publish(version: int, targets: Dict[str, Callable[[str], dict]], before: Optional[Callable] = None) -> List[str]:
    """Make HOME/<version> of every {HOME: write}, all of them or none; returns the folders.

    `write(folder)` fills a folder and returns the manifest's content; "files" is added here. They are called in order.
    `before()` is called when all is written and checked, and nothing can be seen yet: what else must be there.

    Raises: InputError if one cannot be written or is there already, ExportStopped if the files changed on the way;
    these and whatever `write` and `before` raise leave every home as it was.
    """
    finals = [os.path.join(home, str(version)) for home in targets]
    with contextlib.ExitStack() as cleanup:
        staged = [_stage(home, version, write, cleanup) for home, write in targets.items()]
        if before:
            before()
        for final in finals:
            if os.path.lexists(final):  # another export was faster
                raise InputError(f"{final}: is there already; versions are never overwritten")
        with contextlib.ExitStack() as taking_back:
            for aside, final in zip(staged, finals):
                with _named(final):
                    os.rename(aside, final)
                    taking_back.callback(os.rename, final, aside)
                    sync(os.path.dirname(final))
            taking_back.pop_all()
    return finals


def _stage(home, version, write, cleanup):
    """The temporary folder beside HOME/<version> with all that goes there, on the disk and verified."""
    with _named(home):
        if not os.path.isdir(home):
            os.makedirs(home)
            cleanup.callback(lambda: os.listdir(home) or os.rmdir(home))
        aside = tempfile.mkdtemp(prefix=f".unfinished-{version}-", dir=home)
        cleanup.callback(shutil.rmtree, aside, ignore_errors=True)
        content = write(aside)
        hashes = {path: file_sha256(os.path.join(aside, path)) for path in files(aside)}
        write_json(os.path.join(aside, MANIFEST), dict(content, files=hashes))
        for folder, _, names in os.walk(aside, topdown=False):
            for name in names:
                sync(os.path.join(folder, name))
            sync(folder)
        verify(aside)
        os.chmod(aside, 0o777 & ~umask())
    return aside


@contextlib.contextmanager
def _named(path):
    """The operating system's errors as InputError naming `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def files(folder: str) -> list:
    """Paths within `folder` of all files but the manifest, with "/" between their parts."""
    found = [os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
             for parent, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if path != MANIFEST)


def verify(folder: str) -> dict:
    """The manifest of a version, once every file has been found as it says. Raises ExportStopped naming the file."""
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
        listed = content["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ExportStopped(f"{path}: missing or damaged") from None
    for name in sorted(set(listed) ^ set(files(folder))):
        raise ExportStopped(f"{os.path.join(folder, name)}: {'missing' if name in listed else 'not in the manifest'}")
    for name, expected in listed.items():
        if file_sha256(os.path.join(folder, name)) != expected:
            raise ExportStopped(f"{os.path.join(folder, name)}: not the file that the manifest lists")
    return content
