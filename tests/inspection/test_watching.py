"""The watched folder by a clock of its own: when a file counts as whole, and that each comes once."""
import io
import os

import cv2
import numpy as np
import pytest

from grdnet_tf.errors import InputError
from grdnet_tf.inspection import sources
from grdnet_tf.inspection.folder import key
from grdnet_tf.inspection.watching import watch

CONTENT = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8))[1].tobytes()


class Line:
    """A camera and the one who watches: `acts[n]` happens after the n-th look, a second later."""

    def __init__(self, folder, acts, looks, known=(), patience=4.0):
        self.now, self.acts, self.found = 0.0, acts, []
        items = watch(str(folder), known.__contains__, every=1.0, patience=patience, clock=lambda: self.now,
                      sleep=self.sleep)
        look = 0
        for item in items:
            if item is None:
                look += 1
                if look > looks:
                    break
            else:
                self.found.append((look, item.name))

    def sleep(self, seconds):
        self.now += seconds
        act = self.acts.pop(0) if self.acts else None
        if act:
            act()


def write(path, share=1.0, when=1):
    def act():
        path.write_bytes(CONTENT[:int(share * len(CONTENT))])
        os.utime(path, ns=(when, when))
    return act


def test_a_file_is_taken_at_the_second_look_that_finds_it_the_same(tmp_path):
    acts = [write(tmp_path / "a.png"), None, write(tmp_path / "b.png", 0.5), write(tmp_path / "b.png", 0.8), None,
            write(tmp_path / "b.png")]
    assert Line(tmp_path, acts, 10).found == [(2, "a.png"), (7, "b.png")]


def test_what_stays_unreadable_is_taken_once_patience_ends(tmp_path):
    line = Line(tmp_path, [write(tmp_path / "a.png", 0.5)], 12)
    assert line.found == [(5, "a.png")]  # at 1 it is there, unchanged for 4 seconds at 5


def test_a_picture_that_is_written_anew_is_another_one_and_others_are_not(tmp_path):
    acts = [write(tmp_path / "a.png"), None, None, write(tmp_path / "a.png", when=2), None, (tmp_path / "a.png").unlink]
    assert Line(tmp_path, acts, 12).found == [(2, "a.png"), (5, "a.png")]


def test_what_was_judged_before_and_what_is_no_picture_is_left(tmp_path):
    for name in ("a.png", "b.png", ".hidden.png", "notes.txt", "part.png.tmp"):
        write(tmp_path / name)()
    known = {(str(tmp_path / "a.png"), 1, len(CONTENT))}
    assert Line(tmp_path, [], 5, known).found == [(1, "b.png")]


def test_a_folder_that_is_away_for_a_while_brings_nothing_twice(tmp_path):
    line, away = tmp_path / "line", tmp_path / "away"
    (line / "camera").mkdir(parents=True)
    acts = [write(line / "camera" / "a.png"), None, None, lambda: line.rename(away), None, lambda: away.rename(line), None,
            write(line / "camera" / "b.png")]
    assert [name for _, name in Line(line, acts, 14).found] == ["camera/a.png", "camera/b.png"]


def test_the_end_comes_after_an_idle_time(tmp_path):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    write(tmp_path / "a.png")()
    items = list(watch(str(tmp_path), every=1.0, idle=5.0, clock=lambda: now[0], sleep=sleep))
    assert [item.name for item in items if item] == ["a.png"] and now[0] == 7.0


def test_lines_give_a_pause_when_nothing_comes(tmp_path):
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream:
        items = sources.lines(stream)
        assert next(items) is None
        os.write(writing, b"a/b.png\n")
        found = [next(items) for _ in range(3)]
        os.close(writing)
        assert [one.name for one in found if one] == ["b.png"]
        assert [item for item in items if item] == []


def test_a_line_that_cannot_be_read_ends_with_its_reason_and_names_in_bytes_can():
    text = b"a.png\nb\xfc.png\n"
    with pytest.raises(InputError, match="standard input cannot be read: .*utf-8"):
        list(sources.lines(io.TextIOWrapper(io.BytesIO(text), encoding="utf-8")))
    items = sources.lines(io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", errors="surrogateescape"))
    assert [os.fsencode(item.path) for item in items if item] == [b"a.png", b"b\xfc.png"]


def test_each_frame_of_a_camera_is_another_picture(monkeypatch):
    class Capture:
        """OpenCV's, of three frames."""
        def __init__(self, source):
            self.left = 3

        def isOpened(self):
            return True

        def grab(self):
            self.left -= 1
            return self.left >= 0

        def retrieve(self):
            return True, np.zeros((4, 4, 3), np.uint8)

        def release(self):
            pass

    def seen():
        """Until the camera is lost, which is an error: of a line that is watched nothing more would be known."""
        with pytest.raises(InputError, match="camera:0: gives no more frames"):
            for item in sources.camera("camera:0"):
                if item:
                    yield item

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    keys = [key(item.path, item.stamp) for _ in range(2) for item in seen()]
    assert len(keys) == len(set(keys)) == 6
    keys = [key(item.path, item.stamp) for _ in range(2) for item in sources.video("a.mp4")]
    assert len(set(keys)) == 3  # of a file the same ones
