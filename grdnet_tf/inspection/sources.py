"""Which pictures are meant: files, folders, globs, a video, a camera, lines of a stream -> `Item`s. No TensorFlow.

A source yields None where nothing more is there at the moment: what has been collected is judged then.
"""
import glob
import os
import queue
import threading
import time
from typing import Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from ..data import layout, shards
from ..data.files import read_picture
from ..data.stored import Stored
from ..errors import InputError

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
CAMERA = "camera:"
ROUNDED = 4  # of 255, between the channels of a grey frame: Motion JPEG gave 2 with OpenCV 5, 0 with 4.11


class Item(NamedTuple):
    """One picture to judge: its path, its name within what was asked for, with "/"; its pixels, if it is no file."""
    path: str
    name: str
    pixels: Optional[np.ndarray] = None  # (H, W, 1 or 3) uint8 or uint16, RGB
    stamp: Tuple[int, int] = (0, 0)      # time of change in ns, and bytes, of a file that is watched; of a camera's frame
    full_range: bool = False             # pixels that are 65535 where they are white, whatever the camera's white is

    def read(self) -> np.ndarray:
        """(H, W, 1 or 3) uint8 or uint16, RGB. Raises BadImage."""
        return read_picture(self.path) if self.pixels is None else self.pixels


def named(words: Sequence[str], every: int = 1) -> Tuple[Iterator[Optional[Item]], Optional[int]]:
    """(items of all that is named, how many, None where that is not known) of files, folders, globs, videos, camera:N.

    Args:
      every: of a video or camera, each so-manieth frame.

    Raises: InputError for what is not there, before the first item.
    """
    found, total = [], 0
    for word in words:
        if word.startswith(CAMERA):
            found.append(camera(word, every))
            total = None
        elif is_video(word) and os.path.isfile(word):
            found.append(video(word, every))
            total = None
        else:
            items = files(word)
            found.append(items)
            total = None if total is None else total + len(items)
    return (item for items in found for item in items), total


def is_video(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in VIDEOS


def files(word: str) -> List[Item]:
    """The items of a file, a folder with its subfolders, shards, or a glob. InputError where there is none."""
    if shards.is_set(word):
        tables = [shards.table(word, split) for split in shards.splits(word)]
        return [Item(table.path(row, "image"), name) for table in tables for row, name in enumerate(table.names)]
    if os.path.isdir(word):
        return [Item(path, os.path.relpath(path, word).replace(os.sep, "/")) for path in layout.pictures(word)]
    if os.path.lexists(word):
        return [Item(word, os.path.basename(word))]
    if not glob.has_magic(word):
        raise InputError(f"{word}: no such file or folder")
    base = os.path.dirname(word[:next(i for i, letter in enumerate(word) if letter in "*?[")])
    paths = sorted(path for path in glob.iglob(word, recursive=True) if os.path.isfile(path))
    if not paths:
        raise InputError(f"{word}: no file has such a name")
    return [Item(path, os.path.relpath(path, base or ".").replace(os.sep, "/")) for path in paths]


def resized(item: Item) -> bool:
    """Whether its pixels are no longer those of its file: what they measure is not known."""
    return isinstance(item.path, Stored) and item.path.table.resized


def lines(stream) -> Iterator[Optional[Item]]:
    """A path in each line of a text stream, as they come: None whenever the other side pauses."""
    waiting = queue.Queue(maxsize=64)

    def read():
        try:
            for line in stream:
                waiting.put(line)
            waiting.put("")
        except (OSError, ValueError) as error:
            waiting.put(InputError(f"standard input cannot be read: {error}"))

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = waiting.get(timeout=0.2)
        except queue.Empty:
            yield None
            continue
        if isinstance(line, InputError):
            raise line
        if not line:
            return
        path = line.rstrip("\r\n")
        if path:
            yield Item(path, os.path.basename(path))


def video(path: str, every: int = 1) -> Iterator[Item]:
    """The frames of a video file, named path#number from 0 on. InputError where it cannot be decoded."""
    yield from _frames(path, path, os.path.basename(path), every)


def camera(word: str, every: int = 1) -> Iterator[Optional[Item]]:
    """Frames of camera:N, each judged before the next is fetched, until the command is stopped.

    Raises: InputError where there is no such camera, and when it gives no more frames.
    """
    number = word[len(CAMERA):]
    if not number.isdecimal():
        raise InputError(f"{word}: expected camera: and a number, such as camera:0")
    for item in _frames(int(number), word, word.replace(":", ""), every):
        yield item
        yield None


def grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 1) of (H, W, 3) uint8 whose channels differ by no more than a video's decoder rounds; all else as it is.

    OpenCV gives three channels of a grey camera's one.
    """
    if pixels.shape[2] == 1 or pixels.dtype != np.uint8:
        return pixels
    red, green, blue = cv2.split(pixels)
    if max(int(cv2.absdiff(*two).max()) for two in ((red, green), (green, blue), (red, blue))) > ROUNDED:
        return pixels
    return np.rint(pixels.mean(axis=2, keepdims=True)).astype(np.uint8)


def _frames(source, path, name, every):
    capture = cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            raise InputError(f"{path}: " + ("no such camera, or it is in use" if isinstance(source, int) else
                                            "no video that OpenCV can decode"))
        number = 0
        while capture.grab():
            if number % every == 0:
                there, frame = capture.retrieve()
                if not there:
                    raise InputError(f"{path}: frame {number} cannot be decoded")
                frame = frame[..., None] if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                stamp = (time.time_ns(), 0) if isinstance(source, int) else (0, 0)  # a camera begins at 0 each time
                yield Item(f"{path}#{number}", f"{name}#{number:06d}", frame, stamp)
            number += 1
        if not number:
            raise InputError(f"{path}: holds no frame that can be decoded")
        if isinstance(source, int):
            raise InputError(f"{path}: gives no more frames; is it still connected?")
    finally:
        capture.release()


def given(pictures) -> Iterable[Item]:
    """Items of paths, arrays, or a mixture; one of them alone will do.

    Arrays are RGB or grey, (H, W), (H, W, 1) or (H, W, 3): uint8, uint16 or floats in [0, 1]; (N, H, W, C): N pictures.
    Of paths, folders and globs are taken too. Raises InputError.
    """
    if isinstance(pictures, (str, os.PathLike, np.ndarray)):
        pictures = list(pictures) if getattr(pictures, "ndim", 0) == 4 else [pictures]
    for number, one in enumerate(pictures):
        if isinstance(one, (str, os.PathLike)):
            yield from named([os.fspath(one)])[0]
        else:
            pixels = np.asarray(one)
            yield Item(f"array#{number}", f"array#{number}", _pixels(pixels, number),
                       full_range=np.issubdtype(pixels.dtype, np.floating))


def _pixels(array, number):
    """An array as (H, W, 1 or 3) uint8 or uint16."""
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise InputError(f"array {number} has the shape {array.shape}; expected (H, W), (H, W, 1) or (H, W, 3)")
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32) if array.itemsize < 4 else array  # float16 ends at 65504
        if not (array.min() >= 0 and array.max() <= 1):
            raise InputError(f"array {number} holds values outside [0, 1]; give uint8, or floats divided by 255")
        whole = np.rint(array * 255.0)
        if np.abs(array * 255.0 - whole).max() < 1e-3:  # a picture of 8 bit, divided by 255: resized as its file is
            return whole.astype(np.uint8)
        return np.rint(array * 65535.0).astype(np.uint16)
    if array.dtype not in (np.uint8, np.uint16):
        raise InputError(f"array {number} is {array.dtype}; expected uint8, uint16 or floats in [0, 1]")
    return array
