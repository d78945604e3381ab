"""All that a GPU is measured by, part after part, each in a process and under a time limit of its own: see gpu.sh.

A part that hangs, crashes or ends with an error is one line and costs its own time only; what it had measured by then
is kept, for each benchmark appends its lines to a file. All together end within MOST seconds, whatever happens.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIGS = os.path.join(os.path.dirname(HERE), "configs")
MOST = 590  # seconds of all parts together
PRECISIONS = ["tf32", "mixed_bfloat16", "float32", "mixed_float16"]  # the last is slow on a CPU

# TensorFlow takes all of a card's memory unless told otherwise, and ONNX Runtime in the same process finds none.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def parts(quick, out):
    """[(name, seconds at most, script, arguments)], in the order in which they are worth the time."""
    turns = ["--turns", "1", "--batch", "1"] if quick else ["--turns", "5"]
    few = ["--rounds", "1", "--calls", "2"] if quick else ["--rounds", "5", "--calls", "10"]
    config = os.path.join(CONFIGS, "cpu.yaml" if quick else "gpu.yaml")
    model = ["--keep", os.path.join(out, "forms"), "--config", config, "--apart", "0.01", *few, "--batch",
             *(["1", "4"] if quick else ["1", "8", "32"])]
    found = [("device", 60, "device.py", []),
             ("noise", 60, "perlin.py", ["--against-host", "--forms", "3", "--rounds", "1" if quick else "5",
                                         *(["--size", "64", "--batch", "4"] if quick else ["--batch", "32"])])]
    for name, without, compiled in (("cpu", 60, 90), ("gpu", 60, 90), ("paper", 90, 120)):
        for xla, limit in (("off", without), ("on", compiled)):
            found.append((f"step {name}{', XLA' if xla == 'on' else ''}", limit, "train_step.py", [
                "--config", os.path.join(CONFIGS, f"{name}.yaml"), "--jit", xla, "--precision", *PRECISIONS, *turns]))
    found.append(("waiting", 60, "pipeline.py", [
        "--config", config, "--rounds", "1",
        *(["--pictures", "16", "--size", "64", "--batch", "4", "--batches", "2", "--steps", "3"] if quick else [])]))
    found.append(("SavedModel", 90, "inference.py", [*model, "--only"]))
    found += [(name, limit, "inference.py", [*model, "--only", name])  # TensorRT builds an engine for each batch size
              for name, limit in (("onnx-cuda", 60), ("onnx-tensorrt", 120), ("tftrt", 120), ("onnx", 60))]
    order = ["device", "noise", "step cpu", "step gpu", "step paper", "waiting", "SavedModel", "onnx-cuda",
             "onnx-tensorrt", "tftrt", "step gpu, XLA", "step cpu, XLA", "step paper, XLA", "onnx"]
    return sorted(found, key=lambda part: order.index(part[0]))


def main(argv=None) -> int:
    names = [name for name, *_ in parts(False, "")]
    parser = argparse.ArgumentParser(prog="gpu.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--out", metavar="DIR", default="gpu_report", help="folder to write (default: gpu_report)")
    parser.add_argument("--quick", action="store_true", help="little of each part: whether it runs, not how fast")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=names, help=f"of: {'; '.join(names)}")
    parser.add_argument("--times", type=float, default=1, metavar="X", help="each part's limit times X, for the CPU")
    parser.add_argument("--most", type=float, default=MOST, metavar="S", help="seconds of all (default: %(default)s)")
    arguments = parser.parse_args(argv)
    os.makedirs(arguments.out, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    forms = os.path.join(arguments.out, "forms")
    shutil.rmtree(forms, ignore_errors=True)
    os.makedirs(forms)
    started, told = time.monotonic(), []
    for name, limit, script, flags in parts(arguments.quick, arguments.out):
        if arguments.only and name not in arguments.only:
            continue
        left = arguments.most - (time.monotonic() - started)
        print(f"\n== {name}", flush=True)
        told.append(one(name, min(limit * arguments.times, left), script, flags, arguments.out))
        print(f"== {name}: {told[-1]['status']}, {told[-1]['seconds']:.0f} s", flush=True)
        write(arguments, told, started)
    print(f"\n{os.path.join(arguments.out, 'gpu.json')}: " + "; ".join(
        f"{part['part']}: {part['status']}" for part in told))
    return 0


def one(name, limit, script, flags, out):
    """Run a part; {"part", "status", "seconds", "rows", ...}."""
    rows = os.path.join(out, f"{name.replace(', ', '_').replace(' ', '_')}.jsonl")
    if os.path.exists(rows):
        os.remove(rows)
    command = [sys.executable, os.path.join(HERE, script), *flags, "--json", rows]
    start, last, status = time.monotonic(), "", "not reached: the time of all parts was over"
    if limit > 1:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True, env={**ENVIRONMENT, **os.environ})
        ended = []
        watch = threading.Timer(limit, lambda: (ended.append(True), kill(process)))
        watch.start()
        try:
            for line in process.stdout:
                print("  " + line, end="", flush=True)
                last = line.strip() or last
            code = process.wait()
        finally:  # also after Ctrl-C, which does not reach another session
            watch.cancel()
            kill(process)
        status = (f"ended after {limit:.0f} s" if ended else "done" if code == 0 else
                  f"crashed: {signal.Signals(-code).name}" if code < 0 else f"failed: {last[:200]}")
    return {"part": name, "status": status, "seconds": time.monotonic() - start, "limit": limit,
            "command": ["python", os.path.join("benchmarks", script), *flags], "rows": read(rows)}


def kill(process):
    """With all that it started, which share its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def read(path):
    """The lines of a part, but one that its end cut short."""
    found = []
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                try:
                    found.append(json.loads(line))
                except ValueError:
                    pass
    return found


def write(arguments, told, started):
    """After each part anew, so that who ends this script has what there is."""
    path = os.path.join(arguments.out, "gpu.json")
    with open(path + ".tmp", "w", encoding="utf-8") as stream:
        json.dump({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "quick": arguments.quick,
                   "seconds": time.monotonic() - started, "parts": told}, stream, indent=2)
    os.replace(path + ".tmp", path)


if __name__ == "__main__":
    sys.exit(main())
