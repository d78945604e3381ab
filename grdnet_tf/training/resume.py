"""Exact resume: checkpoints from which a run goes on, on the same pictures, as if it had never stopped."""
import os
import signal
import threading

import tensorflow as tf

from ..errors import InputError
from ..model.weights import restore_training, training_arrays
from ..storage import read_arrays, write_arrays

keras = tf.keras


class ExactResume(keras.callbacks.Callback):
    """Checkpoints from which a run goes on as if it had never stopped.

    One file holds weights, all optimizers, averages, the state of every callback in `parts`, and the position (epoch,
    step in it). Written at the end of each epoch, every `every` steps if > 0, and on SIGTERM, which exits with 143.
    Of several workers (`alone` False) one cannot save without the others, so there SIGTERM only exits.
    The last two are kept. As the last callback it sees what all others did in the epoch.
    """

    KEPT = 2

    def __init__(self, folder, steps_per_epoch, parts, average=None, every=0, alone=True):
        super().__init__()
        self.folder, self.steps_per_epoch, self.parts, self.every = folder, steps_per_epoch, dict(parts), every
        self.average, self.alone = average, alone
        self.epoch, self.step, self.finished = 0, 0, False  # where the next step stands
        self.resumed, self.terminated = None, False

    def load(self, model, folder):
        """Restore `model` and all parts from the newest whole checkpoint; returns lines that tell what was passed over.

        Raises InputError if there is none, or if it belongs to another architecture.
        """
        lines = []
        for path in reversed(self.paths(folder)):
            try:
                arrays, state = read_arrays(path)
            except InputError as error:
                lines.append(f"{error}; going back to the checkpoint before")
                continue
            restore_training(model, arrays, path)
            for name, part in self.parts.items():
                part.restore(state["parts"][name])
            if self.average:
                self.average.restore(state["average"], arrays)
            self.epoch, self.step, self.finished = state["epoch"], state["step"], state["finished"]
            self.resumed = {name: a for name, a in arrays.items() if name.startswith("metric/")} if self.step else None
            return lines
        raise InputError("; ".join(lines + [f"{folder}: no usable checkpoint to resume from"]))

    def paths(self, folder):
        """The checkpoints in `folder`, oldest first."""
        if not os.path.isdir(folder):
            return []
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".npz")]

    def save(self):
        arrays = training_arrays(self.model)
        state = {"epoch": self.epoch, "step": self.step, "finished": self.finished,
                 "parts": {name: part.state() for name, part in self.parts.items()}}
        if self.average:
            arrays.update(self.average.arrays())
            state["average"] = self.average.state()
        os.makedirs(self.folder, exist_ok=True)
        write_arrays(os.path.join(self.folder, f"step-{self.epoch * self.steps_per_epoch + self.step:09d}.npz"),
                     arrays, state)
        for path in self.paths(self.folder)[:-self.KEPT]:
            os.remove(path)

    def on_train_begin(self, logs=None):
        if threading.current_thread() is threading.main_thread():
            self.handler = signal.signal(signal.SIGTERM, self._terminate)

    def on_train_end(self, logs=None):
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)

    def _terminate(self, number, frame):
        self.terminated = True  # acted on between two steps, where the state is whole

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.resumed:  # Keras has just reset the metrics: give the half epoch its sums back
            for metric in self.model.metrics:
                for i, variable in enumerate(metric.variables):
                    variable.assign(self.resumed[f"metric/{metric.name}/{i}"])
            self.resumed = None
        else:
            self.step = 0

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step == self.steps_per_epoch:
            return  # the end of the epoch saves
        if (self.terminated and self.alone) or (self.every and self.step % self.every == 0):
            self.save()
        if self.terminated:
            raise SystemExit(143)

    def on_epoch_end(self, epoch, logs=None):
        self.epoch, self.step = epoch + 1, 0
        self.finished = bool(self.model.stop_training)  # early stopping: a resumed run must not go on either
        self.save()
        if self.terminated:
            raise SystemExit(143)


class SameData:
    """Part of a checkpoint: a run must not go on with other pictures than it began with."""

    def __init__(self, fingerprint, earlier):
        self.fingerprint, self.earlier = fingerprint, earlier  # the second as runs without a data.json have it

    def state(self):
        return {"fingerprint": self.fingerprint}

    def restore(self, state):
        if state["fingerprint"] not in (self.fingerprint, self.earlier):
            raise InputError("--resume: the pictures in train/good are not those that the run began with")
