"""What is in a run folder, and how it is begun and read. No TensorFlow.

    RUN/config.yaml  environment.json  metrics.csv  tensorboard/  checkpoints/  best/weights.npz  summary.json
"""
import json
import os
import platform
import sys
from importlib import metadata

from .. import config as configuration
from ..data import selection
from ..errors import InputError
from ..storage import write_json, write_text

CONFIG, BEST, CHECKPOINTS, SUMMARY = "config.yaml", os.path.join("best", "weights.npz"), "checkpoints", "summary.json"


def check_new(folder: str) -> None:
    """InputError unless a run can be made in `folder`: it must be missing or empty."""
    if os.path.exists(os.path.join(folder, CONFIG)):
        raise InputError(f"{folder}: there is a run already; --resume goes on with it, or choose another --run")
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise InputError(f"{folder}: exists and is not an empty folder; choose another --run")


def worker_folder(folder: str, config) -> str:
    """Where this process writes: `folder`, or `folder`.worker-N for all but the first of several workers.

    Raises InputError if train.strategy is multiworker and TF_CONFIG does not say which worker this is.
    """
    if config.train.strategy != "multiworker":
        return folder
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "null")
        workers, task = cluster["cluster"]["worker"], cluster["task"]
        kind, index = task["type"], int(task["index"])
    except (ValueError, KeyError, TypeError):
        raise InputError(
            "train.strategy = multiworker: the environment variable TF_CONFIG must name the cluster, as in "
            '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}') from None
    if kind != "worker" or not 0 <= index < len(workers) or set(cluster["cluster"]) != {"worker"}:
        raise InputError(f"TF_CONFIG: {kind} {index} of a cluster of {len(workers)} workers; expected a cluster of "
                         "workers alone, and the index of one of them")
    return folder if index == 0 else f"{folder}.worker-{index}"


def create_run(folder: str, config) -> None:
    """Make the folder and write config.yaml and environment.json. InputError if something is there already."""
    check_new(folder)
    try:
        for part in ("", CHECKPOINTS, os.path.dirname(BEST)):
            os.makedirs(os.path.join(folder, part), exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the run folder {folder}: {error.strerror}") from None
    write_json(os.path.join(folder, "environment.json"), environment())
    write_text(os.path.join(folder, CONFIG), configuration.to_yaml(config))


def environment() -> dict:
    """What the numbers of a run depend on besides its configuration."""
    versions = {}
    for package in ("tensorflow", "keras", "tensorflow-addons", "numpy", "scikit-image", "opencv-python-headless",
                    "tf2onnx", "onnx", "onnxruntime"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {"python": platform.python_version(), "platform": platform.platform(), "processor": _processor(),
            "cpu_count": os.cpu_count(), "packages": versions, "arguments": sys.argv[1:]}


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def read_config(folder: str):
    """The resolved configuration of the run in `folder`. InputError if there is no run."""
    path = os.path.join(folder, CONFIG)
    if not os.path.isfile(path):
        raise InputError(f"{folder}: no run here ({CONFIG} is missing)")
    return configuration.load_config(path)


def read_summary(folder: str) -> dict:
    """summary.json of a finished run."""
    try:
        with open(os.path.join(folder, SUMMARY), encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        raise InputError(f"{folder}: no finished run ({SUMMARY} is missing or damaged)") from None


def held_out(folder: str, config, home: str, roi: str = "auto") -> list:
    """The checked good pictures in `home` that the run did not train on; empty where there are none any more."""
    skipped = []
    if os.path.isfile(os.path.join(folder, SUMMARY)):
        skipped = [path for path, _ in read_summary(folder)["skipped"]]
    return selection.held_out_records(home, config.data.held_out, config.train.seed, skipped, roi, config.data.white)
