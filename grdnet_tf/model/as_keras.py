"""What Keras asks of a model besides its steps: a configuration, a saved file, an export, refusals that can be read.

GRDNet is one of these; what differs between the stacks stands in `compat`.
"""
import os
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from ..compat import KERAS_3
from ..errors import InputError
from ..options import Loss, Noise
from . import inputs

keras = tf.keras

PICTURES = ("textures", "real")  # that the noise shows; each a file NAME.npy
OURS = {  # what Keras' compile takes and this model has its own words for
    "optimizer": "there are three: give generator_optimizer, discriminator_optimizer and segmenter_optimizer, or "
                 "learning_rate for all",
    "loss": "the losses are GRD-Net's: give objective=Loss(...)", "loss_weights": "give objective=Loss(...)",
    "metrics": "the figures are those of model.metrics; judge a trained model by grdnet evaluate",
    "weighted_metrics": "every picture counts alike", "auto_scale_loss": "a float16 policy scales by itself",
}


class KerasModel(keras.Model):
    """A model that is made again from `get_config`, saved with what it was compiled with, and refuses wrong input.

    A subclass has `architecture`, `channels`, `image_size`, `one_size` (whether it takes no other), `precision`, and
    once compiled `compiled_with`, the arguments of `compile` but for optimizers and pictures.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        # Out of sight of Keras, which would save what stands here as weights: pictures seen that are out of range.
        self._hidden = SimpleNamespace(traces={}, out_of_range=tf.Variable(
            0.0, trainable=False, synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM, name="out_of_range"))

    # Made again ---------------------------------------------------------------------------------------------------

    def get_config(self):
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in self.architecture.items()}
        return dict(plain, name=self.name, precision=self.precision)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A model with fresh weights, of the precision policy it had; others made later have the policy in force."""
        config, policy = dict(config), keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy(config.pop("precision", policy))
        try:
            return cls(**config)
        finally:
            keras.mixed_precision.set_global_policy(policy)

    def get_build_config(self):
        """Nothing: all weights exist after construction."""

    def build_from_config(self, config):
        """Nothing to do, as `get_build_config` says."""

    def get_compile_config(self):
        """What `compile_from_config` needs; optimizers with the learning rates they have now."""
        if self.trackers is None:
            return None
        optimizers = {name: keras.optimizers.serialize(getattr(optimizer, "inner_optimizer", optimizer))
                      for name, optimizer in self.optimizers().items() if name not in self.following}
        sections = {name: self.compiled_with[name].model_dump(mode="json") for name in ("objective", "noise")}
        return {**self.compiled_with, **sections, "optimizers": optimizers}

    def compile_from_config(self, config):
        config = dict(config)
        optimizers = {f"{name}_optimizer": keras.optimizers.deserialize(optimizer)
                      for name, optimizer in config.pop("optimizers").items()}
        noise = {key: value for key, value in config.pop("noise").items() if key in Noise.model_fields}
        self.compile(**optimizers, objective=Loss(**config.pop("objective")), noise=Noise(**noise), **config)

    def save_assets(self, folder):
        for name in PICTURES:
            if getattr(self, name, None) is not None:
                np.save(os.path.join(folder, name + ".npy"), getattr(self, name).numpy(), allow_pickle=False)

    def load_assets(self, folder):
        for name in PICTURES:
            if os.path.isfile(os.path.join(folder, name + ".npy")):
                setattr(self, name, tf.constant(np.load(os.path.join(folder, name + ".npy"), allow_pickle=False)))

    def export(self, filepath, *arguments, **options):
        """A SavedModel with `serve`, images (B, H, W, C) float32 in [0, 1] -> (reconstruction, anomaly_map, score).

        Any size that the networks take. Keras' own options go on to Keras. For TensorFlow Serving use export.py, which
        adds thresholds, ROI, files as input and a self-test.
        """
        sides = self.image_size if self.one_size else (None, None)
        images = tf.TensorSpec((None, *sides, self.channels), tf.float32, "images")
        if arguments or options:
            signature = {"input_signature": [images]} if KERAS_3 and len(arguments) < 3 else {}  # Keras 2 has no options
            return super().export(filepath, *arguments, **{**signature, **options})
        archive = keras.export.ExportArchive()  # without `track()`: Keras 3 would write the weights a second time
        archive.add_endpoint("serve", lambda images: self(images)._asdict(), [images])
        archive.write_out(filepath)

    # Used -----------------------------------------------------------------------------------------------------------

    def traced(self, images):
        """`self(images)` as a graph, traced once for each size of picture whatever the length of the batch."""
        shape = (None, *images.shape[1:])
        if shape not in self._hidden.traces:
            self._hidden.traces[shape] = tf.function(lambda batch: self(batch), [tf.TensorSpec(shape, tf.float32)],
                                                     autograph=False)
        return self._hidden.traces[shape](images)

    def count_out_of_range(self, *pictures):
        """Within a step: note pictures outside [0, 1], which `refuse_out_of_range` looks at from outside."""
        self._hidden.out_of_range.assign_add(tf.add_n([inputs.out_of_range(part) for part in pictures]))

    def refuse_out_of_range(self):
        count = float(tf.convert_to_tensor(self._hidden.out_of_range))
        self._hidden.out_of_range.assign(0.0)
        inputs.refuse_out_of_range(count)

    def make_train_function(self, force=False):
        return self._watched("train_function", super().make_train_function, force)

    def make_test_function(self, force=False):
        return self._watched("test_function", super().make_test_function, force)

    def make_predict_function(self, force=False):
        return self._watched("predict_function", super().make_predict_function, force)

    def _watched(self, name, make, force):
        """Keras' function of an iterator, which ends in one line of `InputError` where the batch is wrong.

        Values are looked at after batch 1, 2, 4, 8, ... and where Keras waits for figures anyway, at the end of an
        epoch, an evaluation or a prediction: to read a number after every batch would keep a GPU waiting.
        """
        if getattr(self, name) is not None and not force:
            return getattr(self, name)
        make(force)
        function, calls = getattr(self, name), 0

        def watched(*arguments):
            nonlocal calls
            try:
                found = function(*arguments)
            except Exception as error:
                self._hidden.out_of_range.assign(0.0)  # said by this error, if by any
                wrong = _traced_from(error)
                if wrong is error:
                    raise
                raise wrong from None
            calls += 1
            if calls & (calls - 1) == 0:
                self.refuse_out_of_range()
            return found

        setattr(self, name, watched)
        return watched

    def get_metrics_result(self):
        self.refuse_out_of_range()
        return super().get_metrics_result()

    def train_on_batch(self, *arguments, **options):
        return self._refusing(super().train_on_batch(*arguments, **options))

    def test_on_batch(self, *arguments, **options):
        return self._refusing(super().test_on_batch(*arguments, **options))

    def predict(self, *arguments, **options):
        return self._refusing(super().predict(*arguments, **options))

    def predict_on_batch(self, *arguments, **options):
        return self._refusing(super().predict_on_batch(*arguments, **options))

    def _refusing(self, found):
        self.refuse_out_of_range()
        return found


def refuse_unknown(options) -> None:
    """InputError naming the first argument of `compile` that this model does not take."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"GRDNet.compile: {name}: {OURS.get(name, 'no such argument')}")


def _traced_from(error):
    """What was raised in a step while it was traced: AutoGraph (Keras 2) makes another class of it."""
    while hasattr(error, "ag_error_metadata") and not isinstance(error, InputError):
        error = error.__context__
    return error
