"""One run: configuration and checked data -> RUN. By steps: model, data sets, callbacks, `fit`, summary."""
import logging
import os
import sys

import tensorflow as tf

from ..model.weights import network_arrays
from ..storage import fingerprint, write_json
from . import building, callbacks, fitted, recorded, resume, run_folder

keras = tf.keras
logger = logging.getLogger(__name__)


def run(config, data, folder: str, go_on: bool) -> int:
    """Train or fit the configuration's method into `folder`; arguments and exit status as of `by_steps`."""
    return {"grdnet": by_steps, "padim": fitted.run, "patchcore": fitted.run}[config.method](config, data, folder, go_on)


def by_steps(config, data, folder: str, go_on: bool) -> int:
    """Train into `folder` and write summary.json; exit status. `go_on`: from the newest checkpoint.

    `data` is `prepare.training_data(config)`.

    Of several workers the first writes to `folder`, the others beside it: all must take part in saving, as what is
    summed over replicas is summed when it is read. All of them resume from the first one's checkpoints.
    """
    own = run_folder.worker_folder(folder, config)
    strategy = building.set_up(config)
    with strategy.scope():
        model = building.build_model(config)
        steps = building.compile_model(model, config, data)
    stream, held_out = building.training_stream(model, config, data), building.held_out_set(model, config, data)
    if not (go_on and os.path.isdir(own)):
        run_folder.create_run(own, config, data.recorded)  # the last of what can fail for a wrong setting
    parts = make_callbacks(model, config, data, stream, held_out, own, steps)
    keeper = parts[-1]
    if go_on:
        for line in keeper.load(model, os.path.join(folder, run_folder.CHECKPOINTS)):
            logger.warning("%s", line)
        if recorded.read(own) is None:  # a run from before there was such a record: its checkpoint has vouched for it
            recorded.write(own, data.recorded)
    while not keeper.finished and keeper.epoch < config.train.epochs:
        fit_span(model, config, stream, held_out, parts, steps, keeper.epoch, keeper.step)
    write_json(os.path.join(own, run_folder.SUMMARY), summary(model, config, data, parts, steps))
    logger.info("best %s %.5g at epoch %d; run folder: %s", config.train.monitor, keeper.parts["best"].value,
                keeper.parts["best"].epoch, own)
    return 0


def make_callbacks(model, config, data, stream, held_out, folder, steps):
    """What a run keeps and watches, in the order in which an epoch's end needs it."""
    train = config.train
    average = callbacks.WeightAverage(model, train.ema) if train.ema else None
    log = callbacks.RunLog(folder)
    best = callbacks.Best(os.path.join(folder, run_folder.BEST), train.monitor, train.early_stopping, average)
    earlier = recorded.legacy_fingerprint(config.data.root, data.train + data.held_out)
    parts = {"log": log, "best": best, "data": resume.SameData(data.recorded.fingerprint, earlier)}

    guard = callbacks.NonFiniteGuard(stream.files)
    found = [guard] + ([average] if average else []) + [log]
    if train.image_every and held_out is not None:
        sample = {name: part[:4] for name, part in first_batch(held_out).items()}
        found.append(callbacks.ImageLogger(folder, sample, train.image_every, average))
    if train.schedule == "plateau":
        plateau = callbacks.PlateauDecay(train.monitor, train.plateau_patience, train.plateau_alpha,
                                         train.min_learning_rate)
        parts["plateau"] = plateau
        found.append(plateau)
    keeper = resume.ExactResume(os.path.join(folder, run_folder.CHECKPOINTS), steps, parts, average,
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


def fit_span(model, config, stream, held_out, parts, steps, epoch, step):
    """`fit` from a position: the rest of an epoch that was interrupted, or all epochs that are left."""
    parts[0].step = epoch * steps + step
    model.fit(stream.batches(epoch * steps + step), initial_epoch=epoch, epochs=epoch + 1 if step else config.train.epochs,
              steps_per_epoch=steps - step, validation_data=held_out, callbacks=parts,
              verbose=1 if sys.stdout.isatty() else 2)


def summary(model, config, data, parts, steps):
    """The figures of a finished run."""
    log, best = parts[-1].parts["log"], parts[-1].parts["best"]
    return {"epochs": len(log.rows), "steps_per_epoch": steps, "monitor": config.train.monitor,
            "best_epoch": best.epoch, "best": best.value, "figures": log.rows[-1], "minutes": round(log.minutes(), 3),
            "peak_rss_mb": run_folder.peak_rss_mb(), "train_images": len(data.train),
            "held_out_images": len(data.held_out), "skipped": [list(entry) for entry in data.skipped],
            "weights_sha256": fingerprint(network_arrays(model))}
