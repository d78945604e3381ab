"""Keras callbacks of a GRD-Net run: learning rate, averaged weights, logs, pictures, the best epoch."""
import csv
import io
import logging
import math
import os
import time

import cv2
import numpy as np
import tensorflow as tf

from ..errors import TrainingStopped
from ..model.weights import network_arrays, not_finite
from ..storage import write_arrays, write_text

keras = tf.keras
logger = logging.getLogger(__name__)

PANELS = ("image", "noisy", "mask", "reconstruction", "anomaly map", "roi")
GAP, BAR, LEAST = 6, 20, 112  # pixels of a strip: between panels, of the names above, of a panel's least width


def higher_is_better(monitor: str) -> bool:
    """Whether a monitored figure is one to maximise: areas under curves are, losses are not."""
    return monitor.endswith(("auroc", "ap"))


def monitored(logs, monitor: str) -> float:
    """The figure of that name among an epoch's logs."""
    if monitor not in (logs or {}):
        raise TrainingStopped(f"train.monitor = {monitor}: no such figure; there are {', '.join(sorted(logs or {}))}")
    return float(np.ravel(logs[monitor])[0])


def better(value, best, monitor: str) -> bool:
    """Whether `value` of `monitor` beats `best` (None: nothing yet). A NaN or an infinity never does."""
    if not math.isfinite(value):
        return False
    return best is None or not math.isfinite(best) or (value > best if higher_is_better(monitor) else value < best)


def check_finite(arrays, where: str) -> None:
    """TrainingStopped naming `where` and the network whose weights have become infinite or NaN."""
    broken = not_finite(arrays)
    if broken:
        raise TrainingStopped(f"{where}: {broken} not finite")


class PlateauDecay(keras.callbacks.Callback):
    """Eq. 7: when `monitor` has not improved for `patience` epochs, lr <- lr * exp(-alpha) on all three optimizers.

    The rate never falls under `floor`. `state` and `restore` carry it over a resume.
    """

    def __init__(self, monitor="val_segmentation", patience=3, alpha=0.1, floor=0.0):
        super().__init__()
        self.monitor, self.patience, self.alpha, self.floor = monitor, patience, alpha, floor
        self.best, self.wait = None, 0

    def on_epoch_end(self, epoch, logs=None):
        value = monitored(logs, self.monitor)
        if better(value, self.best, self.monitor):
            self.best, self.wait = value, 0
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.wait = 0
            self.lower(self.model)

    def lower(self, model):
        """Eq. 7, once."""
        model.set_learning_rates(lambda rate: min(rate, max(self.floor, rate * math.exp(-self.alpha))))

    def state(self):
        return {"best": self.best, "wait": self.wait}

    def restore(self, state):
        self.best, self.wait = state["best"], state["wait"]


class WeightAverage(keras.callbacks.Callback):
    """Exponential moving average of the inference weights; validation, pictures and the best checkpoint use it.

    decay_t = min(decay, (1 + t) / (10 + t)), so that the first steps count less than the last from the start. Batch
    normalisation's moments are averaged too: those of the raw weights do not fit the averaged ones.
    """

    def __init__(self, model, decay):
        super().__init__()
        self.decay, self.steps = decay, 0
        self.weights = [weight for part in model.inference_parts() for weight in part.weights]
        with model.distribute_strategy.scope():
            self.average = [tf.Variable(np.asarray(w.numpy()), trainable=False) for w in self.weights]
        self.swapped = False

    @tf.function
    def _blend(self, decay):
        for mean, weight in zip(self.average, self.weights):
            mean.assign(decay * mean + (1.0 - decay) * weight)

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self._blend(tf.constant(min(self.decay, (1.0 + self.steps) / (10.0 + self.steps)), tf.float32))

    def swap(self):
        """Exchange weights and averages, for a while."""
        for mean, weight in zip(self.average, self.weights):
            kept = weight.numpy()
            weight.assign(mean.numpy())
            mean.assign(kept)
        self.swapped = not self.swapped

    def on_test_begin(self, logs=None):
        self.swap()

    def on_test_end(self, logs=None):
        self.swap()

    def arrays(self):
        return {f"average/{i:03d}": mean.numpy() for i, mean in enumerate(self.average)}

    def state(self):
        return {"steps": self.steps}

    def restore(self, state, arrays):
        self.steps = state["steps"]
        for i, mean in enumerate(self.average):
            mean.assign(arrays[f"average/{i:03d}"])


class NonFiniteGuard(keras.callbacks.Callback):
    """Stop at the first NaN or infinite loss term, naming step, term and the batch's files; at an epoch's end, at weights
    that are not finite, naming step and network.

    `files(step)` gives the files of the batch of a global step, counted from `first_step`.
    """

    def __init__(self, files, first_step=0):
        super().__init__()
        self.files, self.step = files, first_step

    def on_train_batch_end(self, batch, logs=None):
        broken = [name for name, value in (logs or {}).items() if not np.all(np.isfinite(np.asarray(value)))]
        if broken:  # the trackers are running means: NaN stays in them, so the first step that shows it is the culprit
            files = ", ".join(os.path.basename(path) for path in self.files(self.step))
            raise TrainingStopped(f"step {self.step}: {', '.join(broken)} is not finite; files of the batch: {files}")
        self.step += 1

    def on_epoch_end(self, epoch, logs=None):
        check_finite(network_arrays(self.model), f"step {self.step}")


