"""The three optimizers of a GRDNet: those given, and followers of the first for the rest."""
import tensorflow as tf

from ..compat import loss_scaled
from ..errors import InputError

keras = tf.keras


class _Follow(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of another optimizer: Keras' own callbacks change that of `model.optimizer` alone."""

    def __init__(self, leader):
        self.leader = leader

    def __call__(self, step):
        return tf.convert_to_tensor(self.leader.learning_rate)


def checked(given: dict) -> None:
    """InputError unless each of {network: optimizer} is a Keras optimizer or None."""
    for name, optimizer in given.items():
        if optimizer is not None and not isinstance(optimizer, keras.optimizers.Optimizer):
            raise InputError(f"GRDNet.compile: {name}_optimizer = {optimizer!r}; expected a Keras optimizer, such as "
                             "keras.optimizers.Adam(1e-4), or None")


def three(given: dict, learning_rate: float, scaled: bool) -> list:
    """An optimizer for each network of {network: optimizer or None}, the leader first; `scaled` for float16.

    Adam(learning_rate) if the leader is None; any other that is None has the leader's learning rate at every step, and
    averages its weights (`use_ema`) if the leader does.
    """
    leader, *others = given.values()
    if leader is None:
        leader = keras.optimizers.Adam(learning_rate)
    average = {}
    if getattr(leader, "use_ema", False):
        average = dict(use_ema=True, ema_momentum=leader.ema_momentum)
    found = [leader] + [keras.optimizers.Adam(_Follow(leader), **average) if one is None else one for one in others]
    return [loss_scaled(one) for one in found] if scaled else found
