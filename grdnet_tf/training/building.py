"""From a configuration and checked data to a compiled model and its two data sets: the one place that maps them."""
from typing import NamedTuple, Optional

import tensorflow as tf

from ..baselines.draem import DRAEM
from ..baselines.ganomaly import GANomaly
from ..config import Config
from ..data import pieces, pipeline
from ..data.cache import gigabytes_kept
from ..defects import perturb, sources
from ..errors import InputError
from ..model.grdnet import GRDNet
from ..model.stepped import SteppedModel
from ..model.weights import restore_networks, restore_training
from ..options import FITTED
from ..storage import read_arrays
from . import fitted, fusing, origin
from .run_folder import read_config, weights

keras = tf.keras


class Run(NamedTuple):
    """A trained run: its resolved configuration and its model with the best weights."""
    config: Config
    model: SteppedModel  # or what is fitted in one pass, or both of `features.fused`


def build_model(config) -> SteppedModel:
    """The untrained model of a resolved configuration (channels known), under the precision policy in force."""
    size, channels, n = config.data.image_size, int(config.data.channels), config.network
    common = dict(batch_norm=n.batch_norm, synchronized=config.train.strategy != "none")
    if config.method == "ganomaly":
        return GANomaly(size, channels, widths=n.widths, latent=n.latent, discriminator=config.loss.adversarial > 0,
                        **common)
    if config.method == "draem":
        return DRAEM(size, channels, widths=n.widths, segmenter_widths=n.segmenter_widths, score_pool=n.score_pool,
                     **common)
    return GRDNet(size, channels, second_encoder=config.loss.encoder > 0,
                  **{**dict(config.trained_network), **common})


def load_run(folder: str, epoch: Optional[int] = None) -> Run:
    """The run in `folder` with the best weights, or those kept after `epoch`, ready to detect.

    InputError if they are missing, damaged or not finite.
    """
    config, path = read_config(folder), weights(folder, epoch)
    if config.method in FITTED:
        return Run(config, fitted.load(config, path)[0])
    model = trained_model(config, path)
    return Run(config, fusing.load(config, model, folder) if config.features.fused else model)


def trained_model(config, path: str) -> SteppedModel:
    """The model of what is trained by steps, with the weights in the file `path`."""
    model = build_model(config)
    restore_networks(model, read_arrays(path)[0], path)
    return model


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


def compile_model(model, config, data) -> int:
    """Optimizers, objective and noise of the configuration; returns the steps of an epoch."""
    steps = config.train.steps_per_epoch or pipeline.steps_per_pass(len(data.train), config.train.batch_size)
    train, noise, channels, textures = config.train, config.noise, int(config.data.channels), None
    if noise.textures:
        textures = sources.load_textures(noise.textures, max(config.data.image_size), channels)
    real = None
    if noise.real and data.noise:
        real = pieces.load(data.noise, config.data.image_size, channels, data.depth, config.data.white)
    for settings in (noise, config.validation):
        perturb.check(settings, textures, channels, real)
    rate = _rate(train, steps)
    if config.origin.updates and callable(rate):
        rate = Later(rate, config.origin.updates)
    optimizers = [keras.optimizers.Adam(rate, beta_1=train.beta_1) for _ in range(3)]
    jit = {"auto": False if train.deterministic else None, "on": True, "off": False}[train.jit]
    model.compile(*optimizers, clip_norm=train.clip_norm, objective=config.loss, noise=noise, textures=textures,
                  real=real, jit_compile=jit)
    return steps


class Later(keras.optimizers.schedules.LearningRateSchedule):
    """`schedule` from its beginning, for optimizers that have made `updates` before."""

    def __init__(self, schedule, updates):
        super().__init__()
        self.schedule, self.updates = schedule, updates

    def __call__(self, step):
        return self.schedule(step - self.updates)

    def get_config(self):
        return {"schedule": self.schedule, "updates": self.updates}


def begin_from(model, config):
    """Set the weights, and optimizers where they go on, of the run that the configuration's origin names."""
    arrays, path = origin.best_weights(config)
    if config.origin.updates:
        kept = origin.checkpoint_of(config)
        restore_training(model, read_arrays(kept)[0], kept)
        if config.train.schedule == "plateau" or not config.train.rate_epochs and config.train.schedule == "steps":
            model.set_learning_rates(lambda rate: config.train.learning_rate)
    restore_networks(model, arrays, path)


def _rate(train, steps_per_epoch):
    """A number, for the plateau to lower; steps; or the cosine with its warm-up, at its lowest from its end on."""
    if train.schedule == "plateau" or (train.schedule == "steps" and not train.rate_epochs):
        return train.learning_rate
    if train.schedule == "steps":  # a boundary is the last update of the rate before
        ends = [epoch * steps_per_epoch - 1 for epoch in sorted(train.rate_epochs)]
        rates = [train.learning_rate * train.rate_factor**i for i in range(len(ends) + 1)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(ends, rates)
    total = (train.cosine_epochs or train.epochs) * steps_per_epoch
    warm = {"initial_learning_rate": 0.0, "warmup_target": train.learning_rate, "warmup_steps": train.warmup_steps}
    start = warm if train.warmup_steps else {"initial_learning_rate": train.learning_rate}
    return keras.optimizers.schedules.CosineDecay(decay_steps=max(1, total - train.warmup_steps),
                                                  alpha=train.min_learning_rate / train.learning_rate, **start)


def training_stream(model, config, data) -> pipeline.TrainingStream:
    """The batches that the run trains on. Noise is made in it, or in the step where there is an accelerator for it."""
    place = config.noise.place
    on_device = place == "device" or (place == "auto" and tf.config.list_physical_devices("GPU"))
    taken = gigabytes_kept(data.held_out, config.data, data.channels, data.depth)
    return pipeline.TrainingStream(data.train, config.data, perturb=None if on_device else model.perturbed, taken=taken,
                                   **_picture_options(config, data))


def held_out_set(model, config, data):
    """The held-out pictures under fixed synthetic defects, each several times if there are few; None without any.

    Always the same batches: the defects are drawn anew from the same seeds in every pass.
    """
    if not data.held_out:
        return None

    def disturb(batch):
        drawn = perturb.perturb(batch["image"], batch["roi"], batch["seed"], config.validation, model.textures,
                                model.real, sparing=True)
        return dict(batch, **drawn._asdict())

    return pipeline.held_out_dataset(data.held_out, config.data, views=config.validation.views, perturb=disturb,
                                     **_picture_options(config, data))


def _picture_options(config, data):
    return dict(channels=data.channels, depth=data.depth, batch_size=config.train.batch_size, seed=config.train.seed)
