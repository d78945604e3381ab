"""One training run: configuration and checked data -> model, data sets, callbacks, `fit`, summary."""
import logging
import os
import resource
import sys

import numpy as np
import tensorflow as tf

from . import anomaly_sources, callbacks, perlin, pipeline, runs
from .errors import InputError
from .storage import fingerprint, write_json
from .weights import network_arrays

keras = tf.keras
logger = logging.getLogger(__name__)


def run(config, data, folder: str, resume: bool) -> int:
    """Train into `folder` and write summary.json; exit status. `data` is `runs.training_data(config)`.

    Of several workers the first writes to `folder`, the others beside it: all must take part in saving, as what is
    summed over replicas is summed when it is read. All of them resume from the first one's checkpoints.
    """
    own = runs.worker_folder(folder, config)
    strategy = set_up(config)
    one_pass = pipeline.steps_per_pass(len(data.train), config.train.batch_size)
    steps = config.train.steps_per_epoch or one_pass
    with strategy.scope():
        model = runs.build_model(config)
        compile_model(model, config, steps)
    held_out = held_out_set(model, config, data)
    if not (resume and os.path.isdir(own)):
        runs.create_run(own, config)  # the last of what can fail for a wrong setting
    parts = make_callbacks(model, config, data, held_out, own, steps)
    keeper = parts[-1]
    if resume:
        for line in keeper.load(model, os.path.join(folder, runs.CHECKPOINTS)):
            logger.warning("%s", line)
    while not keeper.finished and keeper.epoch < config.train.epochs:
        fit_span(model, config, data, held_out, parts, steps, keeper.epoch, keeper.step)
    write_json(os.path.join(own, runs.SUMMARY), summary(model, config, data, parts, steps))
    logger.info("best %s %.5g at epoch %d; run folder: %s", config.train.monitor, keeper.parts["best"].value,
                keeper.parts["best"].epoch, own)
    return 0


def set_up(config):
    """Seeds, determinism, precision and the distribution strategy, before anything else runs in TensorFlow."""
    train = config.train
    strategy = {"none": tf.distribute.get_strategy, "multiworker": tf.distribute.MultiWorkerMirroredStrategy,
                "mirrored": _mirrored}[train.strategy]()
    replicas = strategy.num_replicas_in_sync
    if train.batch_size % replicas:
        raise InputError(f"train.batch_size = {train.batch_size} is not divisible by the {replicas} replicas")
    keras.utils.set_random_seed(train.seed)
    if train.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_global_policy(train.precision)
    return strategy


def _mirrored():
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def compile_model(model, config, steps_per_epoch):
    """Optimizers, objective and noise of the configuration."""
    train, noise = config.train, runs.noise_settings(config.noise)
    textures = None
    if config.noise.textures:
        textures = anomaly_sources.load_textures(config.noise.textures, max(config.data.image_size),
                                                 int(config.data.channels))
    for settings in (noise, runs.noise_settings(config.validation)):
        perlin.check(settings, textures, int(config.data.channels))
    optimizers = [keras.optimizers.Adam(_rate(train, steps_per_epoch), beta_1=train.beta_1) for _ in range(3)]
    model.compile(*optimizers, clip_norm=train.clip_norm, objective=runs.objective(config), noise=noise,
                  textures=textures,
                  jit_compile={"auto": False if train.deterministic else None, "on": True, "off": False}[train.jit])


def _rate(train, steps_per_epoch):
    """A number, for the plateau to lower, or the cosine over the whole run with its warm-up."""
    if train.schedule == "plateau":
        return train.learning_rate
    total = train.epochs * steps_per_epoch
    warm = {"initial_learning_rate": 0.0, "warmup_target": train.learning_rate, "warmup_steps": train.warmup_steps}
    start = warm if train.warmup_steps else {"initial_learning_rate": train.learning_rate}
    return keras.optimizers.schedules.CosineDecay(decay_steps=max(1, total - train.warmup_steps),
                                                  alpha=train.min_learning_rate / train.learning_rate, **start)


def _picture_options(config, data):
    return dict(image_size=config.data.image_size, channels=data.channels, depth=data.depth,
                batch_size=config.train.batch_size, seed=config.train.seed)


def _host_noise(model, config):
    """The noise as a step of the input pipeline, or None where it is made on the accelerator in the training step."""
    place = config.noise.place
    if place == "device" or (place == "auto" and tf.config.list_physical_devices("GPU")):
        return None
    return model.perturbed


