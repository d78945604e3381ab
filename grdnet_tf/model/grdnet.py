"""GRD-Net as one Keras model: its training step, its test step and its inference.

    images (B, H, W, C) float32 [0, 1]  ->  Detection(reconstruction, anomaly_map, score)

A training batch is a dict {"image", "roi", "seed"} and, where the noise was made before, {"noisy", "mask"}: see README.
"""
from types import MappingProxyType
from typing import NamedTuple, Tuple

import tensorflow as tf

from ..compat import KERAS_3, average_together, log_value, minimize
from ..defects.perturb import perturb
from ..errors import InputError
from ..ops import summed
from ..options import Loss, Network, Noise
from . import inputs, losses, optimizers
from .as_keras import KerasModel, refuse_unknown
from .monitors import RankingArea
from .networks import Discriminator, Generator, UNet
from .scoring import anomaly_score
from .tiling import predict_tiled

keras = tf.keras

TERMS = ("l1", "l2", "ssim", "adversarial", "encoder", "discriminator", "segmentation", "overlap")
DIFFERENCE_GAIN = 3.0  # a visible defect differs by a third of the range: brought to the pictures' own scale
NETWORKS = ("generator", "discriminator", "segmenter")


class Detection(NamedTuple):
    """Reconstruction X^ (B, H, W, C) or None, anomaly map A (B, H, W, 1), image score eta (B,): all in [0, 1]."""
    reconstruction: tf.Tensor
    anomaly_map: tf.Tensor
    score: tf.Tensor


