"""A data folder into shards (`shards`): whole or absent, and the same bytes however it was interrupted or hurried.

Pictures to train on are dealt out by a digest of their names, so that each shard is a sample of all of them: training
reads one after the other. Those to test with stay in their order. A shard that is done is kept by a later command if
the files that it was made of have the sizes and times that they had. index.json comes last: without it there is no set.
"""
from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Iterable, Sequence

import tensorflow as tf

from ..console import Progress
from ..errors import InputError
from ..storage import aside, lock, remote, sync, write_file, writing
from . import aligning, shards
from . import roi as rois
from .files import BadImage, size_of
from .records import Kind, examine, list_mvtec, summed
from .shard_rows import FRAME, Wanted, name_of, place, row
from .stored import Stored, exists, file_digest, file_size, join, read_file

logger = logging.getLogger(__name__)

_AHEAD = 4  # pictures in work a thread


def write(root: str, out: str, splits: Sequence[str] = ("train", "test"), wanted: Wanted = Wanted(),
          threads: int = 0) -> dict:
    """Store the `splits` of the data folder `root` in the set `out`; returns its index.

    Args:
      threads: that read and encode; 0: one a processor. Nothing in the set depends on it.

    Raises: InputError naming the first bad file, or a folder that holds something else.
    """
    if not remote(out):
        _check_target(out)
        with writing(out):
            os.makedirs(out, exist_ok=True)
        with lock(os.path.join(out, ".grdnet-lock")):
            return _write(root, out, splits, wanted, threads or os.cpu_count())
    return _write(root, out, splits, wanted, threads or os.cpu_count())


def _write(root, out, splits, wanted, threads):
    listed = {split: list_mvtec(root, split) for split in splits}
    plan = {split: _dealt(records, root, split, wanted) for split, records in listed.items()}
    if exists(join(out, shards.INDEX)):
        with ThreadPoolExecutor(threads) as pool:
            return _complete(out, root, plan, wanted, pool)
    progress, done, total, found = Progress("pictures stored"), 0, sum(map(len, listed.values())), {}
    try:
        tf.io.gfile.makedirs(join(out, shards.PROGRESS))
    except tf.errors.OpError as error:
        raise InputError(f"cannot write {out}: {error.message.splitlines()[0]}") from None
    with ThreadPoolExecutor(threads) as pool:
        for split, parts in plan.items():
            each, first = [], listed[split][0]
            channels = _first_channels(first)
            for number, records in enumerate(parts):
                file = f"{split}-{number:05d}-of-{len(parts):05d}.tfrecord"
                made = functools.partial(row, root=root, split=split, wanted=wanted, channels=channels, first=first)
                rows = functools.partial(_ahead, pool, threads, made)
                each.append(_shard(out, file, root, records, rows, wanted, lambda n: progress(done + n, total)))
                done += len(records)
            found[split] = _summary(each, root)
    progress(total, total)
    index = {"grdnet_shards": 1, "resize": _resized(root, wanted), "shared": _shared(root, out), "splits": found}
    _put(join(out, shards.INDEX), json.dumps({"sha256": shards.digest_of(index), **index}, indent=1).encode() + b"\n")
    _tidy(out, index)
    return shards.describe(out)


