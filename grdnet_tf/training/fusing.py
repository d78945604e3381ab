"""What `features.fused` adds to a run whose steps have ended: PaDiM, fitted and calibrated beside the best weights.

RUN/best/padim.npz holds what `fitted` keeps of a PaDiM, what `baselines.fused` is calibrated by, and which best weights
and which section features it was made for. A run that ended before it was written is completed by `--resume`.
"""
import logging
import os
import time

import numpy as np

from .. import options
from ..baselines.fused import Fused
from ..data.records import evenly
from ..errors import InputError
from ..storage import fingerprint, read_arrays, write_arrays
from . import fitted, run_folder

PICTURES = 10_000  # at most, to fit and to calibrate on: more change nothing any more
CALIBRATED = ("of_grdnet", "of_padim")
logger = logging.getLogger(__name__)


def complete(config, data, folder: str, grdnet, features) -> None:
    """Write RUN/best/padim.npz, unless the right one stands there. `grdnet`: with the best weights of the run.

    `features`: `fitted.build_features(config)`. Raises: InputError as of `fitted`.
    """
    path, made_for = os.path.join(folder, run_folder.PADIM), _made_for(config, folder)
    made_for["backbone_sha256"], started = features.digest(), time.monotonic()
    if os.path.isfile(path):
        try:
            arrays, state = read_arrays(path)
            if made_for.items() <= _of(state).items() and set(CALIBRATED) <= set(arrays):
                return
        except InputError as error:
            logger.warning("%s; it is fitted again", error)
    pictures = list(dict.fromkeys(evenly(data.train, PICTURES)))
    try:
        arrays = fitted.fit(config, features, fitted.Batches(
            pictures, config, data.channels, config.features.varied, data.depth))
    except InputError as error:
        raise InputError(f"{config.data.root}: {error}") from None
    padim = fitted.detector(config, features, {**arrays, **dict.fromkeys(CALIBRATED, np.zeros(2, np.float32))},
                            data.channels)
    held_out = fitted.Batches(evenly(data.held_out, PICTURES), config, data.channels)
    padim.set_scale(held_out)
    Fused(grdnet, padim).calibrate(held_out)
    write_arrays(path, padim.fitted.arrays(), {
        "method": "padim", "backbone": config.features.backbone, **made_for})
    logger.info("fitted PaDiM on %d pictures in %.1f s", len(pictures), time.monotonic() - started)


def load(config, grdnet, folder: str) -> Fused:
    """The run's `grdnet`, of whatever epoch, and the PaDiM that was made beside the best weights.

    Raises: InputError where that is missing, damaged or made for other weights.
    """
    path = os.path.join(folder, run_folder.PADIM)
    if not os.path.isfile(path):
        raise InputError(f"{path}: missing: features.fused is true, but the run has not ended; train --resume completes "
                         "it")
    try:
        padim, state = fitted.load(config, path)
    except InputError as error:
        raise InputError(f"{error}; train --resume fits it again") from None
    if not all(hasattr(padim.fitted, name) for name in CALIBRATED):
        how = ("made by an older version, in which the two judged together by another rule; train --resume makes it anew"
               if hasattr(padim.fitted, "level") else "damaged (not calibrated)")
        raise InputError(f"{path}: {how}")
    if not _made_for(config, folder).items() <= _of(state).items():
        raise InputError(f"{path}: made for other weights than the best ones now: the run goes on, or has stopped on "
                         "its way; train --resume completes it")
    return Fused(grdnet, padim)


def _made_for(config, folder):
    weights = read_arrays(run_folder.weights(folder))[0]
    return {"weights_sha256": fingerprint(weights), "features": config.features.model_dump(mode="json")}


def _of(state):
    """`state` with the settings that its version did not have as by default: they changed nothing."""
    return {**state, "features": {**options.Features().model_dump(mode="json"), **state.get("features", {})}}
