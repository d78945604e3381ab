"""What GRDNet has in common with the other models that are trained by steps: optimizers, batches, steps, figures.

A training batch is a dict {"image", "roi", "seed"} and, where the noise was made before, {"noisy", "mask"}: see README.
"""
from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from ..compat import KERAS_3, average_together, log_value, minimize
from ..defects.perturb import perturb
from ..errors import InputError
from ..options import Loss, Noise
from . import inputs, optimizers
from .as_keras import KerasModel, refuse_unknown
from .monitors import RankingArea
from .scoring import anomaly_score
from .tiling import predict_tiled

keras = tf.keras

NETWORKS = ("generator", "discriminator", "segmenter")


class Detection(NamedTuple):
    """Reconstruction X^ (B, H, W, C) or None, anomaly map A (B, H, W, 1), image score eta (B,): all in [0, 1]."""
    reconstruction: tf.Tensor
    anomaly_map: tf.Tensor
    score: tf.Tensor


class SteppedModel(KerasModel):
    """A model of networks that are trained by steps, each by an optimizer of its own.

    A subclass has what `KerasModel` asks for, `score_pool`, `total_stride`, its networks by the names in NETWORKS
    (None: it has no such one), and the methods `call`, `forward`, `objectives`, `terms` and `inference_parts`.
    """

    FIGURES = ("loss", "generator")  # of `figures`
    training_only = {}  # what `architecture` is changed to for inference alone, batch normalisation folded
    trackers = None
    reconstructs = True  # whether its Detection has a reconstruction

    def forward(self, batch, training):
        """One pass: ({term: float32 scalar}, logits (B, H, W, 1) of the anomaly map, or None)."""
        raise NotImplementedError

    def objectives(self, terms):
        """{network: its weighted loss, None if it is not trained}: the one place where weights are applied."""
        raise NotImplementedError

    def terms(self):
        """The names of the raw loss terms that this objective computes."""
        raise NotImplementedError

    def inference_parts(self):
        """The parts that `call` uses, in a fixed order."""
        raise NotImplementedError

    def check_objective(self, objective) -> None:
        """InputError where `objective` needs a network that this model does not have."""

    @property
    def map_note(self):
        """What the anomaly map is, in words, where it is not a segmenter's; else None."""
        return "|X - X^|, the mean over channels" if self.segmenter is None else None

    def figures(self, terms, objectives):
        """What is logged beside the terms: {name: value}, "loss" and "generator" among them."""
        return {"generator": objectives["generator"], "loss": objectives["generator"]}

    def compile(self, generator_optimizer=None, discriminator_optimizer=None, segmenter_optimizer=None, *,
                learning_rate=1e-4, clip_norm=0.0, objective: Loss = Loss(), noise: Noise = Noise(), textures=None,
                real=None, jit_compile=None, run_eagerly=False, steps_per_execution=1, **others):
        """Set the three optimizers (default: Adam(learning_rate) each), the losses and the noise.

        `model.optimizer`, which Keras' own callbacks know, is the generator's; an optimizer that is not given follows
        its learning rate, so that a LearningRateScheduler steers all three.
        `clip_norm` > 0 bounds the norm of each network's whole gradient, over all replicas.
        `objective` are the `options.Loss`; `noise` the `options.Noise` of batches that come without "noisy" and "mask";
        `textures` (T, h, w, C) uint8 are the pictures of its source "texture", `real` (N, s, s, C + 1) the pieces of
        its source "real", see defects/real.py.
        `jit_compile` None means XLA on a GPU only: on a CPU it measured slower. With a float16 policy every optimizer
        is wrapped for loss scaling.

        Raises: InputError for what Keras' compile takes and this model has other words for: loss, metrics, optimizer.
        """
        refuse_unknown(others)
        self.check_objective(objective)
        given = dict(zip(NETWORKS, (generator_optimizer, discriminator_optimizer, segmenter_optimizer)))
        optimizers.checked(given)
        self.compiled_with = MappingProxyType(dict(
            clip_norm=clip_norm, objective=objective, noise=noise, jit_compile=jit_compile, run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution))
        self.objective, self.clip_norm, self.noise = objective, clip_norm, noise
        # Once, not a copy in every graph.
        self.textures, self.real = (None if part is None else tf.constant(part) for part in (textures, real))
        self.following = [name for name in NETWORKS[1:] if given[name] is None]
        used = optimizers.three(given, learning_rate, self.precision == "mixed_float16")
        if jit_compile is None:
            jit_compile = bool(tf.config.list_physical_devices("GPU")) and not run_eagerly
        self.sparing = not (jit_compile or tf.config.list_physical_devices("GPU"))  # which would wait for each count
        super().compile(optimizer=used[0], jit_compile=jit_compile, run_eagerly=run_eagerly,
                        steps_per_execution=steps_per_execution)
        if not KERAS_3:  # which sums what several workers log; our trackers have been merged already
            self.distribute_reduction_method = "first"
        self.generator_optimizer, self.discriminator_optimizer, self.segmenter_optimizer = used
        for name, optimizer in self.optimizers().items():  # Keras 3 in a strategy and a restored checkpoint need slots
            optimizer.build(getattr(self, name).trainable_variables)
        average_together(list(self.optimizers().values()), [getattr(self, name) for name in self.optimizers()])
        # dtype: Keras 2 wraps a metric's variables for float16, and cannot read such ones of several replicas.
        self.trackers = {name: keras.metrics.Mean(name=name, dtype="float32")
                         for name in (*self.FIGURES, *self.terms())}
        self.detection_trackers = {"image_auroc": RankingArea("roc", "image_auroc"),
                                   "pixel_ap": RankingArea("precision", "pixel_ap")}

    def optimizers(self):
        """The optimizers in use, by the name of their network."""
        return {name: getattr(self, f"{name}_optimizer") for name in NETWORKS if getattr(self, name) is not None}

    def set_learning_rates(self, change):
        """Each optimizer's learning rate becomes `change(rate)`; those that follow the generator's do so anyway."""
        for name, optimizer in self.optimizers().items():
            if name not in self.following:
                optimizer.learning_rate = change(float(tf.convert_to_tensor(optimizer.learning_rate)))

    @property
    def metrics(self):
        """All trackers, for Keras to reset them at the start of every epoch."""
        return list((self.trackers or {}).values()) + list(getattr(self, "detection_trackers", {}).values())

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing to do: all is built. Keras 3's own way, over a batch, fails on a dict from several workers."""

    def perturbed(self, batch):
        """The batch with "roi", "noisy" and "mask": as it comes, or made here, on the accelerator, from its seeds.

        Bare images, or a dict without "roi" or "seed", get a ROI of ones and seeds from TensorFlow's global generator.
        InputError for what is no batch.
        """
        batch = inputs.batch_of(batch, self.channels)
        if "roi" not in batch:
            batch["roi"] = tf.ones_like(batch["image"][..., :1])
        if ("noisy" in batch) != ("mask" in batch):
            raise InputError("'noisy' and 'mask' belong together: the pictures with defects, and where those are")
        if "noisy" in batch:
            return batch
        if "seed" not in batch:
            batch["seed"] = tf.random.uniform((tf.shape(batch["image"])[0], 2), maxval=2**31 - 1, dtype=tf.int32)
        noisy, mask = perturb(batch["image"], batch["roi"], batch["seed"], self.noise, self.textures, self.real,
                              self.sparing)
        return dict(batch, noisy=noisy, mask=mask)

    @tf.autograph.experimental.do_not_convert  # nothing to convert: it takes long
    def train_step(self, data):
        """One step: each network by its own optimizer (GRD-Net's two phases at once)."""
        batch = self._checked(data)
        with tf.GradientTape(persistent=True) as tape:
            terms, _ = self.forward(batch, training=True)
            objectives = self.objectives(terms)
        for name, loss in objectives.items():
            if loss is not None:
                minimize(getattr(self, f"{name}_optimizer"), loss, getattr(self, name).trainable_variables, tape,
                         self.clip_norm)
        del tape
        self._track(batch, terms, objectives)
        return {name: log_value(tracker) for name, tracker in self.trackers.items()}

    @tf.autograph.experimental.do_not_convert
    def test_step(self, data):
        """The same terms without training, and how well the synthetic anomalies are found (inside the ROI)."""
        batch = self._checked(data)
        terms, logits = self.forward(batch, training=False)
        self._track(batch, terms, self.objectives(terms))
        truth = batch["mask"] * batch["roi"]
        anomaly_map, score = self.judged(batch, logits)
        self.detection_trackers["pixel_ap"].update_state(truth, anomaly_map, batch["roi"])
        self.detection_trackers["image_auroc"].update_state(tf.reduce_max(truth, axis=(1, 2, 3)), score)
        return {name: log_value(tracker) for name, tracker in {**self.trackers, **self.detection_trackers}.items()}

    def judged(self, batch, logits):
        """(map, score) of the noisy pictures inside the ROI, from the logits that `forward` gave of them, if any."""
        if logits is None:
            return self(batch["noisy"], roi=batch["roi"])[1:]
        anomaly_map = tf.sigmoid(logits) * batch["roi"]
        return anomaly_map, anomaly_score(anomaly_map, self.score_pool)

    def _checked(self, data):
        """`perturbed`, and a note of pictures whose values cannot be meant."""
        batch = self.perturbed(data)
        self.count_out_of_range(batch["image"], batch["noisy"])
        return batch

    def _track(self, batch, terms, objectives):
        size = tf.cast(tf.shape(batch["image"])[0], tf.float32)
        for name, value in {**terms, **self.figures(terms, objectives)}.items():
            self.trackers[name].update_state(value, sample_weight=size)

    @tf.autograph.experimental.do_not_convert
    def predict_step(self, data):
        """Detection of a batch: images, or a dict with "image" and, to mask the result, "roi"."""
        batch = inputs.batch_of(data, self.channels, labels_matter=False)
        self.count_out_of_range(batch["image"])
        return self(batch["image"], roi=batch.get("roi"))

    def predict_tiled(self, images, tile=None, overlap=None, batch=8) -> Detection:
        """Detection (NumPy) of pictures (B, H, W, C) of any size, in overlapping tiles that are blended smoothly.

        `tile` is a side or (height, width), by default `image_size`; `overlap` in pixels, by default a quarter of the
        tile. Memory grows with the picture, not with the number of tiles, of which `batch` are predicted at once.
        ValueError for a tile that the networks cannot take.
        """
        images = inputs.pictures(images, self.channels).numpy()
        inputs.refuse_out_of_range(inputs.out_of_range(images))
        tile = self.image_size if tile is None else (tile, tile) if isinstance(tile, int) else tile
        overlap = min(tile) // 4 if overlap is None else overlap
        return Detection(*predict_tiled(self.traced, images, tile, overlap, self.score_pool, batch, self.total_stride,
                                        self.one_size))