@keras.utils.register_keras_serializable("grdnet_tf")
class GRDNet(KerasModel):
    """GRD-Net (Ferrari & Lamma 2023): generator, discriminator and segmenter trained together, three optimizers.

    `image_size` (H, W) must be divisible by the networks' total strides; except with the dense bottleneck ("drae") the
    trained model takes any other such size. All other sizes are the options of `options.Network`, by name:
    GRDNet(latent=64, segmenter_difference=True). Without `discriminator_widths` there is no adversarial part, without
    `second_encoder` no E2; then the objective's weight for it must be 0. `synchronized` batch norm is for several
    replicas. `architecture` holds all of these: GRDNet(**architecture) is a model of the same weights' shapes.

    Raises: InputError naming the option that is unknown or out of its range.
    """

    def __init__(self, image_size: Tuple[int, int] = (256, 256), channels: int = 3, *, second_encoder=True,
                 synchronized=False, name="grdnet", **network):
        super().__init__(name=name, dtype="float32")  # the parts follow the precision policy, the whole speaks float32
        n = Network(**network)
        self.architecture = MappingProxyType(dict(  # a plain dict would become one of Keras' tracked containers
            image_size=tuple(image_size), channels=channels, second_encoder=second_encoder, synchronized=synchronized,
            **dict(n)))
        self.image_size, self.channels, self.score_pool = tuple(image_size), channels, n.score_pool
        self.difference, self.one_size = n.segmenter_difference, n.bottleneck == "drae"
        self.precision = keras.mixed_precision.global_policy().name
        self.total_stride = n.inference_stride  # what both sides of a picture to be judged must be divisible by
        norm = dict(batch_norm=n.batch_norm, synchronized=synchronized)
        stride = 2 ** len(n.widths)
        grid = (image_size[0] // stride, image_size[1] // stride)
        self.generator = Generator(n.widths, n.latent, channels, grid, n.bottleneck, second_encoder, stem=n.stem,
                                   blocks=n.blocks, residual=n.residual, **norm)
        self.discriminator = None
        if n.discriminator_widths:
            self.discriminator = Discriminator(n.discriminator_widths, n.discriminator_blocks or n.blocks, **norm)
        self.segmenter = UNet(n.segmenter_widths, n.segmenter_stride, **norm)
        self._build_networks(max(image_size) if self.one_size else n.total_stride)
        self.trackers = None

    def _build_networks(self, side):
        """Every weight exists after construction: one pass over the smallest picture the networks take."""
        size = self.image_size if side == max(self.image_size) else (side, side)
        blank = tf.zeros((1, *size, self.channels))
        self.generator(blank)
        self.segment(blank, blank)
        if self.discriminator is not None:
            self.discriminator(blank)
        self.built = True

    def call(self, images, roi=None, training=False):
        """Detection of `images` (B, H, W, C) in [0, 1] or uint8. A `roi` (B, H, W, 1) of {0, 1} masks map and score."""
        images = inputs.pictures(images, self.channels)
        if tf.executing_eagerly():  # a graph cannot raise
            inputs.refuse_out_of_range(inputs.out_of_range(images))
        reconstruction = self.generator.reconstruct(images, training=training)
        logits = self.segment(images, reconstruction, training=training)
        anomaly_map = tf.sigmoid(logits)  # (B, H, W, 1)
        if roi is not None:
            anomaly_map = anomaly_map * inputs.region(roi, images)
        return Detection(reconstruction, anomaly_map, anomaly_score(anomaly_map, self.score_pool))

    def segment(self, images, reconstruction, training=False):
        """Logits (B, H, W, 1) of the anomaly map from the pictures and their reconstructions (Fig. 2)."""
        seen = [images, reconstruction]
        if self.difference:
            seen.append(DIFFERENCE_GAIN * tf.abs(images - reconstruction))
        return self.segmenter(tf.concat(seen, axis=-1), training=training)

    def compile(self, generator_optimizer=None, discriminator_optimizer=None, segmenter_optimizer=None, *,
                learning_rate=1e-4, clip_norm=0.0, objective: Loss = Loss(), noise: Noise = Noise(), textures=None,
                jit_compile=None, run_eagerly=False, steps_per_execution=1, **others):
        """Set the three optimizers (default: Adam(learning_rate) each), the losses and the noise.

        `model.optimizer`, which Keras' own callbacks know, is the generator's; an optimizer that is not given follows
        its learning rate, so that a LearningRateScheduler steers all three.
        `clip_norm` > 0 bounds the norm of each network's whole gradient, over all replicas.
        `objective` are the `options.Loss`; `noise` the `options.Noise` of batches that come without "noisy" and "mask";
        `textures` (T, h, w, C) uint8 are the pictures of its source "texture".
        `jit_compile` None means XLA on a GPU only: on a CPU it measured slower. With a float16 policy every optimizer
        is wrapped for loss scaling.

        Raises: InputError for what Keras' compile takes and this model has other words for: loss, metrics, optimizer.
        """
        refuse_unknown(others)
        if objective.adversarial and self.discriminator is None:
            raise InputError("objective.adversarial > 0 needs a discriminator: give GRDNet discriminator_widths")
        if objective.encoder and self.generator.encoder_hat is None:
            raise InputError("objective.encoder > 0 needs the second encoder: GRDNet(second_encoder=True)")
        given = dict(zip(NETWORKS, (generator_optimizer, discriminator_optimizer, segmenter_optimizer)))
        optimizers.checked(given)
        self.compiled_with = MappingProxyType(dict(
            clip_norm=clip_norm, objective=objective, noise=noise, jit_compile=jit_compile, run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution))
        self.objective, self.clip_norm, self.noise = objective, clip_norm, noise
        self.textures = None if textures is None else tf.constant(textures)  # once, not a copy in every graph
        self.following = [name for name in NETWORKS[1:] if given[name] is None]
        used = optimizers.three(given, learning_rate, self.precision == "mixed_float16")
        if jit_compile is None:
            jit_compile = bool(tf.config.list_physical_devices("GPU")) and not run_eagerly
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
                         for name in ("loss", "generator", *self._terms())}
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

    def _terms(self):
        """The raw loss terms that this objective computes."""
        unused = set() if self.objective.l2 else {"l2"}
        if not self.objective.adversarial:
            unused |= {"adversarial", "discriminator"}
        if not self.objective.encoder:
            unused |= {"encoder"}
        if "overlap" not in self.objective.roi_reading:
            unused |= {"overlap"}
        return [term for term in TERMS if term not in unused]

    @property
    def metrics(self):
        """All trackers, for Keras to reset them at the start of every epoch."""
        return list((self.trackers or {}).values()) + list(getattr(self, "detection_trackers", {}).values())

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing to do: all is built. Keras 3's own way, over a batch of data, fails on a dict from several workers."""

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
        noisy, mask = perturb(batch["image"], batch["roi"], batch["seed"], self.noise, self.textures)
        return dict(batch, noisy=noisy, mask=mask)

    def forward(self, batch, training):
        """One pass through all networks: the raw loss terms (float32 scalars) and the segmenter's logits.

        The discriminator sees real and generated pictures apart, as in GANomaly: in one batch they would share batch
        norm's statistics, and f(X) would depend on X^. Its two passes serve both its own loss and feature matching.
        """
        image, noisy, mask, roi = batch["image"], batch["noisy"], batch["mask"], batch["roi"]
        o = self.objective
        z = self.generator.encoder(noisy, training=training)
        fake = self.generator.decoder(z, training=training)
        terms = dict(zip(("l1", "ssim"), (losses.l1(image, fake), losses.ssim_loss(image, fake))))
        if o.l2:
            terms["l2"] = losses.l2(image, fake)
        if o.encoder:
            terms["encoder"] = losses.encoder(z, self.generator.encoder_hat(fake, training=training), o.encoder_norm)
        if o.adversarial:
            real = self.discriminator(image, training=training)
            found = self.discriminator(fake, training=training)
            terms["adversarial"] = losses.feature_matching(real.features, found.features)
            terms["discriminator"] = losses.discriminator(real.logits, found.logits)
        seen = fake if o.segmentation_to_generator else tf.stop_gradient(fake)
        logits = self.segment(noisy, seen, training=training)
        marked = losses.segmentation(o.roi_reading, logits, mask, roi, o.focal_gamma, o.focal_alpha, o.overlap)
        terms["segmentation"] = marked.focal
        if "overlap" in o.roi_reading:
            terms["overlap"] = marked.overlap
        return terms, logits

    def objectives(self, terms):
        """The weighted loss of each network (eq. 1, 2, 6, 8): the one place where weights are applied."""
        o = self.objective
        contextual = summed(o.l1 * terms["l1"], o.l2 * terms.get("l2", 0.0), o.ssim * terms["ssim"])
        segmenter = o.segmentation * summed(terms["segmentation"], o.overlap * terms.get("overlap", 0.0))
        generator = summed(o.contextual * contextual, o.adversarial * terms.get("adversarial", 0.0),
                           o.encoder * terms.get("encoder", 0.0))
        if o.segmentation_to_generator:
            generator += segmenter
        return {"generator": generator, "discriminator": terms.get("discriminator"), "segmenter": segmenter}

    @tf.autograph.experimental.do_not_convert  # nothing to convert: it takes long
    def train_step(self, data):
        """One step of both phases: generator and discriminator, then segmenter, each network by its own optimizer."""
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
        anomaly_map = tf.sigmoid(logits) * batch["roi"]
        self.detection_trackers["pixel_ap"].update_state(truth, anomaly_map, batch["roi"])
        self.detection_trackers["image_auroc"].update_state(tf.reduce_max(truth, axis=(1, 2, 3)),
                                                            anomaly_score(anomaly_map, self.score_pool))
        return {name: log_value(tracker) for name, tracker in {**self.trackers, **self.detection_trackers}.items()}

    def _checked(self, data):
        """`perturbed`, and a note of pictures whose values cannot be meant."""
        batch = self.perturbed(data)
        self.count_out_of_range(batch["image"], batch["noisy"])
        return batch

    def _track(self, batch, terms, objectives):
        size = tf.cast(tf.shape(batch["image"])[0], tf.float32)
        generator, segmenter = objectives["generator"], objectives["segmenter"]
        total = generator if self.objective.segmentation_to_generator else generator + segmenter  # eq. 6
        for name, value in {**terms, "generator": generator, "loss": total}.items():
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
