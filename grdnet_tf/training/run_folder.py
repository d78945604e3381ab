"""What is in a run folder, and how it is begun and read. No TensorFlow.

    RUN/config.yaml  data.json  environment.json  metrics.csv  tensorboard/  checkpoints/  best/weights.npz  best/padim.npz
        epochs/000010.npz  summary.json  drawn.json  station.yaml  calibration.json  evaluation/
        align.json  upright/  upright-test-DIGEST/         of loose parts (`data.upright`)
"""
import contextlib
import json
import os
import platform
import shutil
import sys
from importlib import metadata
from typing import List, Optional, Union

import yaml

from .. import config as configuration
from ..data import aligning, following, turning
from ..data import roi as rois
from ..data.records import is_there
from ..errors import InputError
from ..kinds import OptionError
from ..locking import lock
from ..options import FITTED, Station
from ..storage import read_json, write_json, write_text
from . import prepare, recorded

CONFIG, BEST, CHECKPOINTS, SUMMARY = "config.yaml", os.path.join("best", "weights.npz"), "checkpoints", "summary.json"
PADIM = os.path.join("best", "padim.npz")  # of features.fused
ENVIRONMENT, LOCK, LEFTOVER, STATION, DRAWN = "environment.json", "lock", ".tmp", "station.yaml", "drawn.json"
UPRIGHT = "upright"  # a data folder: the good pictures, turned, where data.upright asked for it


def epoch_weights(folder: str, epoch: int) -> str:
    """The file of the weights that train.keep_epochs kept after `epoch`."""
    return os.path.join(folder, "epochs", f"{epoch:06d}.npz")


def weights(folder: str, epoch: Optional[int] = None) -> str:
    """The file of the best weights, or of those kept after `epoch`. InputError where there is none."""
    path = os.path.join(folder, BEST) if epoch is None else epoch_weights(folder, epoch)
    if os.path.isfile(path):
        return path
    if epoch is None:
        raise InputError(f"{folder}: no trained weights yet ({BEST} is missing)")
    kept = os.path.dirname(path)
    there = sorted(int(name[:-4]) for name in (os.listdir(kept) if os.path.isdir(kept) else ()) if name[:-4].isdigit())
    raise InputError(f"{folder}: no weights of epoch {epoch}; train.keep_epochs kept "
                     f"{', '.join(map(str, there)) or 'none'}")


def checkpoints(kept: str) -> List[str]:
    """The checkpoints in a run's folder of them, `kept`, oldest first."""
    if not os.path.isdir(kept):
        return []
    return [os.path.join(kept, name) for name in sorted(os.listdir(kept)) if name.endswith(".npz")]


def check_new(folder: str) -> None:
    """InputError unless a run can be made in `folder`: it must be missing, empty, or left by a run that never began."""
    if is_begun(folder):
        raise InputError(f"{folder}: there is a run already; --resume goes on with it, from its beginning where there "
                         "is no checkpoint yet, or choose another --run")
    if os.path.exists(folder) and (not os.path.isdir(folder) or not _only_begun(folder)):
        raise InputError(f"{folder}: exists and is not an empty folder; choose another --run")


def is_begun(folder: str) -> bool:
    """Whether there is a run in `folder`: its configuration is what is written last when one is made."""
    return os.path.exists(os.path.join(folder, CONFIG))


def _only_begun(folder):
    """Whether all in the folder is what making a run leaves when it is cut off."""
    parts = {"": {ENVIRONMENT, LOCK, STATION, recorded.FILE}, CHECKPOINTS: set(), os.path.dirname(BEST): set()}
    for at, folders, files in os.walk(folder):
        if at == folder:
            folders[:] = [name for name in folders if not (name.endswith(LEFTOVER) or name.partition("-")[0] == UPRIGHT
                                                           and turning.is_made(os.path.join(folder, name)))]
        known = parts.get(os.path.relpath(at, folder) if at != folder else "")
        if known is None or not all(name in known or name.endswith(LEFTOVER) for name in files):
            return False
    return True


