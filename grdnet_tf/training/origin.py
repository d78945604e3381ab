"""Going on from another run's best weights: what the new run takes over, and what it cannot change. No TensorFlow."""
import os

from .. import config as configuration
from ..errors import InputError
from ..options import FITTED
from ..storage import fingerprint, read_arrays
from . import run_folder


def begin(folder: str, keep_optimizers: bool = False):
    """The configuration of the run in `folder`, as one that begins from its best weights has it before any change.

    With `keep_optimizers` the state of its newest checkpoint goes on too. Raises: InputError for a run that is not
    there, has no weights yet or is of a method that has none to go on from.
    """
    config = run_folder.read_config(folder)
    if config.method in FITTED:
        raise InputError(f"--from {folder}: method: {config.method} is fitted in one pass, there are no weights to go "
                         "on from; fit it again, --add-good DIR adds pictures")
    weights = fingerprint(read_arrays(run_folder.weights(folder))[0])
    updates = config.origin.updates + position(checkpoint(folder)) if keep_optimizers else 0
    station = {f"station__{key}": os.path.abspath(os.path.join(folder, file)) for key, file in (
        ("roi", config.station.roi), ("follow", config.station.follow),
        ("align", config.station.align)) if file}
    return configuration.replace(config, origin__parent=os.path.abspath(folder), origin__weights_sha256=weights,
                                 origin__updates=updates, train__cosine_epochs=0, **station)


def check(config) -> None:
    """InputError where `config` asks for other networks than its parent has, naming the key."""
    parent = run_folder.read_config(config.origin.parent)
    for key, (ours, theirs) in configuration.differences(config, parent).items():
        part, _, name = key.partition(".")
        trained = key in ("loss.adversarial", "loss.encoder", "loss.segmentation") and bool(ours) != bool(theirs)
        size = key == "data.image_size" and config.one_size
        if key in ("method", "data.channels") or part == "network" or trained or size:
            raise InputError(f"--from: {key} = {ours}, but {config.origin.parent} has {theirs}: another architecture")
    if config.origin.updates and config.train.schedule != parent.train.schedule:
        raise InputError(f"--keep-optimizers: train.schedule = {config.train.schedule}, but {config.origin.parent} has "
                         f"{parent.train.schedule}")


def best_weights(config):
    """(arrays, their file) that a run of this configuration begins with. InputError if they are not those any more."""
    parent = config.origin.parent
    path = run_folder.weights(parent)
    arrays = read_arrays(path)[0]
    if fingerprint(arrays) != config.origin.weights_sha256:
        raise InputError(f"{path}: not the weights that origin.weights_sha256 names: {parent} has gone on since")
    return arrays, path


def checkpoint_of(config) -> str:
    """The checkpoint whose optimizers go on. InputError if the parent has gone on since."""
    parent = config.origin.parent
    path = checkpoint(parent)
    if run_folder.read_config(parent).origin.updates + position(path) != config.origin.updates:
        raise InputError(f"{path}: not the checkpoint of origin.updates = {config.origin.updates}: {parent} has gone "
                         "on since")
    return path


def checkpoint(folder: str) -> str:
    """The newest checkpoint. InputError where there is none."""
    found = run_folder.checkpoints(os.path.join(folder, run_folder.CHECKPOINTS))
    if not found:
        raise InputError(f"--keep-optimizers: {folder} has no checkpoint")
    return found[-1]


def position(path: str) -> int:
    """The steps that a checkpoint's name tells."""
    return int(os.path.basename(path)[len("step-"):-len(".npz")])
