"""Put a finished version where a server looks for it: whole, checked and on the disk, or not at all. No TensorFlow.

    OUT/<model name>/<version>/manifest.json and what it lists

A server takes the largest whole number among the folders, complete or not. So everything is written to a folder whose
name is no number, and renamed as the last step; a version that is there is never touched.
"""
import contextlib
import glob
import os
import stat
from typing import Callable, Dict, List, Optional

from ..errors import ExportStopped, InputError
from ..storage import aside, file_sha256, make_folder, make_readable, read_json, sync, sync_tree, write_json, writing

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"  # of all other files, the manifest included: signing.py
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
        staged = [_stage(home, write, cleanup) for home, write in targets.items()]
        if before:
            before()
        for final in finals:
            if os.path.lexists(final):  # another export was faster
                raise InputError(f"{final}: is there already; versions are never overwritten")
        with contextlib.ExitStack() as taking_back:
            for fresh, final in zip(staged, finals):
                with writing(final):
                    os.rename(fresh, final)
                    taking_back.callback(os.rename, final, fresh)
                    sync(os.path.dirname(final))
            taking_back.pop_all()
    return finals


def _stage(home, write, cleanup):
    """A temporary folder within `home` with all that goes there, on the disk and verified."""
    with writing(home):
        if not os.path.isdir(home):
            make_folder(home)
            cleanup.callback(lambda: os.listdir(home) or os.rmdir(home))
        fresh = cleanup.enter_context(aside(home))
        content = write(fresh)
        hashes = {path: file_sha256(os.path.join(fresh, path)) for path in files(fresh)}
        write_json(os.path.join(fresh, MANIFEST), dict(content, files=hashes))
        make_readable(fresh)
        sync_tree(fresh)
        verify(fresh)
    return fresh


def newest(path: str, otherwise: str = "no export: neither a version nor a folder of versions") -> str:
    """The folder of the version that is meant: itself, or the newest of a model's folder, or of the only model.

    Raises: InputError where there are models of several names, and with the words `otherwise` where there is none.
    """
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return path
    models = [path, *sorted(glob.glob(os.path.join(glob.escape(path), "*")))]
    versions = {folder: sorted((int(name) for name in os.listdir(folder) if name.isdecimal()
                                and os.path.isfile(os.path.join(folder, name, "saved_model.pb"))), reverse=True)
                for folder in models if os.path.isdir(folder)}
    found = [os.path.join(folder, str(numbers[0])) for folder, numbers in versions.items() if numbers]
    if len(found) > 1:
        raise InputError(f"{path}: several models; name one of " + ", ".join(os.path.dirname(one) for one in found))
    if not found:
        raise InputError(f"{path}: {otherwise}")
    return found[0]


def files(folder: str) -> list:
    """Paths within `folder` of all files but the manifest and its signature, with "/" between their parts.

    Raises ExportStopped naming what is neither a file nor a folder, or cannot be read: a link shows a server something
    that no manifest vouches for.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        for name in folders + names:
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            if not (stat.S_ISREG(mode) if name in names else stat.S_ISDIR(mode)):
                what = "a link" if stat.S_ISLNK(mode) else "no file"
                raise ExportStopped(f"{path}: {what}, expected the file itself")
        found += [os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/") for name in names]
    return sorted(path for path in found if path not in (MANIFEST, SIGNATURE))


def verify(folder: str) -> dict:
    """The manifest of a version, once every file has been found as it says. Raises ExportStopped naming the file."""
    path = os.path.join(folder, MANIFEST)
    try:
        present = files(folder)
        content = read_json(path)
        listed = content["files"]
        if not all(isinstance(digest, str) for digest in listed.values()):
            raise TypeError("no digest")
        for name in sorted(set(listed) ^ set(present)):
            raise ExportStopped(f"{folder}{os.sep}{name}: {'missing' if name in listed else 'not in the manifest'}")
        for name, expected in listed.items():
            if file_sha256(os.path.join(folder, name)) != expected:
                raise ExportStopped(f"{os.path.join(folder, name)}: not the file that the manifest lists")
    except OSError as error:
        _refuse(error)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ExportStopped(f"{path}: damaged; export again, or copy the version again") from None
    return content


def _refuse(error):
    raise ExportStopped(f"{error.filename}: {error.strerror}") from None