@contextlib.contextmanager
def locked(folder: str):
    """The run in `folder`, which is made if it is missing, for this process alone; InputError while another has it."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the run folder {folder}: {error.strerror}") from None
    try:
        with lock(os.path.join(folder, LOCK)):
            yield
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # if no run was begun in it


def forget_summary(folder: str) -> None:
    """A run that goes on is not finished any more."""
    for name in (SUMMARY, DRAWN):
        if os.path.exists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))


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


def create_run(folder: str, config, data: Optional[recorded.Recorded] = None) -> None:
    """Make the folder and write data.json, environment.json and, last, config.yaml.

    `data`: the record; without one it is made of the data folder as it is.
    Raises: InputError if something is there already.
    """
    check_new(folder)
    try:
        for part in ("", CHECKPOINTS, os.path.dirname(BEST)):
            os.makedirs(os.path.join(folder, part), exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the run folder {folder}: {error.strerror}") from None
    write_json(os.path.join(folder, ENVIRONMENT), environment())
    if data is None and config.data.root and is_there(config.data.root):
        data = prepare.training_data(config).recorded
    if data is not None:
        recorded.write(folder, data)
    follow, roi = config.station.follow, _own_roi(folder, config)
    if follow and not roi:
        raise InputError(f"station.follow = {follow}: there is no region for all pictures that could go with the part")
    align = prepare.alignment(config)
    if align and follow:
        raise InputError(f"station.follow = {follow}: the parts are turned upright, so the region goes with them; give one")
    if align:
        aligning.write(os.path.join(folder, aligning.FILE), aligning.read(align))  # from a bucket too
    write_station(folder, config.station.replace(roi=roi, follow=follow and _copied(folder, "follow", follow),
                                                 align=align and aligning.FILE))
    write_config(folder, config)


def write_config(folder: str, config) -> None:
    """What the run was trained with; of the station, station.yaml tells."""
    write_text(os.path.join(folder, CONFIG), configuration.to_yaml(config, without=("station",)))


def write_station(folder: str, station: Station) -> None:
    lines = ["# Read by evaluate, predict and export; what it says here holds from the next command on.",
             "# Thresholds are in calibration.json. roi, follow, align: files in this folder."]
    for name, field in Station.model_fields.items():
        value = yaml.safe_dump({name: station.model_dump(mode="json")[name]}, default_flow_style=None)
        lines += ["", f"# {field.description}", value.strip().strip("{}")]
    write_text(os.path.join(folder, STATION), "\n".join(lines) + "\n")


def read_station(folder: str) -> Station:
    """What station.yaml says; a run from before there was one was told nothing. InputError naming the file and key."""
    path = os.path.join(folder, STATION)
    if not os.path.isfile(path):
        return Station()
    try:
        with open(path, encoding="utf-8") as stream:
            content = yaml.safe_load(stream)
        if not isinstance(content or {}, dict):
            raise ValueError
        station = Station(**{str(key): value for key, value in (content or {}).items()})
    except OptionError as error:
        raise InputError(f"{path}: {error.key} {error.what}") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        raise InputError(f"{path}: no YAML of keys and values") from None
    for name, file in (("roi", station.roi), ("follow", station.follow), ("align", station.align)):
        if file is not None and not os.path.isfile(os.path.join(folder, file)):
            raise InputError(f"{path}: {name} = {file!r}; there is no such file in {folder}")
    if station.follow and not station.roi:
        raise InputError(f"{path}: follow = {station.follow!r}, but there is no roi that could go with the part")
    if station.follow and station.align:
        raise InputError(f"{path}: follow = {station.follow!r} does not go with align: upright parts all lie alike")
    return station


def roi_choice(folder: str, station: Station, asked: str = "auto") -> Union[str, following.Choice]:
    """Which ROI: what is asked for, else the station's own for all pictures, else as the data has it ("auto")."""
    if asked != "auto" or not station.roi:
        return asked
    own = os.path.join(folder, station.roi)
    return following.Choice(own, os.path.join(folder, station.follow)) if station.follow else own


def _own_roi(folder, config):
    """The name of the run's copy of the ROI that is for all pictures: of station.roi, or else of the data folder's."""
    root = config.data.root
    source = config.station.roi or (rois.for_all(root) if root and os.path.isdir(root) else None)
    if source is None:
        return None
    return _copied(folder, "roi", source)


def upright(folder: str, station: Station) -> Optional[str]:
    """The run's align.json, by which pictures are to be turned; None where they are taken as they are."""
    return station.align and os.path.join(folder, station.align)


def _copied(folder, key, source):
    """The name of the run's copy of a file that `key` of the station names."""
    name = key + os.path.splitext(source)[1].lower()
    try:
        shutil.copyfile(source, os.path.join(folder, name))
    except OSError as error:
        raise InputError(f"station.{key} = {source}: {error.strerror}") from None
    return name


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


def peak_rss_mb():
    """The most memory that this process has held, MiB; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return round(peak / 2**20, 1)


def read_config(folder: str):
    """The resolved configuration of the run in `folder`. InputError if there is no run."""
    path = os.path.join(folder, CONFIG)
    if not os.path.isfile(path):
        raise InputError(f"{folder}: no run here ({CONFIG} is missing)")
    with open(path, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    sections = {line.partition(":")[0] for line in text.splitlines()}
    for name in ("data", "noise", "validation", "network", "loss", "train"):
        if name not in sections:  # it is always written in full: what is gone would quietly be the defaults
            raise InputError(f"{path}: damaged: there is no section {name}")
    config = configuration.load_config(path).model_copy(update={"station": read_station(folder)})
    before = {}  # what an option is in a run from before there was this option
    if "discriminator_blocks" not in text:
        before["network__discriminator_blocks"] = 1
    if "  enlarged:" not in text and (config.method in FITTED or config.features.fused):
        before["features__enlarged"] = "repeated"
    if config.data.upright:
        before.update(data__root=_own(folder, config.data.root),
                      data__add_good=tuple(_own(folder, root) for root in config.data.add_good))
    return configuration.replace(config, **before) if before else config


def _own(folder, root):
    """The folder of turned parts that `root` names, in the run where it is now: that may have been moved or copied."""
    here = os.path.join(os.path.abspath(folder), os.path.basename(root or ""))
    return here if os.path.basename(here).partition("-")[0] == UPRIGHT and turning.is_made(here) else root


def read_summary(folder: str) -> dict:
    """summary.json of a finished run."""
    try:
        found = read_json(os.path.join(folder, SUMMARY))
        if not isinstance(found, dict):
            raise ValueError
        return found
    except (OSError, ValueError):
        raise InputError(f"{folder}: no finished run ({SUMMARY} is missing or damaged)") from None
