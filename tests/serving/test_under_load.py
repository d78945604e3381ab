"""2,000 hostile files from 200 callers at once: the memory stays within its budget and no neighbour suffers."""
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from picture_files import RGB, pillow
from small_served import REFUSED, SIZE, files, one

from grdnet_tf.data import headers
from grdnet_tf.serving import selftest, signatures

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# A process of its own: its memory is that of the server. VmHWM is the highest since it was written 5 to clear_refs.
SERVER = f"""
import sys, threading
sys.path[:0] = [{ROOT!r}, {os.path.join(ROOT, "tests", "helpers")!r}]
import numpy as np
from mutated_files import bombs, memory, mutated
from grdnet_tf.serving import selftest

folder, sound, callers, each = sys.argv[1], open(sys.argv[2], "rb").read(), int(sys.argv[3]), int(sys.argv[4])
hostile = [*bombs(7000), *mutated(callers * each)][:callers * each]
with selftest.Session(folder) as session:
    def ask(contents):
        return session.run("serve_bytes", image_bytes=np.array(contents, object))
    alone, wrong = ask([sound])["score"][0], []
    def call(i):
        try:
            found = ask([*hostile[i * each:(i + 1) * each], sound])
            refused = found["valid"] == 0
            if not (refused[-1] == 0 and abs(found["score"][-1] - alone) < 1e-6 and np.isfinite(found["score"]).all()
                    and (found["score"][refused] == 1).all() and (found["is_anomalous"][refused] == 1).all()):
                wrong.append(i)
        except Exception as error:
            wrong.append(repr(error)[:200])
    open("/proc/self/clear_refs", "w").write("5")
    before = memory("VmRSS")
    threads = [threading.Thread(target=call, args=(i,)) for i in range(callers)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print("wrong", wrong[:5], "grown", memory("VmHWM") - before)
"""
LIMIT = 200  # MB that the process may grow by; a single picture of 7000 x 7000 takes 740 to 980


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="memory is read from Linux' /proc")
def test_two_thousand_hostile_files_from_two_hundred_callers(folder, pictures, tmp_path):
    (tmp_path / "sound.png").write_bytes(selftest.encode(pictures[0][0]))
    done = subprocess.run([sys.executable, "-c", SERVER, folder, str(tmp_path / "sound.png"), "200", "10"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.splitlines()[-1]
    assert said.startswith("wrong [] grown "), said
    assert int(said.split()[-1]) < LIMIT, said


def test_a_call_of_too_many_files_is_refused_before_they_are_read(served):
    most = signatures.most_files(*SIZE)
    assert most == (1 << 23) // (32 * 48) and signatures.most_files(4096, 4096) == 16
    assert signatures.most_files(256, 256) == 128
    for name, more in (("serve_bytes", {}), ("serve_bytes_roi", {"roi_bytes": np.array([b"x"], object)})):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"more than {most} files in one call"):
            served.run(name, image_bytes=np.array([b"x"] * (most + 1), object), **more)


def test_a_file_that_is_longer_than_any_picture_of_the_limit_is_refused(served, pictures):
    """Sound pictures with bytes behind their end, as cameras add them: refused from one byte too many on."""
    png, jpeg = selftest.encode(pictures[0][0]), pillow(RGB[:32, :48], "JPEG")
    for contents, kind in ((png, "PNG"), (jpeg, "JPEG")):
        most = headers.most_bytes(kind, 10_000)
        assert one(served, contents + bytes(most - len(contents)))["valid"] == 1
        assert one(served, contents + bytes(most - len(contents) + 1)) == REFUSED
    region = selftest.encode((pictures[1][0] * 255).astype(np.uint8))
    for more, valid in ((0, 1), (headers.most_bytes("PNG", 10_000), 0)):
        found = served.run("serve_bytes_roi", image_bytes=files(pictures[0][:1]),
                           roi_bytes=np.array([region + bytes(more)], object))
        assert found["valid"][0] == valid
