"""OUT/predictions.jsonl, predictions.csv, pictures/ and index.html: results as they come, a line each.

predictions.jsonl is what counts: what a killed command left half-written there is dropped by the next one that goes on
with the folder, and predictions.csv is made of it again. A line is written when its pictures are on the disk.
"""
import contextlib
import csv
import hashlib
import heapq
import io
import itertools
import json
import os
import shutil
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from ..errors import InputError, printable
from ..evaluation.regions import label_found
from ..evaluation.thresholds import LOOK, REJECTED, VERDICTS, Limits
from ..report import inspection, pictures, shots
from ..storage import lock, write_text, writing
from . import drift
from .result import UNREADABLE, Counts, Result

LINES, TABLE, PICTURES, PAGE = "predictions.jsonl", "predictions.csv", "pictures", "index.html"
LOCK = ".grdnet.lock"
COLUMNS = ("path", "verdict", "score", "threshold", "look", "regions", "boxes", "boxes_um", "largest_um", "reason", "overlay",
           "map")
DRAWN = {"all": VERDICTS, "rejected": (LOOK, REJECTED), "none": ()}
RECENT = 50_000   # scores that the page holds: memory does not grow with the pictures
GALLERY = 100     # pictures in the page, the highest scores
PENDING = 16      # pictures that are being drawn
LONGEST = 200     # bytes of a name below pictures/


