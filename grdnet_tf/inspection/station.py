"""What a run knows of the place where it inspects: settings, and thresholds, fitted where there are none yet.

RUN/station.yaml is what a person says; RUN/calibration.json is what was fitted under it. A change of the tiles, the
least area or the region lets the thresholds be fitted again; the micrometres change no decision.
"""
import os
from typing import Optional, Tuple

import numpy as np

from ..data import roi as rois
from ..data.files import BadImage, read_picture, read_region
from ..data.records import list_mvtec
from ..data.regions import resized
from ..errors import InputError
from ..evaluation import calibration
from ..evaluation.predict import Predictor
from ..model.weights import network_arrays
from ..options import Station
from ..serving import folding, signatures
from ..storage import file_sha256, fingerprint
from ..training import good_pictures, run_folder


def settings(station: Station, folder: str) -> dict:
    """What the thresholds depend on, as `calibration.keep` takes it. `folder`: where the ROI's file lies."""
    roi = None if station.roi is None else file_sha256(os.path.join(folder, station.roi))
    found = {"min_area": station.min_area, "tiles": None if station.tiles is None else list(station.tiles),
             "roi_sha256": roi}
    if station.follow:
        found["follow_sha256"] = file_sha256(os.path.join(folder, station.follow))
    if station.align:
        found["align_sha256"] = file_sha256(os.path.join(folder, station.align))
    return found


def served(run: str, config, size: Tuple[int, int]) -> tuple:
    """The last of `export.Options` for pictures of `size` (H, W): what the graph has, all settings, their files.

    A tile knows nothing of the picture it is cut from: with tiles, ROI and least area are left to `grdnet predict`. So
    is a ROI that follows the part, for which the graph has no operations. With `align` the graph takes upright pictures.
    """
    own = config.station
    path = None if own.roi is None or own.follow else os.path.join(run, own.roi)
    graph = signatures.Station()
    if own.tiles is None:
        graph = signatures.Station(None if path is None else _drawn(path, config, size), own.min_area)
    return graph, own.model_dump(mode="json"), [os.path.join(run, name) for name in (own.roi, own.follow, own.align)
                                              if name]


def _drawn(path, config, size):
    """(H, W) bool: the ROI as a map of `size` has it, drawn on a picture of the run's own."""
    source = region(path)
    if isinstance(source, str):
        return resized(read_region(source), size) > 0
    try:
        own = list_mvtec(config.data.root, "train")[0].image
        shape = read_picture(own).shape[:2]
    except (InputError, BadImage, TypeError):  # the data folder is gone
        shape = size
    try:
        return resized(np.ascontiguousarray(rois.read_roi(source, shape)), size) > 0
    except BadImage as bad:
        raise InputError(str(bad)) from None


def region(path: str) -> rois.Source:
    """A ROI for whatever picture comes: a picture file, or a drawing whose shapes are for all pictures."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; expected a region of interest")
    if not path.lower().endswith(rois.DRAWN):
        return path
    drawn = rois.read(path)
    if any(shape.pictures != rois.ALL for shape in drawn.shapes) or not drawn.shapes:
        raise InputError(f"{path}: expected shapes for all pictures, not for some by their names")
    return rois.Region(path, drawn.shapes)


def thresholds(run: str, config, model, size: Optional[Tuple[int, int]] = None) -> dict:
    """What is kept with the run; for another size (H, W), or where nothing is kept, fitted on the held-out pictures.

    Raises: InputError where there is nothing to fit on.
    """
    weights, as_trained = fingerprint(network_arrays(model)), size in (None, config.data.image_size)
    under = settings(config.station, run)
    kept = calibration.load(run, weights, under) if as_trained else {}
    if "image" in kept:
        return kept
    good = good_pictures.find(run, config, roi=run_folder.roi_choice(run, config.station))
    if not good.records:
        what = "" if as_trained else " and this size"
        raise InputError(f"{run}: no threshold: no {calibration.FILE} of its weights{what}, and no good pictures that "
                         f"it held out in {config.data.root}; grdnet calibrate --run {run} --good DIR fits one")
    sized = model if as_trained else folding.inference_half(model, size)
    predictor = Predictor(sized, tiles=config.station.tiles, white=config.data.white)
    methods = calibration.methods(run, weights)  # what was asked for under other settings holds under these
    found = calibration.fit(predictor, dict.fromkeys(methods[:2], (good.records, good.words)), *methods,
                            min_area=config.station.min_area)
    if as_trained and good.keep:
        calibration.keep(run, found, weights, good.sha256, under)
    return found
