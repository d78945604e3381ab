"""A published version in one file, for a machine without a network: what a server shares, the client, and all digests.

    bundle.json            format, {path: SHA-256} of every other file
    <name>/<version>/...   the version as it was published, its manifest.json included
    serving/...            the server's settings for this model alone, client.py, README.md

The same version gives the same bytes: entries by name, no owner, no time. Unpack it where the server's share is to be.
No TensorFlow.
"""
import hashlib
import io
import json
import os
import tarfile
from typing import Dict, List, Tuple

from ..errors import ExportStopped, InputError
from ..storage import write_file
from . import publish, server_files

INDEX = "bundle.json"
FORMAT = 1
_PIECE = 1 << 20


def write(path: str, versions: List[str]) -> None:
    """Write `versions`, folders DIR/<name>/<version> of one DIR, and the files of DIR/serving to the tar `path`.

    Raises: ExportStopped where a version is not as its manifest says; InputError for what cannot be read or written.
    """
    out = os.path.dirname(os.path.dirname(os.path.abspath(versions[0])))
    sources: Dict[str, object] = {}  # name in the bundle -> path of a file, or its bytes
    for folder in versions:
        folder = os.path.abspath(folder)
        publish.verify(folder)
        place = os.path.relpath(folder, out).replace(os.sep, "/")
        sources.update((f"{place}/{name}", os.path.join(folder, name))
                       for name in (*publish.files(folder), publish.MANIFEST, publish.SIGNATURE)
                       if name != publish.SIGNATURE or os.path.isfile(os.path.join(folder, name)))
    names = [os.path.basename(os.path.dirname(os.path.abspath(folder))) for folder in versions]
    shared = os.path.join(out, server_files.FOLDER)
    for name in server_files.FILES:
        if os.path.isfile(os.path.join(shared, name)):
            sources[f"{server_files.FOLDER}/{name}"] = os.path.join(shared, name)
    sources[f"{server_files.FOLDER}/{server_files.MODELS}"] = server_files.models_config(names[:1], names[1:]).encode()
    digests = {}
    for name in sorted(sources):
        with _opened(sources[name]) as stream:
            digests[name] = _digest(stream)
    index = json.dumps({"format": FORMAT, "files": digests}, indent=2).encode() + b"\n"

    write_file(path, lambda stream: pack(stream, ((INDEX, index), *sorted(sources.items()))))


def pack(stream, entries) -> None:
    """A tar of (name, path of a file or its bytes) to `stream`: the same bytes each time, for any user to read."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, source in entries:
            with _opened(source) as content:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = content.seek(0, os.SEEK_END), 0o644
                content.seek(0)
                tar.addfile(entry, content)


def verify(path: str) -> Dict[str, str]:
    """{name: SHA-256} of the bundle at `path`, every one found as it says. Nothing is unpacked.

    Raises: ExportStopped naming the entry that is missing, changed, twice there, no file, or would be written outside
    the folder that it is unpacked in; InputError for what is no bundle.
    """
    found = {}
    try:
        with tarfile.open(path, mode="r:") as tar:
            index = None
            for entry in tar:
                parts = entry.name.split("/")
                if not entry.isreg() or {"", ".", ".."} & set(parts) or "\\" in entry.name:
                    raise ExportStopped(f"{path}: {entry.name}: not a plain file within the bundle")
                if entry.name in found or (entry.name == INDEX and index is not None):
                    raise ExportStopped(f"{path}: {entry.name}: is there twice")
                stream = tar.extractfile(entry)
                if entry.name == INDEX:
                    index = json.loads(stream.read(16 * _PIECE))
                else:
                    found[entry.name] = _digest(stream)
        listed = index["files"]
        if index["format"] != FORMAT or not all(isinstance(digest, str) for digest in listed.values()):
            raise TypeError(f"format {index['format']}")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (tarfile.TarError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ExportStopped(f"{path}: no bundle of `grdnet export --bundle`, or damaged") from None
    for name in sorted({*listed, *found}):
        if listed.get(name) != found.get(name):
            what = "missing" if name not in found else "not in its list" if name not in listed else "changed"
            raise ExportStopped(f"{path}: {name}: {what}")
    return listed


def published(folder: str) -> List[Tuple[str, int]]:
    """[(folder of a version, its number of files)] of a version, a model's folder or all that a server shares.

    Raises: ExportStopped where one is not as its manifest says; InputError where none is found.
    """
    if os.path.isfile(os.path.join(folder, publish.MANIFEST)):
        return [(folder, len(publish.verify(folder)["files"]))]
    try:
        inside = sorted(name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from None
    homes = [folder] if any(name.isdecimal() for name in inside) else [os.path.join(folder, name) for name in inside]
    versions = [os.path.join(home, name) for home in homes for name in sorted(os.listdir(home), key=_number)
                if name.isdecimal() and os.path.isdir(os.path.join(home, name))]
    if not versions:
        raise InputError(f"{folder}: no version in it: expected <version>/{publish.MANIFEST}, or folders of versions")
    return [(version, len(publish.verify(version)["files"])) for version in versions]


def _number(name):
    return (int(name) if name.isdecimal() else -1, name)


def _opened(source):
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def _digest(stream):
    digest = hashlib.sha256()
    while piece := stream.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()
