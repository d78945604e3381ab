"""What a run knows of the place where it inspects: settings, and thresholds, fitted where there are none yet."""
from typing import Optional, Tuple

from ..errors import InputError
from ..evaluation import calibration
from ..evaluation.predict import Predictor
from ..evaluation.thresholds import IMAGE_METHOD, PIXEL_METHOD
from ..model.weights import network_arrays
from ..options import Station
from ..serving import folding
from ..storage import fingerprint
from ..training import good_pictures


def read(folder: str, config) -> Station:
    """The settings of the run in `folder`."""
    return config.station


def thresholds(run: str, config, model, size: Optional[Tuple[int, int]] = None) -> dict:
    """What is kept with the run; for another size (H, W), or where nothing is kept, fitted on the held-out pictures.

    Raises: InputError where there is nothing to fit on.
    """
    weights, as_trained = fingerprint(network_arrays(model)), size in (None, config.data.image_size)
    kept = calibration.load(run, weights) if as_trained else {}
    if "image" in kept:
        return kept
    good = good_pictures.find(run, config)
    if not good.records:
        what = "" if as_trained else " and this size"
        raise InputError(f"{run}: no threshold: no {calibration.FILE} of its weights{what}, and no good pictures that "
                         f"it held out in {config.data.root}; evaluate.py --run {run} --good DIR fits one")
    predictor = Predictor(model if as_trained else folding.inference_half(model, size), white=config.data.white)
    found = calibration.fit(predictor, dict.fromkeys((IMAGE_METHOD, PIXEL_METHOD), (good.records, good.words)))
    if as_trained and good.keep:
        calibration.keep(run, found, weights, good.sha256)
    return found
