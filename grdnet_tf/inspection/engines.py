"""A run, an exported SavedModel, an ONNX file: each as something that gives maps and scores, with all that it knows.

Of a run the model is the one that `grdnet evaluate` measures. An export says in its manifest, and an ONNX file in its
metadata, what it was made for: neither needs the run.
"""
import json
import os
from typing import NamedTuple, Optional

import tensorflow as tf

from ..data import aligning
from ..data import roi as rois
from ..data.aligning import Alignment
from ..errors import InputError
from ..evaluation.predict import Predictor
from ..kinds import OptionError
from ..model.grdnet import Detection
from ..options import Station
from ..serving import publish
from ..serving.convert import onnx
from ..serving.names import of_tensors
from ..storage import read_json
from . import station as stations

RUN = "config.yaml"


class Engine(NamedTuple):
    """A model and all that is known of it.

    `thresholds` as of calibration; `white`: data.white; `roi`: that cuts the maps; `inside`: whether they are cut, by
    it or in the model's own graph; `follow`: the picture on which it was drawn, if it goes with the part; `align`: by
    which pictures are turned upright, ROI and maps being those of upright ones.
    """
    predictor: Predictor
    thresholds: dict
    white: int
    station: Station
    roi: Optional[rois.Source]
    inside: bool
    name: str
    follow: Optional[str] = None
    align: Optional[Alignment] = None


def load(path: str, batch: int = 8, roi: Optional[str] = None) -> Engine:
    """The engine of a run folder, of an export (a version, or the newest of a model), or of a .onnx file.

    Args:
      batch: pictures at once.
      roi: a file with a region for all pictures, instead of the station's own; "none": the whole picture.

    Raises: InputError.
    """
    path = os.fspath(path)
    if path.endswith(".onnx"):
        engine = _from_onnx(path, batch)
    elif os.path.isfile(os.path.join(path, RUN)):
        engine = _from_run(path, batch)
    else:
        engine = _from_export(publish.newest(path, "neither a run, nor an export, nor an ONNX file"), batch)
    if not {"image", "pixel"} <= set(engine.thresholds):
        raise InputError(f"{path}: no threshold: nothing can be judged")
    if roi is not None:
        if isinstance(engine.predictor.model, _Onnx) and (engine.inside or engine.predictor.pool is None):
            raise InputError(f"{path}: an ONNX file takes no other region of interest; use the SavedModel beside it")
        engine = engine._replace(roi=None if roi == "none" else stations.region(roi), inside=roi != "none", follow=None)
    return engine


def _from_run(folder, batch):
    from ..training.building import load_run  # not at the top: a station with an export has no use for it

    config, model = load_run(folder)
    settings = config.station
    predictor = Predictor(model, batch, settings.tiles, config.data.white)
    source = None if settings.roi is None else stations.region(os.path.join(folder, settings.roi))
    return Engine(predictor, stations.thresholds(folder, config, model), config.data.white, settings, source,
                  source is not None, os.path.basename(os.path.abspath(folder)), _file(folder, settings.follow),
                  _alignment(folder, settings))


def _from_export(folder, batch):
    told = _told(os.path.join(folder, publish.MANIFEST))
    try:
        loaded = tf.saved_model.load(folder)
        model = _SavedModel(loaded, told)
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise InputError(f"{folder}: no SavedModel that can be loaded: {_first_line(error)}") from None
    return _engine(model, told, folder, batch)


def _from_onnx(path, batch):
    onnx.require()
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    try:
        runtime = onnx.Runtime(path)
    except Exception as error:  # onnxruntime's classes have no common one
        raise InputError(f"{path}: no ONNX file that can be loaded: {_first_line(error)}") from None
    text = runtime.metadata().get(onnx.METADATA)
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(path))), publish.MANIFEST)
    if text is None and not os.path.isfile(beside):
        raise InputError(f"{path}: does not say what it was made for; `grdnet export` writes files that do")
    told = _told(beside) if text is None else _complete(lambda: json.loads(text), path)
    return _engine(_Onnx(runtime, told), told, os.path.dirname(beside), batch)


def _engine(model, told, folder, batch):
    try:
        settings = Station(**told.get("station", {}))
    except OptionError as error:
        raise InputError(f"{folder}: damaged: {error}") from None
    predictor = Predictor(model, batch, settings.tiles, told["white"])
    source, inside = None, settings.roi is not None
    in_graph = isinstance(model, _Onnx) and not settings.tiles and not settings.follow
    if inside and not in_graph:
        source = stations.region(os.path.join(folder, settings.roi))
    if source is not None and isinstance(model, _Onnx) and predictor.pool is None:
        raise InputError(f"{folder}: its score is not the map's maximum, and an ONNX file takes no region; use the SavedModel "
                         "beside it")
    return Engine(predictor, told["thresholds"], told["white"], settings, source, inside, told["model"],
                  _file(folder, settings.follow), _alignment(folder, settings))


def _alignment(folder, settings):
    path = _file(folder, settings.align)
    return path and aligning.read(path)


def _file(folder, name):
    """The path of a file that the settings name, or None. InputError where it is gone."""
    path = name and os.path.join(folder, name)
    if path and not os.path.isfile(path):
        raise InputError(f"{path}: missing; an export is copied as a whole")
    return path


def _told(path):
    """What a manifest says."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: missing; an export is copied as a whole")
    return _complete(lambda: read_json(path), path)


def _complete(read, path):
    """What `read()` gives. InputError where it is not all that an export says of itself, or has what is no threshold."""
    try:
        found = read()
        if not {"thresholds", "white", "image_size", "channels", "model"} <= set(found):
            raise ValueError
        for entry in found["thresholds"].values():
            if type(entry["value"]) not in (int, float) or not 0 <= entry["value"] <= 1:
                raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path}: damaged") from None
    return found


class _Exported:
    """What `Predictor` asks of a model."""
    one_size, total_stride = True, 1

    def __init__(self, told):
        self.image_size, self.channels, self.name = tuple(told["image_size"]), told["channels"], "this export"
        self.score_pool = told["score_pool"] if "score_pool" in told else _pool(told["config"])


def _pool(config):
    """Of a manifest from before it was said there."""
    return {"grdnet": config["network"]["score_pool"], "padim": 1, "patchcore": None}[config["method"]]


class _SavedModel(_Exported):
    def __init__(self, loaded, told):
        super().__init__(told)
        self._kept = loaded  # its variables live as long as it does
        self._detect, self._inside = loaded.signatures[of_tensors(loaded.signatures)], loaded.signatures["serve_roi"]
        station = told.get("station", {})
        self._cut = station.get("roi") is not None and not station["tiles"] and not station.get("follow")

    def __call__(self, images, roi=None, training=False):
        if roi is None and self._cut:  # whoever asks for the whole picture means it
            roi = tf.ones_like(images[..., :1])
        found = self._detect(images=images) if roi is None else self._inside(images=images, roi=roi)
        return Detection(None, found["anomaly_map"], found["score"])


class _Onnx(_Exported):
    takes_roi = False  # there is one signature in the file

    def __init__(self, runtime, told):
        super().__init__(told)
        self._runtime = runtime

    def __call__(self, images, training=False):
        def run(values):
            found = self._runtime.run(values)
            return found["anomaly_map"], found["score"]

        anomaly_map, score = tf.numpy_function(run, [images], [tf.float32, tf.float32])
        anomaly_map = tf.ensure_shape(anomaly_map, (None, *images.shape[1:3], 1))
        return Detection(None, anomaly_map, tf.ensure_shape(score, (None,)))


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
