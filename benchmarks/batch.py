"""Scoring many files: the rate of Beam, Ray Data and Spark on this machine, beside one process that does nothing else.

    python benchmarks/batch.py                                   10,000 drawn files, the demo configuration, all engines
    python benchmarks/batch.py --files 2000 --engines ray --config configs/cpu.yaml

Each is a script of its own, examples/score_*.py, from its start to the last row on the disk; the single process is
timed before and after them, as other work on a machine comes and goes. Every one must give the same rows. "share" is a
rate as a share of the single process's mean. CPU s is the processor time of all its processes: on a busy machine the
steadier number. "start" is what 64 files alone took: the engine, the import of TensorFlow, loading.
"""
import argparse
import contextlib
import ctypes
import glob
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, PROJECT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FEW = 64
SINGLE = """
import glob, json, sys
from grdnet_tf.serving.batch import inspect_files
export, pictures, out = sys.argv[1:]
inspect, paths = inspect_files(export), sorted(glob.glob(pictures))
with open(out, "w") as stream:
    for start in range(0, len(paths), 256):
        part = paths[start:start + 256]
        found = inspect([open(path, "rb").read() for path in part])
        rows = zip(part, *(found[name].tolist() for name in ("score", "is_anomalous", "verdict", "valid")))
        stream.writelines(json.dumps(row) + chr(10) for row in rows)
"""


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--config", metavar="FILE", default=os.path.join(PROJECT, "configs", "demo.yaml"),
                        help="a configuration, with fresh weights (default: demo.yaml)")
    parser.add_argument("--set", metavar="a.b=c", action="append", default=[], help="a key of the configuration")
    parser.add_argument("--engines", nargs="+", default=["beam", "ray", "spark"], choices=["beam", "ray", "spark"])
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of an engine (default: one a core)")
    parser.add_argument("--threads", type=int, default=1, help="TensorFlow's, in each of them (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: Ray leaves processes behind, which count too
    with tempfile.TemporaryDirectory() as folder:
        export, size = publish(arguments, os.path.join(folder, "exports"))
        draw(os.path.join(folder, "many"), arguments.files, size)
        draw(os.path.join(folder, "few"), FEW, size)
        commands = {"single": single, "beam": beam, "ray": ray, "spark": spark}
        took, scores = [], {}
        for name in ["single", *arguments.engines, "single"]:
            spent = []
            for pictures in ("few", "many"):
                out = os.path.join(folder, f"out-{len(took)}-{pictures}")
                start, busy = time.perf_counter(), processor_time()
                rows = commands[name](export, os.path.join(folder, pictures), out, arguments)
                spent += [time.perf_counter() - start, processor_time() - busy]
            if any(abs(rows[path] - score) > 1e-5 for path, score in scores.items()) or len(rows) != arguments.files:
                raise AssertionError(f"{name}: other rows than the single process")
            scores = rows
            took.append((name, *spent))
            print("{:7} start {:6.1f} s, {:6.1f} CPU s; all {:7.1f} s, {:7.1f} CPU s".format(*took[-1]), flush=True)
        report(took, arguments.files)
        print(f"bytes of a file {folder_size(os.path.join(folder, 'many')) / arguments.files:.0f}, of the export "
              f"{folder_size(export)}, of a row " + ", ".join(
                  f"{name} {folder_size(os.path.join(folder, f'out-{i}-many')) / arguments.files:.0f}"
                  for i, (name, *_) in enumerate(took) if name != "beam"))
    return 0


def report(took, count):
    alone = [entry for entry in took if entry[0] == "single"]
    wall, busy = (sum(entry[place] for entry in alone) / len(alone) for place in (3, 4))
    steady = sum(entry[4] - entry[2] for entry in alone) / len(alone)
    print(f"{'':7} {'files/s':>8} {'share':>6} {'files/CPU s':>12} {'share':>6} {'without start':>14} {'share':>6}")
    for name, _, start, seconds, used in took:
        print(f"{name:7} {count / seconds:8.1f} {wall / seconds:6.2f} {count / used:12.1f} {busy / used:6.2f} "
              f"{(count - FEW) / (used - start):14.1f} {steady / (used - start):6.2f}")


def processor_time():
    """Seconds of all that this process has started, and what that has started: their orphans are ours (see `main`)."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def publish(arguments, out):
    """(folder of an exported version with fresh weights, (H, W)), by another process: TensorFlow shall not be ours."""
    code = """
import sys
from grdnet_tf.config import load_config
from grdnet_tf.serving import folding, publish, signatures
from grdnet_tf.training.building import build_model
model = build_model(load_config(sys.argv[1], ["data.channels='3'", *sys.argv[3:]]))
def write(folder):
    signatures.write_saved_model(folder, folding.inference_half(model), {"image": {"value": 0.5}}, batch_sizes=())
    return {}
print(publish.publish(1, {sys.argv[2] + "/model": write})[0], *model.image_size)
"""
    told = subprocess.run([sys.executable, "-c", code, arguments.config, out, *arguments.set], cwd=PROJECT, check=True,
                          text=True, stdout=subprocess.PIPE).stdout.split()
    return told[-3], (int(told[-2]), int(told[-1]))


def draw(folder, count, size):
    """PNG files, smooth with fine noise as photographs are."""
    import cv2
    import numpy as np

    os.makedirs(folder)
    random = np.random.default_rng(0)
    for i in range(count):
        coarse = random.uniform(40, 215, (16, 16, 3)).astype(np.float32)
        picture = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC) + random.normal(0, 3, (*size, 3))
        cv2.imwrite(os.path.join(folder, f"{i:06d}.png"), picture.clip(0, 255).astype(np.uint8))


def folder_size(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(parent, name)) for parent, _, names in os.walk(path) for name in names)


def run(*command, threads=None):
    variables = {"PYTHONPATH": PROJECT, "RAY_USAGE_STATS_ENABLED": "0", "SPARK_LOCAL_IP": "127.0.0.1"}
    if threads:
        variables.update(TF_NUM_INTRAOP_THREADS=str(threads), TF_NUM_INTEROP_THREADS=str(threads))
    subprocess.run([sys.executable, *command], check=True, env={**os.environ, **variables},
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def script(name):
    return os.path.join(PROJECT, "examples", f"score_{name}.py")


def single(export, pictures, out, arguments):
    run("-c", SINGLE, export, f"{pictures}/*.png", out)
    with open(out, encoding="utf-8") as stream:
        return {os.path.basename(path): score for path, score, *_ in map(json.loads, stream)}


def beam(export, pictures, out, arguments):
    run(script("beam"), export, f"{pictures}/*.png", out, "--runner", "FnApiRunner", "--direct_num_workers",
        str(arguments.workers), "--direct_running_mode", "multi_processing", threads=arguments.threads)
    return parquet(f"{out}-*.parquet")


def ray(export, pictures, out, arguments):
    run(script("ray"), export, pictures, out, str(arguments.workers), threads=arguments.threads)
    return parquet(f"{out}/*.parquet")


def spark(export, pictures, out, arguments):
    run(script("spark"), export, pictures, out, f"local[{arguments.workers}]", threads=arguments.threads)
    return parquet(f"{out}/*.parquet")


def parquet(pattern):
    from pyarrow.parquet import ParquetFile

    return {os.path.basename(row["path"]): row["score"] for path in glob.glob(pattern)
            for row in ParquetFile(path).read().to_pylist()}


if __name__ == "__main__":
    sys.exit(main())
