"""Exact resume: checkpoints from which a run goes on, on the same pictures, as if it had never stopped."""
import os

import tensorflow as tf

from ..errors import InputError
from ..model.weights import not_finite, restore_training, sums, training_arrays
from ..storage import read_arrays, write_arrays
from .callbacks import better, check_finite
from .run_folder import checkpoints
from .signals import Interrupted

keras = tf.keras


class ExactResume(keras.callbacks.Callback):
    """Checkpoints from which a run goes on as if it had never stopped.

    One file holds weights, all optimizers, averages, the state of every callback in `parts`, and the position: epoch
    and step in it, where step = `steps_per_epoch` is before the epoch's validation. Written at the end of each epoch,
    every `every` steps if > 0, and when a signal asks for the end (`signals`), which then raises `Interrupted`.
    Of several workers (`alone` False) one cannot save without the others, so there a signal only ends.
    The last two are kept; one of weights that are not finite is not written (TrainingStopped). As the last callback it
    sees what all others did in the epoch.
    """

    KEPT = 2

    def __init__(self, folder, steps_per_epoch, parts, signals, average=None, every=0, epochs=0, alone=True):
        super().__init__()
        self.folder, self.steps_per_epoch, self.parts, self.every = folder, steps_per_epoch, dict(parts), every
        self.signals, self.average, self.epochs, self.alone = signals, average, epochs, alone
        self.epoch, self.step, self.finished = 0, 0, False  # where the next step stands
        self.sums = None        # of the step's figures: those of a half epoch, which Keras resets
        self.counts = None      # of the optimizers' updates after the last whole step
        self.unsaved = False
        signals.at_once = lambda: None if self.unsaved else self.end()

    @property
    def position(self):
        """The steps done since the run began."""
        return self.epoch * self.steps_per_epoch + self.step

    def load(self, model, folder):
        """Restore `model` and all parts from the newest whole checkpoint; returns the lines that the user must know.

        Without any checkpoint the run begins at step 0. Raises InputError if none of those that are there is usable, or
        if they belong to another architecture or other pictures.
        """
        lines, paths = [], checkpoints(folder)
        for path in reversed(paths):
            try:
                arrays, state = read_arrays(path)
                if not_finite(arrays):
                    raise InputError(f"{path}: {not_finite(arrays)} not finite")
            except InputError as error:
                lines.append(f"{error}; going back to the checkpoint before")
                continue
            return lines + self._restore(model, arrays, state, path)
        if paths:
            raise InputError("; ".join(lines + [f"{folder}: no usable checkpoint to resume from; begin another run"]))
        return ["no checkpoint yet: beginning at step 0"]

    def _restore(self, model, arrays, state, path):
        lines = []
        lacking = restore_training(model, arrays, path)
        for name, part in self.parts.items():
            part.restore(state["parts"][name])
        if self.average:
            self.average.restore(state["average"], arrays)
        self.epoch, self.step, self.finished = state["epoch"], state["step"], state["finished"]
        self.sums = {name: a for name, a in arrays.items() if name.startswith("metric/")} if self.step else None
        self.counts = _counts(model)
        if lacking:
            lines.append(f"{path}: of an older version, without the learning rates: worked out from metrics.csv")
            self._set_rates(model)
        if self.finished and self._goes_on(state.get("epochs", self.epochs)):
            lines.append(f"it was stopped early, after epoch {self.epoch}: going on")
            self.finished = False
        return lines

    def _set_rates(self, model):
        """The learning rates after the last epoch: the logged ones, which eq. 7 may have lowered since."""
        rows, plateau = self.parts["log"].rows, self.parts.get("plateau")
        if rows and plateau:
            for name, optimizer in model.optimizers().items():
                optimizer.learning_rate = rows[-1][f"learning_rate_{name}"]
            best = improved = None
            for row in rows:
                improved = better(row[plateau.monitor], best, plateau.monitor)
                best = row[plateau.monitor] if improved else best
            if plateau.wait == 0 and not improved:
                plateau.lower(model)

    def _goes_on(self, epochs_then):
        """Whether a run that early stopping ended has more patience now, or was given more epochs."""
        best = self.parts["best"]
        if best.patience and best.wait >= best.patience and self.epochs > epochs_then:
            best.wait = 0
        return not best.patience or best.wait < best.patience

    def save(self):
        if self.average and self.average.swapped:  # within a validation
            self.average.swap()
        arrays = training_arrays(self.model)
        if self.step == self.steps_per_epoch:
            arrays.update(self.sums)
        check_finite(arrays, f"step {self.position}")
        state = {"epoch": self.epoch, "step": self.step, "finished": self.finished, "epochs": self.epochs,
                 "parts": {name: part.state() for name, part in self.parts.items()}}
        if self.average:
            arrays.update(self.average.arrays())
            state["average"] = self.average.state()
        os.makedirs(self.folder, exist_ok=True)
        write_arrays(os.path.join(self.folder, f"step-{self.position:09d}.npz"), arrays, state)
        self.unsaved = False
        for path in checkpoints(self.folder)[:-self.KEPT]:
            os.remove(path)

    def save_failed(self):
        """Save the last whole step, after one that failed while its batch was read.

        What needs no batch, the optimizers' counters, may have been counted up before: TensorFlow keeps no order there.
        """
        if self.unsaved and self.alone:
            for optimizer, count in zip(self.model.optimizers().values(), self.counts):
                optimizer.iterations.assign(count)
            self.save()

    def end(self):
        raise Interrupted(self.signals.number, f"after step {self.position}; --resume goes on")

    def restore_sums(self):
        """Give a half epoch its sums back: Keras has just reset them."""
        for name, variable in sums(self.model).items():
            if name in self.sums:  # an older version may have had other figures
                variable.assign(self.sums[name])
        self.sums = None

    def on_train_begin(self, logs=None):
        self._heed()  # of a signal that came before there was this object

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.sums:
            self.restore_sums()
        else:
            self.step = 0

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.unsaved, self.counts = True, _counts(self.model)
        if self.step == self.steps_per_epoch:  # the validation that follows needs the sums' place
            self.sums = {name: variable.numpy() for name, variable in sums(self.model).items()}
        elif self.every and self.step % self.every == 0:
            self.save()
        self._heed()

    def on_test_batch_end(self, batch, logs=None):
        self._heed()

    def on_epoch_end(self, epoch, logs=None):
        self.epoch, self.step, self.sums = epoch + 1, 0, None
        self.finished = bool(self.model.stop_training)  # early stopping: a resumed run must not go on either
        self.save()
        self._heed()

    def _heed(self):
        if self.signals.number is not None:
            if self.unsaved and self.alone:
                self.save()
            self.end()


def _counts(model):
    return [int(optimizer.iterations.numpy()) for optimizer in model.optimizers().values()]


class SameData:
    """Part of a checkpoint: a run must not go on with other pictures than it began with."""

    def __init__(self, fingerprint, earlier):
        self.fingerprint, self.earlier = fingerprint, earlier  # the second gives what runs without a data.json have

    def state(self):
        return {"fingerprint": self.fingerprint}

    def restore(self, state):
        if state["fingerprint"] != self.fingerprint and state["fingerprint"] != self.earlier():
            raise InputError("--resume: the pictures in train/good are not those that the run began with")
