"""One run: configuration and checked data -> RUN. By steps: model, data sets, callbacks, `fit`, summary."""
import logging
import math
import os
import sys

import tensorflow as tf

from ..compat import KERAS_3
from ..console import Progress
from ..data.pipeline import check_files
from ..data.record import Records
from ..errors import InputError, TrainingStopped
from ..model.weights import network_arrays
from ..storage import fingerprint, write_json
from . import building, callbacks, fitted, fusing, recorded, resume, run_folder
from .signals import Signals

keras = tf.keras
logger = logging.getLogger(__name__)


def run(config, data, folder: str, go_on: bool) -> int:
    """Train or fit the configuration's method into `folder`; arguments and exit status as of `by_steps`."""
    method = {"grdnet": by_steps, "ganomaly": by_steps, "draem": by_steps, "padim": fitted.run,
              "patchcore": fitted.run}[config.method]
    with run_folder.locked(run_folder.worker_folder(folder, config)):
        return method(config, data, folder, go_on)


def by_steps(config, data, folder: str, go_on: bool) -> int:
    """Train into `folder` and write summary.json; exit status.

    `go_on`: from the newest checkpoint, or from step 0 where there is none. `data` is `prepare.training_data(config)`.

    Of several workers the first writes to `folder`, the others beside it: all must take part in saving, as what is
    summed over replicas is summed when it is read. All of them resume from the first one's checkpoints.
    Raises: signals.Interrupted after a signal, with a checkpoint of the last step.
    """
    own = run_folder.worker_folder(folder, config)
    features = None
    if config.features.fused:
        features = fitted.build_features(config)  # not after hours that its weights are missing, or memory
        fitted.check_memory(config, features)
    policy = keras.mixed_precision.global_policy()
    try:
        model, parts, steps = _all_steps(config, data, folder, own, go_on)
    finally:
        keras.mixed_precision.set_global_policy(policy)  # train.precision is that of the steps; who judges has float32
    keeper, best = parts[-1], parts[-1].parts["best"]
    if best.value is None:
        raise TrainingStopped(f"train.monitor = {config.train.monitor} was not a number after any epoch, so none is "
                              "the best")
    if config.features.fused:
        fusing.complete(config, data, own, building.trained_model(config, run_folder.weights(own)), features)
    write_json(os.path.join(own, run_folder.SUMMARY), summary(model, config, data, parts, steps))
    if keeper.finished:
        logger.info("stopped early, after %d epochs without a better %s; --resume with more --epochs or another "
                    "train.early_stopping goes on", best.wait, config.train.monitor)
    logger.info("best %s %.5g at epoch %d; run folder: %s", config.train.monitor, best.value, best.epoch, own)
    return 0


def _all_steps(config, data, folder, own, go_on):
    """(model, callbacks, steps an epoch) when no step is left."""
    strategy = building.set_up(config)
    with strategy.scope():
        model = building.build_model(config)
        steps = building.compile_model(model, config, data)
        goes_on = go_on and run_folder.checkpoints(os.path.join(folder, run_folder.CHECKPOINTS))
        if config.origin.parent and not goes_on:
            building.begin_from(model, config)
    stream, held_out = building.training_stream(model, config, data), building.held_out_set(model, config, data)
    if config.origin.parent:
        logger.info("from the best weights of %s, %s optimizers", config.origin.parent,
                    "its" if config.origin.updates else "fresh")
    with Signals() as signals:  # before there is a run: whoever sees one may ask for its end
        if not (go_on and run_folder.is_begun(own)):
            run_folder.create_run(own, config, data.recorded)  # the last of what can fail for a wrong setting
        parts = make_callbacks(model, config, data, stream, held_out, own, steps, signals)
        if go_on:
            take_up(model, config, data, parts, folder, own)
        train(model, config, data, stream, held_out, parts, steps)
    return model, parts, steps


def take_up(model, config, data, parts, folder, own):
    """Restore the newest checkpoint; what was changed on the way is from now on the run's configuration."""
    keeper = parts[-1]
    for line in keeper.load(model, os.path.join(folder, run_folder.CHECKPOINTS)):
        logger.warning("--resume: %s", line)
    stored = run_folder.read_config(own)
    run_folder.write_config(own, config)
    if recorded.read(own) is None:  # a run from before there was such a record: its checkpoint has vouched for it
        recorded.write(own, data.recorded)
    going_on = not keeper.finished and keeper.epoch < config.train.epochs
    if going_on or config.features != stored.features:  # what is judged together is another judge
        run_folder.forget_summary(own)
    if going_on:
        logger.info("going on at epoch %d, step %d", keeper.epoch + 1, keeper.step)


