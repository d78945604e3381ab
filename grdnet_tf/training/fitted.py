"""What is fitted in one pass instead of trained by steps: PaDiM, PatchCore. Configuration and data -> RUN, and back.

RUN/best/weights.npz holds what the fit found and the backbone's name and digest, not the backbone: that comes from where
the configuration says.
"""
import logging
import os
import time

import numpy as np
import tensorflow as tf

from ..baselines import padim, patchcore
from ..baselines.features import Features
from ..baselines.scattering import Scattering
from ..baselines.together import Together
from ..console import Progress
from ..data import pipeline, varying
from ..errors import InputError
from ..model.weights import network_arrays
from ..storage import fingerprint, read_arrays, write_arrays, write_json
from . import memory, run_folder

keras = tf.keras
logger = logging.getLogger(__name__)


def run(config, data, folder: str, go_on: bool) -> int:
    """Fit into `folder`, set the map's scale on the held-out pictures, write summary.json; exit status.

    `data` is `prepare.training_data(config)`. `go_on`: what is finished stays, what is not is fitted from the start.
    """
    keras.utils.set_random_seed(config.train.seed)
    started, used = time.monotonic(), time.process_time()
    if go_on and os.path.isfile(os.path.join(folder, run_folder.SUMMARY)):
        logger.info("%s: nothing is left to do", folder)
        return 0
    features = build_features(config)
    check_memory(config, features)
    if not go_on:
        run_folder.create_run(folder, config, data.recorded)
    batches = Batches(data.train, config, data.channels, config.features.varied, data.depth)
    try:
        arrays = fit(config, features, batches)
    except InputError as error:
        raise InputError(f"{config.data.root}: {error}") from None
    fitted_in = time.monotonic() - started
    model = detector(config, features, arrays, data.channels)
    model.set_scale(Batches(data.held_out, config, data.channels))
    write_arrays(os.path.join(folder, run_folder.BEST), model.fitted.arrays(),
                 {"method": config.method, "backbone": config.features.backbone, "backbone_sha256": features.digest()})
    write_json(os.path.join(folder, run_folder.SUMMARY), {
        "method": config.method, "figures": {"scale": float(model.fitted.scale.numpy())},
        "minutes": round((time.monotonic() - started) / 60, 3),
        "processor_seconds": round(time.process_time() - used, 1),  # beside other work the steadier number
        "seconds_in_features": round(batches.seconds, 1), "seconds_to_fit": round(fitted_in, 1),
        "peak_rss_mb": run_folder.peak_rss_mb(), "train_images": len(data.train),
        "held_out_images": len(data.held_out), "skipped": [list(entry) for entry in data.skipped],
        "weights_sha256": fingerprint(network_arrays(model))})
    logger.info("fitted %s on %d pictures in %.1f s; run folder: %s", config.method, len(data.train), fitted_in, folder)
    return 0


def load(config, path: str):
    """(detector, state) of the file `path`. InputError if it is damaged, or of another method or backbone."""
    arrays, state = read_arrays(path)
    features, method = build_features(config), "padim" if config.features.fused else config.method
    if state.get("method") != method:
        raise InputError(f"{path}: fitted by {state.get('method')}, the configuration says {method}")
    if state.get("backbone_sha256") != features.digest():
        raise InputError(f"{path}: fitted with another backbone ({state.get('backbone')}, other weights of it, or an older "
                         "version's wavelets)")
    try:
        model = detector(config, features, arrays, int(config.data.channels))
        model(tf.zeros((1, *config.data.image_size, int(config.data.channels))))  # what is missing shows in use
        return model, state
    except (AttributeError, ValueError, IndexError, tf.errors.OpError) as error:
        raise InputError(f"{path}: damaged ({str(error).splitlines()[0]})") from None


def build_features(config):
    """What the configuration's detector sees with; of a resolved configuration (channels known).

    Raises: InputError as of `Features`.
    """
    f = config.features
    neighbourhood = f.neighbourhood if config.method == "patchcore" else 1
    parts = []
    if f.backbone != "scattering":
        parts.append(Features(f.backbone, f.strides, f.weights, neighbourhood, f.enlarged))
    if f.backbone == "scattering" or f.wavelets:
        parts.append(Scattering(int(config.data.channels), f.strides, neighbourhood))
    return Together(parts) if len(parts) > 1 else parts[0]


def check_memory(config, features) -> None:
    """InputError where PaDiM has more groups than these features have channels, or its fit would need too much memory."""
    height, width = (side // features.strides[0] for side in config.data.image_size)
    numbers = padim.grouped(features.channels, config.features.channels, config.features.groups).size
    wanted = memory.needed(config.data.image_size, features.strides[0], numbers, config.features.groups)
    if config.method != "patchcore" and not memory.enough(wanted):
        alone = ", and GRD-Net alone (features.fused: false) none" if config.features.fused else ""
        raise InputError(f"PaDiM would need {wanted / 2**20:,.0f} MB for {height} x {width} places of {numbers} numbers, of "
                         f"{memory.physical() / 2**20:,.0f} MB: a larger first stride (features.strides: [16]), fewer "
                         f"features.channels or more features.groups need less{alone}")


def fit(config, features, batches):
    """The arrays of the configuration's detector; of `features.fused` PaDiM's."""
    f, seed = config.features, config.train.seed
    if config.method != "patchcore":
        return padim.fit(features, batches, ridge=f.ridge, channels=f.channels, groups=f.groups, seed=seed)
    return patchcore.fit(features, batches, share=f.coreset, candidates=f.candidates, projection=f.projection,
                         neighbours=f.neighbours, seed=seed, progress=Progress("vectors of the bank"))


def detector(config, features, arrays, channels):
    kind = patchcore.PatchCore if config.method == "patchcore" else padim.PaDiM
    return kind(features, config.data.image_size, channels, arrays, config.features.smoothing)


class Batches:
    """All pictures in order, with the progress shown; `seconds` is how long whoever asked for them took.

    Once as they are, then `copies` times `varying.varied`, each picture by a seed of its own; `depth`: bits of the files.
    """

    def __init__(self, records, config, channels, copies=0, depth=8):
        self.records, self.size, self.seconds = records, config.train.batch_size, 0.0
        self.copies, self.depth, self.seed = copies, depth, config.train.seed
        self.options = dict(image_size=config.data.image_size, channels=channels, batch_size=self.size,
                            parallel_calls=config.data.parallel_calls or None, white=config.data.white)

    def __iter__(self):
        if not self.records:
            return
        progress, started = Progress("pictures"), time.monotonic()
        done, total = 0, (1 + self.copies) * len(self.records)
        for copy in range(1 + self.copies):
            for batch in pipeline.evaluation_dataset(self.records, **self.options):
                yield self._varied(batch, copy) if copy else batch
                done += len(batch["index"])
                progress(done, total)
        self.seconds = time.monotonic() - started

    def _varied(self, batch, copy):
        images = [varying.varied(image, np.random.default_rng([self.seed, copy, index]), self.depth)
                  for image, index in zip(batch["image"].numpy(), batch["index"].numpy())]
        return dict(batch, image=tf.constant(np.stack(images)))
