"""What differs between the Keras 2 stack (TensorFlow 2.15) and the Keras 3 stack (2.21), each with its reason."""
import tensorflow as tf

keras = tf.keras
KERAS_3 = hasattr(keras, "ops")  # `tf.keras.__version__` is missing on the Keras 2 stack


def loss_scaled(optimizer):
    """The optimizer with dynamic loss scaling, for float16: the class moved between the stacks."""
    return (keras.optimizers if KERAS_3 else keras.mixed_precision).LossScaleOptimizer(optimizer)


def minimize(optimizer, loss, variables, tape, clip_norm=0.0):
    """One update of `variables` along the gradient of `loss`, a scalar recorded on the persistent `tape`.

    `clip_norm` > 0 bounds the norm of the whole gradient, that of all replicas together.
    Loss scaling: Keras 3 unscales within `apply_gradients`, Keras 2 wants a call of its own. Replicas: both stacks
    *sum* gradients over replicas, so the gradient of a mean over the replica's share of the batch is divided by their
    number. Keras 3 clips, and looks for overflow, before that sum, each replica by itself: where either matters,
    every replica is given the mean of all, whose sum is the same.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    factor = tf.constant(1.0 / replicas)
    unscale = getattr(optimizer, "get_unscaled_gradients", None)  # Keras 2, loss-scaled only
    if KERAS_3:
        factor = optimizer.scale_loss(factor)
    elif unscale:
        factor = optimizer.get_scaled_loss(factor)
    gradients = tape.gradient(loss, variables, output_gradients=factor)
    if replicas > 1 and (clip_norm or (KERAS_3 and isinstance(optimizer, keras.optimizers.LossScaleOptimizer))):
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
    if clip_norm:
        gradients, _ = tf.clip_by_global_norm(gradients, clip_norm * factor)
    optimizer.apply_gradients(zip(unscale(gradients) if unscale else gradients, variables))


def optimizer_variables(optimizer):
    """{name: variable}: all that an update of a built optimizer reads and writes.

    Keras 2 leaves out of `variables` the learning rate (unless it is a schedule, it is a variable that callbacks
    change) and, of the wrapper for loss scaling, the scale with its counter.
    """
    found = list(optimizer.variables() if callable(optimizer.variables) else optimizer.variables)
    if not KERAS_3 and hasattr(optimizer, "get_unscaled_gradients"):
        found += list(optimizer._loss_scale._weights.values())  # the only handle to the scale and its counter
    named = {f"{i:03d}": variable for i, variable in enumerate(found)}
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not KERAS_3 and isinstance(inner._learning_rate, tf.Variable):
        named["learning_rate"] = inner._learning_rate
    return named


def average_together(optimizers, networks):
    """Keras' averages of weights (`use_ema`) reach all networks, though Keras knows `model.optimizer` alone.

    `fit` ends with `finalize_variable_values` of that one, for all weights: on Keras 2 a KeyError. SwapEMAWeights
    (Keras 3) takes the attribute `optimizers`, which Keras' own optimizer of several has.
    """
    inner = [getattr(optimizer, "inner_optimizer", optimizer) for optimizer in optimizers]
    if not any(getattr(optimizer, "use_ema", False) for optimizer in inner):
        return

    def finalize(variables):
        for optimizer, network in zip(inner, networks):
            type(optimizer).finalize_variable_values(optimizer, network.trainable_variables)

    # Past the tracking of attributes, which would make one optimizer's state another's.
    object.__setattr__(inner[0], "optimizers", tuple(inner))
    object.__setattr__(optimizers[0], "finalize_variable_values", finalize)


def log_value(metric):
    """A metric's result for the logs: Keras 3 under MultiWorkerMirroredStrategy fails on scalars (keras#20585)."""
    value = metric.result()
    many = KERAS_3 and isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy)
    return tf.reshape(value, [1]) if many else value


def all_layers(layer):
    """`layer` and every layer within it, in an order that their classes alone decide: no public walk is on both."""
    return list(layer._flatten_layers())