def training_set(model, config, data, start_step):
    """The endless stream of training batches from a global step on."""
    d = config.data
    return pipeline.train_dataset(data.train, start_step=start_step, cache=d.cache, cache_gb=d.cache_gb,
                                  rotation=d.rotation, turned=d.turned, flip_horizontal=d.flip_horizontal,
                                  flip_vertical=d.flip_vertical, border=d.border, crop=d.crop,
                                  parallel_calls=d.parallel_calls or tf.data.AUTOTUNE,
                                  perturb=_host_noise(model, config), **_picture_options(config, data))


def held_out_set(model, config, data):
    """The held-out pictures under fixed synthetic defects, each several times if there are few; None without any.

    Always the same batches, made once and kept. Whole batches only, so that no replica is left without a picture.
    """
    if not data.held_out:
        return None
    batch, settings = config.train.batch_size, runs.noise_settings(config.validation)
    views = -(-max(config.validation.views, len(data.held_out)) // batch) * batch
    records = (data.held_out * -(-views // len(data.held_out)))[:views]

    def perturb(batch):
        return dict(batch, **perlin.perturb(batch["image"], batch["roi"], batch["seed"], settings,
                                          model.textures)._asdict())

    return pipeline.held_out_dataset(records, perturb=perturb, **_picture_options(config, data)).cache()


def make_callbacks(model, config, data, held_out, folder, steps):
    """What a run keeps and watches, in the order in which an epoch's end needs it."""
    train = config.train
    average = callbacks.WeightAverage(model, train.ema) if train.ema else None
    log = callbacks.RunLog(folder)
    best = callbacks.Best(os.path.join(folder, runs.BEST), train.monitor, train.early_stopping, average)
    parts = {"log": log, "best": best, "data": SameData(data.fingerprint)}

    def names(step):
        chosen = pipeline.batch_records(len(data.train), train.batch_size, train.seed, step)
        return [os.path.basename(data.train[i].image) for i in np.asarray(chosen)]

    guard = callbacks.NonFiniteGuard(names)
    found = [guard] + ([average] if average else []) + [log]
    if train.image_every and held_out is not None:
        sample = {name: part[:4] for name, part in first_batch(held_out).items()}
        found.append(callbacks.ImageLogger(folder, sample, train.image_every, average))
    if train.schedule == "plateau":
        plateau = callbacks.PlateauDecay(train.monitor, train.plateau_patience, train.plateau_alpha,
                                         train.min_learning_rate)
        parts["plateau"] = plateau
        found.append(plateau)
    keeper = callbacks.ExactResume(os.path.join(folder, runs.CHECKPOINTS), steps, parts, average,
                                   train.checkpoint_steps, train.strategy != "multiworker")
    return found + [best, keeper]


def first_batch(cached):
    """The first batch of a data set with a cache, which is filled by it.

    A pass left half way discards what it cached whenever Python frees it, and once a validation found nothing there."""
    batches = iter(cached)
    first = next(batches)
    for _ in batches:
        pass
    return first


class SameData:
    """Part of a checkpoint: a run must not go on with other pictures than it began with."""

    def __init__(self, fingerprint):
        self.fingerprint = fingerprint

    def state(self):
        return {"fingerprint": self.fingerprint}

    def restore(self, state):
        if state["fingerprint"] != self.fingerprint:
            raise InputError("--resume: the pictures in train/good are not those that the run began with")


def fit_span(model, config, data, held_out, parts, steps, epoch, step):
    """`fit` from a position: the rest of an epoch that was interrupted, or all epochs that are left."""
    stream = training_set(model, config, data, epoch * steps + step)
    parts[0].step = epoch * steps + step
    model.fit(stream, initial_epoch=epoch, epochs=epoch + 1 if step else config.train.epochs,
              steps_per_epoch=steps - step, validation_data=held_out, callbacks=parts,
              verbose=1 if sys.stdout.isatty() else 2)


def summary(model, config, data, parts, steps):
    """The figures of a finished run."""
    log, best = parts[-1].parts["log"], parts[-1].parts["best"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"epochs": len(log.rows), "steps_per_epoch": steps, "monitor": config.train.monitor,
            "best_epoch": best.epoch, "best": best.value, "figures": log.rows[-1], "minutes": round(log.minutes(), 3),
            "peak_rss_mb": round(peak / 2**20, 1), "train_images": len(data.train),
            "held_out_images": len(data.held_out), "skipped": [list(entry) for entry in data.skipped],
            "weights_sha256": fingerprint(network_arrays(model))}