class Folder:
    """The results of one command, or of several that go on with each other.

    Args:
      out: the folder; missing, empty, or an earlier one, whose contents are replaced unless `go_on`.
      pictures: of which an overlay and a map are written: "all", "rejected" (those to look at again too), "none".
      model, source: for the page: what judged, and what.
      command: of the page, what keeps the threshold that follows it; or None.

    Raises: InputError for a folder that holds something else, or cannot be written to.
    """

    def __init__(self, out, *, go_on=False, pictures="rejected", model="", source="", limits=Limits(0.5, 0.5), pool=None,
                 command=None):
        self.out, self.drawn, self.pool = os.path.abspath(out), DRAWN[pictures], pool or 1
        self._about = dict(model=model, source=source, threshold=limits.reject, look=limits.look, command=command)
        self.counts, self.known = Counts(), set()
        self._scores, self._reasons, self._best, self._number = deque(maxlen=RECENT), [], [], 0
        self._pending, self._changed, self._written = deque(), True, 0.0
        self._stack = contextlib.ExitStack()
        with writing(self.out):
            check(self.out)
            os.makedirs(self.out, exist_ok=True)
            self._stack.enter_context(lock(os.path.join(self.out, LOCK)))
            try:
                self._begin(go_on)
            except BaseException:
                self._stack.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            with writing(self.out):
                if kind is None or issubclass(kind, (KeyboardInterrupt, InputError)):
                    self.flush()
                    self.write_page()
        finally:
            self._stack.close()

    def add(self, result: Result) -> None:
        """Draw the result, in another thread, and write its line when it and those before it are drawn."""
        with writing(self.out):
            names = self._free_names(result) if result.verdict in self.drawn else (None, None)
            self._pending.append((result, names, self._pool.submit(self._draw, result, names)))
            while len(self._pending) > PENDING or self._pending and self._pending[0][-1].done():
                self._write(*self._pending.popleft())

    def flush(self) -> None:
        """All that was added is on its line."""
        with writing(self.out):
            while self._pending:
                self._write(*self._pending.popleft())
            self._lines.flush()
            self._table.flush()

    def write_page(self, every: float = 0.0) -> None:
        """Write index.html, unless nothing has changed, or it was written less than `every` seconds ago."""
        if not self._changed or time.monotonic() - self._written < every:
            return
        shown = [entry[2] for entry in sorted(self._best, key=lambda entry: -entry[0])]
        judged = sum(self.counts) - self.counts.unreadable
        summary = inspection.Summary(scores=self._scores, judged=judged, unreadable=self.counts.unreadable,
                                     reasons=self._reasons, **self._about)
        with writing(self.out):
            write_text(os.path.join(self.out, PAGE), inspection.build(summary, shown))
        self._changed, self._written = False, time.monotonic()

    def _begin(self, go_on):
        lines, table = (os.path.join(self.out, name) for name in (LINES, TABLE))
        if not go_on:
            shutil.rmtree(os.path.join(self.out, PICTURES), ignore_errors=True)
            for name in (PAGE, TABLE, LINES, drift.FILE):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(os.path.join(self.out, name))
        if os.path.exists(lines):
            deque(_whole_lines(lines), maxlen=0)  # refused before anything is written
        self._table = self._stack.enter_context(open(table, "w", encoding="utf-8", newline=""))
        self._table.write(_csv(COLUMNS))
        end = 0
        if os.path.exists(lines):
            for entry, end in _whole_lines(lines):
                self._table.write(_csv(_cells(entry)))
                self._count(entry)
                self.known.add(key(entry["path"], entry.get("stamp")))
            os.truncate(lines, end)
        self._lines = self._stack.enter_context(open(lines, "a", encoding="utf-8"))
        self._lines.flush()
        self._table.flush()
        self._pool = self._stack.enter_context(ThreadPoolExecutor(2, "draw"))

    def _draw(self, result, names):
        """What the page shows of it, or None. `names`: of the overlay and of the map below OUT, or None."""
        if names[0] is not None:
            values = np.rint(65535 * np.clip(result.anomaly_map, 0, 1)).astype(np.uint16)
            self._store(names[0], ".jpg", result.overlay, cv2.IMWRITE_JPEG_QUALITY, 90)
            self._store(names[1], ".png", values, cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY,
                        cv2.IMWRITE_PNG_STRATEGY_RLE)  # half the time of the usual strategy for a map, as many bytes
        return self._shot(result)

    def _shot(self, result):
        if result.verdict == UNREADABLE or (len(self._best) >= GALLERY and result.score <= self._best[0][0]):
            return None
        small = result.small_map
        smooth = pictures.smoothed(small, self.pool)
        found = label_found(small, result.level, result.min_area) > 0 if result.regions else None
        return shots.embed(shots.reduced(result.image), small, smooth, None, {"found": found})

    def _store(self, name, kind, pixels, *settings):
        path = os.path.join(self.out, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pixels = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        with open(path, "wb") as stream:
            stream.write(cv2.imencode(kind, pixels, settings)[1].tobytes())

    def _free_names(self, result):
        """(overlay, map) below OUT: pictures/<name>_overlay.jpg; with part of a digest where the name is taken."""
        name = printable(result.name).replace("..", "_").lstrip("/")
        digest = hashlib.sha256(f"{result.path} {result.stamp}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
        if len(os.fsencode(name)) > LONGEST:
            name = f"{name[:LONGEST // 4]}-{digest}"
        promised = {names[0] for _, names, _ in self._pending}  # to be drawn yet
        for free in itertools.chain((name, f"{name}-{digest}"), (f"{name}-{digest}-{n}" for n in itertools.count(2))):
            overlay = f"{PICTURES}/{free}_overlay.jpg"
            if overlay not in promised and not os.path.lexists(os.path.join(self.out, overlay)):
                return overlay, f"{PICTURES}/{free}_map.png"

    def _write(self, result, names, drawing):
        (overlay, small), shot = names, drawing.result()
        entry = dict(result.as_dict(), name=result.name, overlay=overlay, map=small, stamp=list(result.stamp))
        self._lines.write(json.dumps(entry) + "\n")
        self._table.write(_csv(_cells(entry)))
        self._count(entry, shot)

    def _count(self, entry, shot=None):
        self.counts, self._changed = self.counts.with_one(entry["verdict"]), True
        if entry["verdict"] == UNREADABLE:
            self._reasons = (self._reasons + [(printable(entry["path"]), entry["reason"])])[:inspection.NAMED]
            return
        self._scores.append(entry["score"])
        if shot is None and entry["overlay"]:  # of an earlier command: what it has drawn
            height, width = entry["size"]
            shot = {"picture": entry["overlay"], "shape": f"{width} / {height}", "box": "0 0 1 1", "raw": None,
                    "pooled": None, "reconstruction": None, "outlines": {}}
        if shot is not None:
            self._number += 1  # two equal scores must not be compared further
            name = printable(entry["name"])
            one = inspection.Shown(name, os.path.dirname(name) or ".", entry["score"], len(entry["regions"]), shot)
            heapq.heappush(self._best, (entry["score"], self._number, one))
            if len(self._best) > GALLERY:
                heapq.heappop(self._best)


def check(out: str) -> None:
    """InputError unless results can be written to `out`: missing, empty, or an earlier folder of results."""
    if os.path.exists(out) and (not os.path.isdir(out) or
                                set(os.listdir(out)) - {LOCK} and not os.path.isfile(os.path.join(out, LINES))):
        raise InputError(f"{out}: exists and holds no earlier predictions; choose another --out")


def key(path: str, stamp) -> tuple:
    """What makes a picture another one: its path, the time of its last change, its size."""
    return (path, *(stamp or (0, 0)))


def _whole_lines(path):
    """(entry, where its line ends) of each line that is whole. InputError for one that is no entry."""
    end = 0
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                entry = json.loads(line)
                if entry["verdict"] not in Counts._fields or not isinstance(entry["path"], str):
                    raise ValueError
                _cells(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise InputError(f"{path}: line {number} is damaged; choose another --out") from None
            yield entry, end


def _cells(entry):
    regions = entry["regions"]

    def boxes(name):
        return "; ".join(" ".join(f"{part[name][side]:g}" for side in ("top", "left", "bottom", "right"))
                         for part in regions if name in part)

    largest = max((part["diameter_um"] for part in regions if "diameter_um" in part), default="")
    score, threshold, look = ("" if entry.get(name) is None else f"{entry[name]:.7g}"
                              for name in ("score", "threshold", "look"))
    count = len(regions) if entry["reason"] is None else ""
    return [printable(entry["path"]), entry["verdict"], score, threshold, look, count, boxes("box"), boxes("box_um"), largest,
            entry["reason"] or "", entry["overlay"] or "", entry["map"] or ""]


def _csv(cells):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
