"""Shards beside the folder they are made of: how long until the first batch, how much memory, how many images/s.

    python benchmarks/shards.py                     start: 230,355 pictures, small ones in the place of larger;
                                                    rate and wait: drawn PNG files of 256 x 256, a training step
    python benchmarks/shards.py --parts rate        the rates alone; others: start, wait
    python benchmarks/shards.py --parts rows --pictures 2000000     start, of a set that is written without the pictures
    python benchmarks/shards.py --parts kill        a matrix of kills: grdnet shards killed at random, then let through

Each start is a process of its own. `start` hard-links a few drawn files, as what is measured is their number.
"""
import argparse
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PARTS = ("start", "rows", "rate", "wait", "kill")
ROWS = 4000  # of a shard
LINKS = 50_000  # to one file; file systems end at 65,000
STEPS = 10
# A run as `grdnet train` begins it, ended after a few steps; prints seconds and the most memory.
RUN = """
import os, sys, time
import tensorflow as tf
began, used = time.time(), time.process_time()
from grdnet_tf import config as configuration
from grdnet_tf.training import building, prepare, recorded, run_folder
config = configuration.load_config("cpu", [f"data.root={sys.argv[1]}"])
data = prepare.training_data(config)
config = configuration.replace(config, data__channels=str(data.channels))
listed, cpu = time.time() - began, time.process_time() - used
if not sys.argv[2]:
    print(listed, cpu, 0, 0, 0, run_folder.peak_rss_mb()); sys.exit()
recorded.write(sys.argv[2], data.recorded)
written = time.time() - began
building.set_up(config)
model = building.build_model(config)
building.compile_model(model, config, data)
step = tf.function(model.train_step)
batches = iter(building.training_stream(model, config, data).batches())
next(batches)
first, first_cpu = time.time() - began, time.process_time() - used
for _ in range(int(os.environ["STEPS"])):
    step(next(batches))
print(listed, cpu, written, first, first_cpu, run_folder.peak_rss_mb(), flush=True)
os._exit(0)  # not through the end of threads that still read ahead
"""


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="start,rate,wait", help=f"of {', '.join(PARTS)} (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=230_355, help="of start (default: %(default)s)")
    parser.add_argument("--drawn", type=int, default=512, help="of rate and wait, 256 x 256 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each form (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=30, help="of kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--folder", help="where to draw, kept (default: a temporary one)")
    parsed = parser.parse_args(argv)
    parsed.parts = parsed.parts.split(",")
    if set(parsed.parts) - set(PARTS):
        parser.error(f"--parts: expected {', '.join(PARTS)}")
    return parsed


def main(argv=None) -> int:
    arguments = parse(argv)
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or temporary
        wrong = 0
        for name in arguments.parts:
            wrong += bool({"start": start, "rows": rows, "rate": rate, "wait": wait, "kill": kill}[name](folder, arguments))
    return int(wrong > 0)


def shards(root, out, *more, **options):
    """`grdnet shards` in a process of its own; its seconds."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "grdnet_tf", "shards", root, "--out", out, "--quiet", *more], cwd=PROJECT,
                   check=True, **options)
    return time.monotonic() - began


# Start and memory ----------------------------------------------------------------------------------------------------


def start(folder, arguments):
    """Seconds until the first batch and the most memory, from the folder and from shards."""
    root, out = os.path.join(folder, "many"), os.path.join(folder, "many-shards")
    if not os.path.isdir(root):
        linked(root, arguments.pictures)
    if not os.path.isdir(out):
        seconds = shards(root, out, "--size-mb", "2")
        print(f"grdnet shards: {seconds:.0f} s for {arguments.pictures} small pictures, "
              f"{arguments.pictures / seconds:.0f} a second")
    begun("shards", out, STEPS, arguments.pictures)
    begun("folder", root, 0, arguments.pictures)


def rows(folder, arguments):
    """The same of a set of so many rows: all name one small picture's bytes, as it is the rows that cost memory."""
    out = os.path.join(folder, f"rows-{arguments.pictures}")
    if not os.path.isdir(out):
        written(out, arguments.pictures)
    begun("rows", out, STEPS, arguments.pictures)


def begun(name, path, steps, pictures):
    with tempfile.TemporaryDirectory() as run:
        done = subprocess.run([sys.executable, "-c", RUN, path, run if steps else ""], cwd=PROJECT, text=True,
                              env={**os.environ, "STEPS": str(steps)}, stdout=subprocess.PIPE, check=True)
        listed, cpu, recorded, first, first_cpu, peak = map(float, done.stdout.split())
        record = os.path.join(run, "data.json")
        size = os.path.getsize(record) / 1e6 if steps else 0
    more = (f"; recorded in {recorded:.1f} s ({size:.0f} MB), first batch after {first:.1f} s ({first_cpu:.1f} s of "
            f"processor time); {steps} steps of cpu.yaml"
            if steps else "")
    print(f"{name}: {pictures} pictures listed, checked and split in {listed:.1f} s ({cpu:.1f} s of processor time)"
          f"{more}; most memory {peak:.0f} MiB", flush=True)


def written(out, count):
    """A set of `count` pictures to train on, as `grdnet shards` lays it out, but that all are the same bytes."""
    import zlib

    import cv2
    import numpy as np

    from grdnet_tf.data import shards

    os.makedirs(out)
    picture = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))[1].tobytes()
    entries, total = [], -(-count // ROWS)
    for number in range(total):
        names = [f"train/good/{i:08}.png" for i in range(number, count, total)]
        file, n = f"train-{number:05d}-of-{total:05d}.tfrecord", len(names)
        columns = {"names": names, "sizes": [[32, 32]] * n, "depths": [8] * n, "channels": [3] * n, "peaks": [255] * n,
                   "file_bytes": [len(picture) + i for i in range(n)], "mask": [], "roi": [], "mask_sha256": [],
                   "roi_sha256": [], "image": [[12, len(picture), zlib.crc32(picture)]] * n,
                   "image_sha256": [hashlib.sha256(name.encode()).hexdigest() for name in names]}
        text = json.dumps(columns).encode()
        for path, contents in ((file, bytes(12) + picture + bytes(4)), (shards.columns_of(file), text)):
            with open(os.path.join(out, path), "wb") as stream:
                stream.write(contents)
        entries.append({"file": file, "pictures": n, "bytes": len(picture) + 16, "sha256": "0" * 64,
                        "columns_sha256": hashlib.sha256(text).hexdigest()})
    index = {"grdnet_shards": 1, "resize": None, "shared": [], "splits": {"train": {
        "pictures": count, "channels": 3, "depth": 8, "peak": 255, "sizes": [[32, 32]], "notes": [], "skipped": [],
        "shards": entries}}}
    with open(os.path.join(out, shards.INDEX), "w", encoding="utf-8") as stream:
        json.dump({"sha256": shards.digest_of(index), **index}, stream)


def linked(root, count):
    """`count` names of a few small pictures."""
    import cv2
    import numpy as np

    home = os.path.join(root, "train", "good")
    os.makedirs(home)
    random_ = np.random.default_rng(0)
    for number in range(count):
        path = os.path.join(home, f"{number:07}.png")
        if number % LINKS == 0:
            first = path
            cv2.imwrite(path, random_.integers(0, 256, (32, 32, 3), np.uint8))
        else:
            os.link(first, path)


# Rate ----------------------------------------------------------------------------------------------------------------


def drawn(folder, arguments):
    """{form: its root} of the same pictures of 256 x 256."""
    from benchmarks.pipeline import draw

    root = os.path.join(folder, "drawn")
    if not os.path.isdir(root):
        draw(root, arguments.drawn, 256)
    forms = {"folder": root}
    for name, more in (("shards, files as they are", []), ("shards --resize 256,256", ["--resize", "256,256"])):
        forms[name] = f"{root}-shards-{len(forms)}"
        if not os.path.isdir(forms[name]):
            shards(root, forms[name], "--size-mb", "20", *more)
    return forms


def rate(folder, arguments):
    """Images/s of one pass after the other, nothing kept in RAM, not augmented."""
    from grdnet_tf.data import pipeline
    from grdnet_tf.data.records import inspect, list_mvtec
    from grdnet_tf.options import Data

    options = Data(image_size=(256, 256), cache="none", rotation=0.0, flip_horizontal=False, flip_vertical=False)
    streams = {}
    for name, root in drawn(folder, arguments).items():
        found = inspect(list_mvtec(root, "train"))
        streams[name] = iter(pipeline.TrainingStream(found.records, options, channels=found.channels, depth=found.depth,
                                                     batch_size=16, seed=0).batches())
    rates = dict.fromkeys(streams, 0.0)
    for _ in range(arguments.rounds):  # in turns, the fastest counts: a busy machine slows all alike
        for name, stream in streams.items():
            for _ in itertools.islice(stream, 2 * pipeline.PREFETCH):
                pass
            began = time.perf_counter()
            for _ in itertools.islice(stream, 24):
                pass
            rates[name] = max(rates[name], 24 * 16 / (time.perf_counter() - began))
    for name, value in rates.items():
        print(f"{name:28} {value:8.0f} images/s {value / rates['folder']:6.2f} x")


def wait(folder, arguments):
    """The share of the time in which a training step waits for its batch."""
    from benchmarks.pipeline import wait as waited

    for name, root in drawn(folder, arguments).items():
        print(name, end=": ", flush=True)
        waited(root, argparse.Namespace(config="cpu", steps=12, set=["data.cache=none", "data.image_size=[256,256]"]))


# Kills ---------------------------------------------------------------------------------------------------------------


def kill(folder, arguments):
    """Truth if any of the killed and resumed sets differs from the one made undisturbed."""
    from benchmarks.pipeline import draw

    rng, root, wrong, struck = random.Random(arguments.seed), os.path.join(folder, "killed"), 0, 0
    if not os.path.isdir(root):
        draw(root, 120, 128)
    flags = ["--size-mb", "0.6"]
    whole = os.path.join(folder, "killed-whole")
    seconds = shards(root, whole, *flags)
    wanted = digests(whole)
    out = os.path.join(folder, "killed-shards")
    while struck < arguments.kills:
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(rng.randint(1, 4)):
            process = subprocess.Popen([sys.executable, "-m", "grdnet_tf", "shards", root, "--out", out, "--quiet",
                                        "--threads", str(rng.randint(1, 3)), *flags], cwd=PROJECT)
            struck += strike(process, out, rng, seconds)
        shards(root, out, "--threads", str(rng.randint(1, 4)), *flags)
        wrong += digests(out) != wanted
    print(f"{struck} kills, {wrong} sets not the same bytes; {len(wanted)} files a set, seed {arguments.seed}")
    return wrong


def strike(process, out, rng, seconds, longest=0.4):
    """Kill it at most `longest` seconds after something new is in `out`: 1, or 0 if it ended before."""
    def there():
        return sorted(os.listdir(out)) if os.path.isdir(out) else []

    before, deadline = there(), time.monotonic() + 10 * seconds
    while process.poll() is None and there() == before and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(rng.uniform(0, longest))
    if process.poll() is not None:
        return 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    return 1


def digests(out):
    """{name: SHA-256} of all that is in a set."""
    found = {}
    for parent, folders, names in os.walk(out):
        for name in names:
            with open(os.path.join(parent, name), "rb") as stream:
                found[os.path.relpath(os.path.join(parent, name), out)] = hashlib.sha256(stream.read()).hexdigest()
        found.update({json.dumps(os.path.relpath(os.path.join(parent, name), out)): "folder" for name in folders})
    return found


if __name__ == "__main__":
    sys.exit(main())
