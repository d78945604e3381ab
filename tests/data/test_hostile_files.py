"""Files that were changed by chance or malice: the readers on the host refuse them by name, in little memory."""
import os
import struct
import subprocess
import sys

import pytest
from mutated_files import png_of
from picture_files import RGB, chunk, pillow
from PIL import Image

from grdnet_tf.data import headers
from grdnet_tf.data.files import BadImage, read_picture, read_region

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
READER = f"""
import sys
sys.path[:0] = [{ROOT!r}, {os.path.join(ROOT, "tests", "helpers")!r}]
from mutated_files import bombs, memory, mutated
from grdnet_tf.data.files import _MAGIC, FORMATS, BadImage, read_picture, read_region

endings, wrong, most = {{kind: ending for ending, kind in FORMATS.items()}}, [], 0
large = bombs(7000) if sys.argv[2] == "bombs" else ()
for i, contents in enumerate(large or mutated(2000)):
    kind = next((kind for magic, kind in _MAGIC.items() if contents.startswith(magic)), "PNG")
    path = sys.argv[1] + "/picture" + endings[kind]
    with open(path, "wb") as stream:
        stream.write(contents)
    for read in (read_picture, read_region):
        open("/proc/self/clear_refs", "w").write("5")
        before = memory("VmRSS")
        try:
            read(path)
        except BadImage:
            pass
        except Exception as error:
            wrong.append((i, repr(error)))
        most = max(most, memory("VmHWM") - before)
print("wrong", wrong, "most", most)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="memory is read from Linux' /proc")
@pytest.mark.parametrize("what,limit", [("mutated", 50), ("bombs", 600)])
def test_hostile_files_take_little_memory_and_are_refused_by_name(tmp_path, what, limit):
    """2,000 small ones in 50 MB each; those that are the 7000 x 7000 that they claim, of a few 100 KB, in 600 MB."""
    command = [sys.executable, "-c", READER, str(tmp_path), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.splitlines()[-1]
    assert said.startswith("wrong [] most "), said
    assert int(said.split()[-1]) < limit, said


@pytest.mark.parametrize("kind,claim", [(b"tEXt", 3 << 30), (b"tEXt", 2**32 - 1), (b"iCCP", 1 << 20)])
def test_a_png_whose_part_is_longer_than_the_file(tmp_path, kind, claim):
    """OpenCV makes room for as many bytes as a part claims: 3 GB for a file of 100 bytes."""
    whole = pillow(RGB, "PNG")
    path = tmp_path / "part.png"
    start = whole[:33] + struct.pack(">I", claim) + kind
    for contents in (start + whole[33:], start):
        path.write_bytes(contents)
        for read in (read_picture, read_region):
            with pytest.raises(BadImage, match="truncated or damaged"):
                read(str(path))
    path.write_bytes(whole[:33] + chunk(b"tEXt", b"a\0b") + whole[33:])
    assert read_picture(str(path)).shape == RGB.shape


def test_a_jpeg_that_is_too_high_to_be_looked_at_closely(tmp_path):
    """The closer look makes it higher, beyond what JPEG can say; up to the limit it is read."""
    path = tmp_path / "high.jpg"
    for height, sound in ((headers.JPEG_SIDE, True), (headers.JPEG_SIDE + 1, False), (65500, False)):
        for size in ((16, height), (height, 16)):
            Image.new("L", size).save(path, progressive=True)
            if sound:
                assert read_picture(str(path)).shape == (size[1], size[0], 1)
            else:
                with pytest.raises(BadImage, match="expected sides of at most 65000"):
                    read_picture(str(path))


def test_a_file_that_is_too_long_is_refused_and_not_read_whole(tmp_path):
    path = tmp_path / "long.png"
    path.write_bytes(png_of(2, 1, b"\0" * 7))
    assert read_picture(str(path)).shape == (1, 2, 3)
    os.truncate(path, headers.most_bytes("PNG") + 1)  # takes no room on the disk
    with pytest.raises(BadImage, match=f"is longer than the {headers.most_bytes('PNG')} bytes"):
        read_picture(str(path))