class RunLog(keras.callbacks.Callback):
    """metrics.csv and TensorBoard scalars: every raw loss term, the learning rates, the minutes. One row an epoch."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.rows, self.minutes_before = folder, [], 0.0
        self.started = time.monotonic()
        self.writer = tf.summary.create_file_writer(os.path.join(folder, "tensorboard"))

    def minutes(self):
        return self.minutes_before + (time.monotonic() - self.started) / 60.0

    def on_epoch_end(self, epoch, logs=None):
        figures = {name: float(np.ravel(value)[0]) for name, value in (logs or {}).items()}
        for name, optimizer in self.model.optimizers().items():
            figures[f"learning_rate_{name}"] = float(tf.convert_to_tensor(optimizer.learning_rate))
        with self.writer.as_default():
            for name, value in figures.items():
                tf.summary.scalar(name, value, step=epoch + 1)
            self.writer.flush()
        self.rows.append({"epoch": epoch + 1, **figures, "minutes": round(self.minutes(), 4)})
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(self.rows[0]), extrasaction="ignore", restval="")
        table.writeheader()
        table.writerows(self.rows)
        write_text(os.path.join(self.folder, "metrics.csv"), text.getvalue())

    def state(self):
        return {"rows": self.rows, "minutes": self.minutes()}

    def restore(self, state):
        self.rows, self.minutes_before = state["rows"], state["minutes"]
        self.started = time.monotonic()


class ImageLogger(keras.callbacks.Callback):
    """Strips of a few held-out samples to TensorBoard: every `every` epochs, and after the first and the last one."""

    def __init__(self, folder, batch, every=5, average=None):
        super().__init__()
        self.batch, self.every, self.average = batch, every, average
        self.writer = tf.summary.create_file_writer(os.path.join(folder, "tensorboard"))

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 not in (1, self.params["epochs"]):
            return
        if self.average:
            self.average.swap()
        drawn = strips(self.panels())
        if self.average:
            self.average.swap()
        with self.writer.as_default():
            tf.summary.image(" | ".join(PANELS), drawn, epoch + 1, max_outputs=len(drawn))
            self.writer.flush()

    def panels(self):
        """What the network sees and gives for the batch, (N, H, W, 1 or C) each, in the order of `PANELS`."""
        batch = self.model.perturbed(self.batch)
        found = self.model(batch["noisy"])
        return [batch["image"], batch["noisy"], batch["mask"], found.reconstruction, found.anomaly_map, batch["roi"]]


def strips(panels):
    """(N, h, w, 3) uint8: the panels of each sample beside each other, `GAP` pixels apart, their names above.

    Args:
      panels: (N, H, W, 1 or 3) in [0, 1] each; enlarged by a whole factor until a name fits over them.
    """
    factor = -(-LEAST // panels[0].shape[2])
    parts = []
    for name, panel in zip(PANELS, panels):
        pixels = np.rint(255 * np.clip(np.asarray(panel, np.float32), 0, 1)).astype(np.uint8)
        pixels = np.repeat(pixels, 3 // pixels.shape[-1], axis=-1).repeat(factor, axis=1).repeat(factor, axis=2)
        bar = np.full((BAR, pixels.shape[2], 3), 255, np.uint8)
        cv2.putText(bar, name, (0, BAR - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (60, 60, 60), 1, cv2.LINE_AA)
        cell = np.concatenate([np.repeat(bar[None], len(pixels), axis=0), pixels], axis=1)
        parts.append(np.pad(cell, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255))
    return np.concatenate(parts, axis=2)


def judged_arrays(model, average, epoch):
    """The weights that a validation judges: the averaged ones where there is an average."""
    if average:
        average.swap()
    arrays = network_arrays(model)
    if average:
        average.swap()
    check_finite(arrays, f"epoch {epoch}")
    return arrays


class KeepEpochs(keras.callbacks.Callback):
    """Keep the weights after some epochs, counted from 1: `path(epoch)` is the file."""

    def __init__(self, path, epochs, average=None):
        super().__init__()
        self.path, self.epochs, self.average = path, epochs, average

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 in self.epochs:
            path = self.path(epoch + 1)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_arrays(path, judged_arrays(self.model, self.average, epoch + 1), {"epoch": epoch + 1})


class Best(keras.callbacks.Callback):
    """Keep the best epoch's weights in `path` by `monitor`; stop after `patience` epochs without a better one.

    A patience of 0 never stops. The weights written are the averaged ones where there is an average: those that the
    monitor judged.
    """

    def __init__(self, path, monitor, patience=0, average=None):
        super().__init__()
        self.path, self.monitor, self.patience, self.average = path, monitor, patience, average
        self.value, self.epoch, self.wait = None, 0, 0

    def on_epoch_end(self, epoch, logs=None):
        value = monitored(logs, self.monitor)
        if not math.isfinite(value):
            logger.warning("warning: epoch %d: %s is %s; it cannot be the best", epoch + 1, self.monitor, value)
        if better(value, self.value, self.monitor):
            self.value, self.epoch, self.wait = value, epoch + 1, 0
            self.save()
            return
        self.wait += 1
        if self.patience and self.wait >= self.patience:
            self.model.stop_training = True

    def save(self):
        state = {"epoch": self.epoch, "monitor": self.monitor, "value": self.value}
        write_arrays(self.path, judged_arrays(self.model, self.average, self.epoch), state)

    def state(self):
        return {"value": self.value, "epoch": self.epoch, "wait": self.wait}

    def restore(self, state):
        self.value, self.epoch, self.wait = state["value"], state["epoch"], state["wait"]
        if self.value is not None and not math.isfinite(self.value):  # older versions took the first one, whatever it was
            self.value = None
