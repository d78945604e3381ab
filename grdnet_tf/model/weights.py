"""A model's weights and its optimizers' state as named NumPy arrays, and back.

Names are "network/number": first what is trained, then batch normalisation's moments. Keras 2 and Keras 3 agree on the
order within each of the two, not on that of `network.weights`: so the weights of a run are read on either stack. (Not its
checkpoints: the optimizers' state differs.)
"""
from typing import Dict

import numpy as np

from ..compat import optimizer_variables
from ..errors import InputError

NETWORKS = ("generator", "discriminator", "segmenter", "backbone", "fitted")  # a model has some of them


def network_arrays(model) -> Dict[str, np.ndarray]:
    """The weights of every network, batch normalisation's moments included."""
    return _arrays(_network_variables(model))


def training_arrays(model) -> Dict[str, np.ndarray]:
    """Weights, all state of all optimizers, and the metrics' running sums: what a step depends on."""
    return _arrays(_training_variables(model))


def restore_networks(model, arrays, source: str) -> None:
    """Set the weights. InputError naming `source` if the arrays belong to another architecture."""
    _restore(_network_variables(model), arrays, source)


def restore_training(model, arrays, source: str) -> None:
    _restore(_training_variables(model), arrays, source)


def _network_variables(model):
    return {f"{name}/{i:03d}": variable for name in NETWORKS if getattr(model, name, None) is not None
            for i, variable in enumerate(_ordered(getattr(model, name)))}


def _ordered(network):
    return list(network.trainable_weights) + list(network.non_trainable_weights)


def _training_variables(model):
    found = _network_variables(model)
    for name, optimizer in model.optimizers().items():
        found.update({f"optimizer/{name}/{i:03d}": v for i, v in enumerate(optimizer_variables(optimizer))})
    for metric in model.metrics:
        found.update({f"metric/{metric.name}/{i}": v for i, v in enumerate(metric.variables)})
    return found


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