def _dealt(records, root, split, wanted):
    """[records of a shard]: as many shards as the files' sizes ask for, of as many pictures each."""
    if wanted.resize:
        one = wanted.resize[0] * wanted.resize[1] * (_first_channels(records[0]) or 3)
        size = len(records) * one
    else:
        size = sum(size_of(record.image) for record in records)
    count = min(len(records), max(1, -(-size // wanted.size)))
    if split == "train":
        records = sorted(records, key=lambda one: hashlib.sha256(os.fsencode(name_of(one.image, root))).digest())
    edges = [len(records) * i // count for i in range(count + 1)]
    return [records[a:b] for a, b in zip(edges, edges[1:])]


def _first_channels(record):
    try:
        return examine(record).kind.channels
    except BadImage:  # said, or left out, where its turn comes; then any goes
        return None


# One shard -----------------------------------------------------------------------------------------------------------


def _shard(out, file, root, records, rows, wanted, told):
    """Its entry in the index and what is known of its pictures; made, or as an earlier command left it."""
    noted = join(out, f"{shards.PROGRESS}/{file}.json")
    key = hashlib.sha256(json.dumps([1, wanted, [_state(record, root) for record in records]]).encode()).hexdigest()
    kept = _kept(out, file, noted, key)
    if kept is not None:
        return kept
    columns = collections.defaultdict(list)
    kinds, skipped = [], []
    with _replacing(join(out, file)) as temporary, writing(join(out, file)):
        position = 0
        with tf.io.TFRecordWriter(temporary) as writer:
            for number, one in enumerate(rows(records)):
                told(number)
                if isinstance(one, BadImage):
                    if not wanted.skip_bad:
                        raise InputError(str(one))
                    skipped.append([name_of(one.path, root), one.reason])
                    continue
                writer.write(one.example)
                for name, value in one.columns.items():
                    columns[name].append(value)
                for part, contents in one.parts.items():
                    columns[part].append(place(one.example, contents, position))
                position += sum(FRAME) + len(one.example)
                kinds.append(one.kind)
    content = {name: columns[name] for name in ("names", "sizes", "depths", "channels", "peaks", "file_bytes",
                                                *shards.PARTS, *(part + "_sha256" for part in shards.PARTS))}
    for part in ("mask", "roi"):
        if not any(length for _, length, _ in content[part]):
            content[part] = content[part + "_sha256"] = []
    text = json.dumps(content).encode()
    _put(join(out, shards.columns_of(file)), text)
    entry = {"file": file, "pictures": len(kinds), "bytes": file_size(join(out, file)),
             "sha256": file_digest(join(out, file)), "columns_sha256": hashlib.sha256(text).hexdigest()}
    result = {"key": key, "entry": entry, "kinds": [list(kind) for kind in dict.fromkeys(
        kind._replace(soft=tuple(kind.soft)) for kind in kinds)], "skipped": skipped}
    _put(noted, json.dumps(result).encode())
    return result


def _kept(out, file, noted, key):
    """What an earlier command noted of this shard, if it is of the same files and its own are whole."""
    try:
        found = json.loads(read_file(noted))
        entry = found["entry"]
        columns = read_file(join(out, shards.columns_of(file)))
        same = found["key"] == key and hashlib.sha256(columns).hexdigest() == entry["columns_sha256"]
        return found if same and file_digest(join(out, file)) == entry["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state(record, root):
    """What tells whether a record is still the same, without reading its files."""
    found = [name_of(record.image, root)]
    for source in record[:3]:
        path = source if isinstance(source, str) or source is None else source.path
        if path is None or isinstance(path, Stored):
            found.append(None if path is None else path.sha256)
        else:
            try:
                known = os.stat(path)
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror}") from None
            found.append([known.st_size, known.st_mtime_ns, "" if isinstance(source, str) else repr(source.shapes)])
    return found


def _ahead(pool, threads, make, records) -> Iterable:
    """`make` of each record, in order; a few are in work while one is used."""
    waiting = collections.deque()
    for record in records:
        waiting.append(pool.submit(make, record))
        if len(waiting) > _AHEAD * threads:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


# The set -------------------------------------------------------------------------------------------------------------


def _summary(each, root):
    """A split in the index."""
    kinds = [Kind(tuple(size), *rest) for one in each for size, *rest in one["kinds"]]
    skipped = [bad for one in each for bad in one["skipped"]]
    if not kinds:
        raise InputError(f"{root}: no picture to work with: all are bad, the first is {skipped[0][0]}: {skipped[0][1]}")
    if len({kind.channels for kind in kinds}) > 1:
        raise InputError(f"{root}: grey and colour pictures mixed; expected all pictures alike")
    depth, peak, notes, sizes = summed(kinds)
    return {"pictures": sum(one["entry"]["pictures"] for one in each), "channels": kinds[0].channels, "depth": depth,
            "peak": peak, "sizes": [list(size) for size in sizes], "notes": notes, "skipped": skipped,
            "shards": [one["entry"] for one in each if one["entry"]["pictures"]]}


def _resized(root, wanted):
    """[H, W] that the pictures were brought to, here or before."""
    if wanted.resize is None and shards.is_set(root):
        return shards.describe(root)["resize"]
    return list(wanted.resize) if wanted.resize else None


def _shared(root, out):
    """Names of the copies of what a run keeps of its data folder: the ROI that all pictures share, how parts lie."""
    roi, align = None if remote(root) else rois.for_all(root), join(root, aligning.FILE)
    names = {"roi" + os.path.splitext(roi)[1].lower(): roi} if roi else {}
    names.update({aligning.FILE: align} if exists(align) else {})
    for name, path in names.items():
        _put(join(out, name), read_file(path))
    return list(names)


def _complete(out, root, plan, wanted, pool):
    """The index of a set that is there already, if it is of these pictures, masks and ROIs; else InputError."""
    index = shards.describe(out)
    if index["resize"] == _resized(root, wanted) and set(index["splits"]) == set(plan):
        left_out = {name for split in index["splits"].values() for name, _ in split["skipped"]}
        for split, parts in plan.items():
            table = shards.table(out, split)
            rows = dict(zip(table.names, range(len(table))))
            records = [one for part in parts for one in part if name_of(one.image, root) not in left_out]
            if rows.keys() != {name_of(one.image, root) for one in records}:
                break
            if not all(pool.map(lambda one: _same(table, rows[name_of(one.image, root)], one), records)):
                break
        else:
            _tidy(out, index)
            logger.info("%s: complete already", out)
            return index
    raise InputError(f"{out}: a set of other pictures or another size; expected a new folder")


def _same(table, row, record):
    """Whether a picture is in its row of a set as its files are now."""
    return all((None if stored is None else stored.sha256) == (None if source is None else rois.digest(source))
               for stored, source in zip((table.path(row, part) for part in shards.PARTS), record[:3]))


def _check_target(out):
    if os.path.exists(out) and not os.path.isdir(out):
        raise InputError(f"{out}: a file, expected a new folder")
    others = [name for name in (os.listdir(out) if os.path.isdir(out) else ()) if not name.startswith(".")]
    if others and not os.path.isdir(os.path.join(out, shards.PROGRESS)) and shards.INDEX not in others:
        raise InputError(f"{out}: holds other things, as {min(others)}; expected a new folder")


@contextlib.contextmanager
def _replacing(path):
    """The path of a temporary file that becomes `path` when all of it is on the disk."""
    try:
        if remote(path):
            yield _fresh(path + ".part")
            tf.io.gfile.rename(path + ".part", path, overwrite=True)
            return
        with writing(path), aside(os.path.dirname(os.path.abspath(path))) as folder:
            temporary = os.path.join(folder, "shard")
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(os.path.dirname(os.path.abspath(path)))
    except tf.errors.OpError as error:
        raise InputError(f"cannot write {path}: {error.message.splitlines()[0]}") from None


def _put(path: str, contents: bytes) -> None:
    """A small file, whole or absent."""
    if not remote(path):
        write_file(path, lambda stream: stream.write(contents))
        return
    with tf.io.gfile.GFile(_fresh(path + ".part"), "wb") as stream:
        stream.write(contents)
    tf.io.gfile.rename(path + ".part", path, overwrite=True)


def _fresh(path):
    """`path`, where nothing lies any more: some file systems append."""
    if exists(path):
        tf.io.gfile.remove(path)
    return path


def _tidy(out, index):
    """Remove what was noted on the way, and shards of an earlier, unfinished command that are none of this set's."""
    listed = tf.io.gfile.listdir(out) if remote(out) else os.listdir(out)
    known = {entry["file"] for split in index["splits"].values() for entry in split["shards"]}
    for name in listed:
        file = name[:-len(".json")] + ".tfrecord" if name.endswith(".json") else name
        if shards.is_shard(file) and file not in known:
            tf.io.gfile.remove(join(out, name))
    if exists(join(out, shards.PROGRESS)):
        tf.io.gfile.rmtree(join(out, shards.PROGRESS))
