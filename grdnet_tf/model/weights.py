"""A model's weights and its optimizers' state as named NumPy arrays, and back.

Names are "network/number": first what is trained, then batch normalisation's moments. Keras 2 and Keras 3 agree on the
order within each of the two, not on that of `network.weights`: so the weights of a run are read on either stack. (Not its
checkpoints: the optimizers' state differs.)
"""
from typing import Dict, List, Optional

import numpy as np

from ..compat import optimizer_variables
from ..errors import InputError

PARTS = ("generator", "discriminator", "segmenter", "backbone", "fitted")  # a model has some of them


def network_arrays(model) -> Dict[str, np.ndarray]:
    """The weights of every network, batch normalisation's moments included."""
    return _arrays(_network_variables(model))


def training_arrays(model) -> Dict[str, np.ndarray]:
    """Weights, all state of all optimizers, and the running sums of the step's figures: what a step depends on."""
    return _arrays({**_network_variables(model), **_optimizer_variables(model), **sums(model)})


def sums(model) -> Dict[str, object]:
    """{name: variable} of the running sums of the training step's figures. Validation, which has more, resets all."""
    return {f"metric/{metric.name}/{i}": variable for metric in model.trackers.values()
            for i, variable in enumerate(metric.variables)}


def restore_networks(model, arrays, source: str) -> None:
    """Set the weights. InputError naming `source` if the arrays belong to another architecture or are not finite."""
    broken = not_finite(arrays)
    if broken:
        raise InputError(f"{source}: {broken} not finite: the training had gone to pieces")
    _restore(_network_variables(model), arrays, source)


def restore_training(model, arrays, source: str) -> List[str]:
    """Set weights and optimizers; returns the names that the arrays lack because an older version wrote them.

    InputError as in `restore_networks`. The running sums are the caller's: Keras resets them when an epoch begins.
    """
    variables = _optimizer_variables(model)
    lacking = [name for name in variables if name.endswith("/learning_rate") and name not in arrays]
    restore_networks(model, arrays, source)
    _restore({name: v for name, v in variables.items() if name not in lacking}, arrays, source)
    return lacking


def not_finite(arrays) -> Optional[str]:
    """"the generator's weights are", of the first network whose arrays hold a NaN or an infinity; None if none does."""
    for name, array in arrays.items():
        if name.split("/")[0] in (*PARTS, "optimizer") and not np.all(np.isfinite(array)):
            optimizer = name.startswith("optimizer/")
            return f"the {name.split('/')[optimizer]}'s {'optimizer is' if optimizer else 'weights are'}"
    return None


def _network_variables(model):
    return {f"{name}/{i:03d}": variable for name in PARTS if getattr(model, name, None) is not None
            for i, variable in enumerate(_ordered(getattr(model, name)))}


def _ordered(network):
    return list(network.trainable_weights) + list(network.non_trainable_weights)


def _optimizer_variables(model):
    return {f"optimizer/{name}/{key}": variable for name, optimizer in model.optimizers().items()
            for key, variable in optimizer_variables(optimizer).items()}


def _arrays(variables):
    return {name: np.array(variable.numpy()) for name, variable in variables.items()}  # a copy: numpy() may be a view


def _restore(variables, arrays, source):
    for name, variable in variables.items():
        if name not in arrays or tuple(arrays[name].shape) != tuple(variable.shape):
            found = "missing" if name not in arrays else f"of shape {arrays[name].shape}"
            raise InputError(f"{source}: another architecture: {name} is {found}, "
                             f"the model needs {tuple(variable.shape)}")
    for name, variable in variables.items():
        variable.assign(arrays[name])
