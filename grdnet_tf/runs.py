"""The run folder, and the way from a configuration to a model: shared by train.py, evaluate.py and export.py.

    RUN/config.yaml  environment.json  metrics.csv  tensorboard/  checkpoints/  best/weights.npz  summary.json
"""
import hashlib
import json
import logging
import os
import platform
import sys
from importlib import metadata
from typing import NamedTuple

from . import config as configuration
from . import datasets, evaluation_data, orientation
from .errors import InputError
from .storage import read_arrays, write_json, write_text

logger = logging.getLogger(__name__)

CONFIG, BEST, CHECKPOINTS, SUMMARY = "config.yaml", os.path.join("best", "weights.npz"), "checkpoints", "summary.json"


class Run(NamedTuple):
    """A trained run: its resolved configuration and its model with the best weights."""
    config: configuration.Config
    model: object


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


class Data(NamedTuple):
    """What a run trains on and what it validates on (both out of train/good), and what was left out as unusable."""
    train: list
    held_out: list
    channels: int
    depth: int
    skipped: list
    fingerprint: str  # of the pictures' names and sizes: a run must not go on with other data


def training_data(config) -> Data:
    """List, check and split train/good of `config.data.root`; warn of pictures that are in test/ too. No TensorFlow."""
    root, d = config.data.root, config.data
    inspection = datasets.inspect(datasets.list_mvtec(root, "train"), d.on_bad_image, d.max_skipped)
    for path, reason in inspection.skipped:
        logger.warning("skipped: %s: %s", path, reason)
    if d.channels == "1" and inspection.channels == 3:
        raise InputError(f"data.channels = 1, but the pictures in {root} are colour")
    if os.path.isdir(os.path.join(root, "test")):
        for ours, theirs in datasets.duplicates(inspection.records, datasets.list_mvtec(root, "test")):
            logger.warning("warning: the same picture is in training and test: %s, %s", ours, theirs)
    held_out = []
    records = inspection.records
    if d.held_out:
        records, held_out = datasets.hold_out(records, d.held_out, config.train.seed)
    names = "\n".join(f"{os.path.relpath(r.image, root)} {os.path.getsize(r.image)}" for r in inspection.records)
    channels = inspection.channels if d.channels == "auto" else int(d.channels)
    return Data(records, held_out, channels, inspection.depth, inspection.skipped,
                hashlib.sha256(names.encode()).hexdigest())


def oriented(config, data: Data):
    """`config` with the turns and flips that the product in `data` shows by itself, if data.orientation asks for it."""
    d, names = config.data, orientation.Orientation._fields
    if d.orientation != "measured":
        return config
    if len(data.train) < orientation.FEWEST:
        logger.warning("warning: data.orientation cannot be measured on %d pictures, fewer than %d: turns and flips as "
                       "the configuration has them", len(data.train), orientation.FEWEST)
        return config
    found = orientation.measure(data.train, d.image_size, orientation.Orientation(*(getattr(d, n) for n in names)),
                                d.border)
    flips = [way for way, flip in (("left-right", found.flip_horizontal), ("upside down", found.flip_vertical)) if flip]
    logger.info("orientation, measured on the good pictures: turned by up to %g rad, %s", found.rotation,
                "flipped " + " and ".join(flips) if flips else "not flipped")
    return configuration.replace(config, **{f"data__{name}": value for name, value in zip(names, found)})


def measured(config) -> list:
    """What `oriented` found for the run of this configuration, as section.key=value; empty if it was not asked to."""
    if config.data.orientation != "measured":
        return []
    return [f"data.{name}={getattr(config.data, name)}" for name in orientation.Orientation._fields]


def build_model(config):
    """The untrained GRDNet of a resolved configuration (channels known), under the precision policy in force."""
    from .model import GRDNet

    n, loss = config.network, config.loss
    return GRDNet(config.data.image_size, int(config.data.channels), widths=n.widths, latent=n.latent, stem=n.stem,
                  blocks=n.blocks, bottleneck=n.bottleneck, residual=n.residual, batch_norm=n.batch_norm,
                  synchronized=config.train.strategy != "none", second_encoder=loss.encoder > 0,
                  discriminator_widths=n.discriminator_widths if loss.adversarial > 0 else None,
                  segmenter_widths=n.segmenter_widths, segmenter_stride=n.segmenter_stride,
                  segmenter_difference=n.segmenter_difference, score_pool=n.score_pool)


def objective(config):
    """The `model.Objective` of a configuration: the section's keys are its fields."""
    from .model import Objective

    return Objective(**{name: getattr(config.loss, name) for name in Objective._fields})


def noise_settings(section):
    """The `perlin.NoiseSettings` of a configuration's section `noise` or `validation`."""
    from .perlin import NoiseSettings

    values = {name: getattr(section, name) for name in NoiseSettings._fields if hasattr(section, name)}
    return NoiseSettings(**dict(values, sources=tuple(section.sources.items()), shapes=tuple(section.shapes.items())))


def load_run(folder: str) -> Run:
    """The run in `folder` with the best weights, ready to detect. InputError if missing, unfinished or damaged."""
    config = read_config(folder)
    path = os.path.join(folder, BEST)
    if not os.path.isfile(path):
        raise InputError(f"{folder}: no trained weights yet ({BEST} is missing)")
    arrays, _ = read_arrays(path)
    from .weights import restore_networks

    model = build_model(config)
    restore_networks(model, arrays, path)
    return Run(config, model)


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
    return evaluation_data.held_out_records(home, config.data.held_out, config.train.seed, skipped, roi)