def train(model, config, data, stream, held_out, parts, steps):
    """All epochs that are left. InputError naming a picture that cannot be read any more: the last step is saved."""
    keeper = parts[-1]
    try:
        while not keeper.finished and keeper.epoch < config.train.epochs:
            if keeper.step == steps:
                end_epoch(model, held_out, parts, keeper.epoch, config.train.epochs)
            else:
                fit_span(model, config, stream, held_out, parts, steps, keeper.epoch, keeper.step)
    except tf.errors.OpError:  # TensorFlow does not say which file it was
        keeper.save_failed()
        read = data.held_out if keeper.step == steps else stream.batch(keeper.position)
        try:
            check_files(read, config.data, data.channels, data.depth)
        except InputError as error:
            raise InputError(f"{error}; stopped after step {keeper.position}: once the file is back, --resume goes on"
                             ) from None
        raise


def make_callbacks(model, config, data, stream, held_out, folder, steps, signals):
    """What a run keeps and watches, in the order in which an epoch's end needs it."""
    train = config.train
    average = callbacks.WeightAverage(model, train.ema) if train.ema else None
    log = callbacks.RunLog(folder)
    best = callbacks.Best(os.path.join(folder, run_folder.BEST), train.monitor, train.early_stopping, average)
    same = resume.SameData(data.recorded.fingerprint,
                           lambda: recorded.legacy_fingerprint(config.data.root, data.train + data.held_out))
    parts = {"log": log, "best": best, "data": same}

    guard = callbacks.NonFiniteGuard(stream.files)
    found = [guard] + ([average] if average else []) + [log]
    if train.image_every and held_out is not None:
        sample = {name: part[:4] for name, part in next(iter(held_out)).items()}
        found.append(callbacks.ImageLogger(folder, sample, train.image_every, average))
    if train.schedule == "plateau":
        plateau = callbacks.PlateauDecay(train.monitor, train.plateau_patience, train.plateau_alpha,
                                         train.min_learning_rate)
        parts["plateau"] = plateau
        found.append(plateau)
    keeper = resume.ExactResume(os.path.join(folder, run_folder.CHECKPOINTS), steps, parts, signals, average,
                                train.checkpoint_steps, train.epochs, train.strategy != "multiworker")
    if train.keep_epochs:
        found.append(callbacks.KeepEpochs(lambda epoch: run_folder.epoch_weights(folder, epoch), train.keep_epochs,
                                          average))
    return found + [best, keeper]


def fit_span(model, config, stream, held_out, parts, steps, epoch, step):
    """`fit` from a position: the rest of an epoch that was interrupted, or all epochs that are left."""
    parts[0].step = epoch * steps + step
    model.fit(own_batches(model, config, stream, epoch * steps + step), initial_epoch=epoch,
              epochs=epoch + 1 if step else config.train.epochs, steps_per_epoch=steps - step,
              validation_data=held_out, callbacks=parts, verbose=_verbose())


def own_batches(model, config, stream, start_step):
    """The batches from `start_step` on; of several workers each reads its own part of them."""
    if config.train.strategy != "multiworker":
        return stream.batches(start_step)

    def of_worker(context):
        workers = context.num_input_pipelines
        return stream.batches(start_step, (context.input_pipeline_id, workers), context.num_replicas_in_sync // workers)

    return model.distribute_strategy.distribute_datasets_from_function(of_worker)


def end_epoch(model, held_out, parts, epoch, epochs):
    """What follows an epoch's last step, for a run that was interrupted there: as `fit` does it."""
    keeper = parts[-1]
    for part in parts:
        part.set_model(model)
        part.set_params({"epochs": epochs})
    sums, model.stop_training = keeper.sums, False
    keeper.restore_sums()
    names = sorted(model.trackers) if KERAS_3 else model.trackers  # as `fit` orders them, and so metrics.csv its columns
    logs = {name: float(model.trackers[name].result()) for name in names}
    keeper.sums = sums  # for a checkpoint within the validation
    if held_out is not None:
        found = model.evaluate(held_out, callbacks=parts, return_dict=True, verbose=_verbose())
        logs.update({f"val_{name}": value for name, value in found.items()})
    for part in parts:
        part.on_epoch_end(epoch, logs)


def _distinct(records):
    return len(records) if isinstance(records, Records) else len(set(records))


def _verbose():
    return 0 if Progress.quiet else 1 if sys.stdout.isatty() else 2


def summary(model, config, data, parts, steps):
    """The figures of a finished run."""
    log, best = parts[-1].parts["log"], parts[-1].parts["best"]
    figures = {name: value if math.isfinite(value) else None for name, value in log.rows[-1].items()}  # JSON has no NaN
    return {"epochs": len(log.rows), "steps_per_epoch": steps, "monitor": config.train.monitor,
            "best_epoch": best.epoch, "best": best.value, "figures": figures, "minutes": round(log.minutes(), 3),
            "peak_rss_mb": run_folder.peak_rss_mb(), "train_images": _distinct(data.train),
            "held_out_images": len(data.held_out), "skipped": [list(entry) for entry in data.skipped],
            "weights_sha256": fingerprint(network_arrays(model))}
