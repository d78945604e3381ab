"""OUT/drift.jsonl: when the scores of new pictures left those of the good ones, and came back. No TensorFlow."""
import json
import os
import time
from typing import Optional, Sequence, Tuple

from ..errors import InputError
from ..serving.client import Drift
from ..storage import writing

FILE = "drift.jsonl"
WINDOW = 100  # pictures
STATUS = 4    # exit status while they drift


class Watch:
    """Takes scores, tells when drift begins and when it is over, and writes that to `out`, if there is one.

    The window begins anew with each command: the scores of an earlier one may be another model's.

    Raises: InputError for `good`, the scores of good pictures, that are None or too few.
    """

    def __init__(self, good: Optional[Sequence[float]], window: int, out: Optional[str] = None):
        if good is None:
            raise InputError("the thresholds come without the scores of good pictures; grdnet calibrate keeps them, of "
                             "an export a new one")
        try:
            self._drift = Drift(good, window)
        except ValueError as error:
            raise InputError(f"--window {window}: {error}") from None
        self._path = out and os.path.join(out, FILE)
        self._write({"drift": False, "pictures": 0, "window": window, "good": len(good),
                     "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")})

    @property
    def drifted(self) -> bool:
        return self._drift.drifted

    def add(self, score: Optional[float]) -> Optional[dict]:
        """Take the score of a picture, None of one that is unreadable; what there is to tell, or None."""
        told = None if score is None else self._drift.add(score)
        if told:
            self._write(told)
        return told

    def _write(self, entry):
        if self._path:
            with writing(self._path), open(self._path, "a+b") as stream:
                stream.seek(max(0, stream.tell() - 1))
                torn = stream.read(1) not in (b"", b"\n")  # what a kill left of a line is a line of its own
                stream.write(b"\n" * torn + json.dumps(entry).encode() + b"\n")


def health(out: str) -> Tuple[int, str]:
    """(exit status: 0, or `STATUS` while the pictures of OUT drift, the last line that says so). InputError."""
    path = os.path.join(out, FILE)
    try:
        with open(path, encoding="utf-8") as stream:
            last = [line for line in stream if line.endswith("\n")][-1].strip()
        return STATUS if json.loads(last)["drift"] else 0, last
    except FileNotFoundError:
        raise InputError(f"{path}: missing; grdnet predict --watch --out {out} writes it") from None
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{path}: damaged") from None
