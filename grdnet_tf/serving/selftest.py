"""Does a SavedModel answer as the Keras model does? Asked as TensorFlow Serving asks: through the v1 Session loader.

`tf.saved_model.load` in Python is no proof: it accepts files in which the Session loader finds no variables.
"""
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from ..console import watched
from ..errors import ExportStopped
from ..evaluation.regions import counted
from ..evaluation.thresholds import VERDICTS, Limits
from ..model.scoring import anomaly_score
from ..report.pictures import IMAGE_SHARE, jet, to_rgb
from .found_regions import ROWS as MOST
from .names import of_tensors
from .signatures import Station

TOLERANCE = 1e-4  # of score and map; folding batch norm changes the order of rounding
OVERLAY_TOLERANCE = 4  # of 255: a step of the map's colours, and a rounding
ROWS = 3


class Session:
    """A SavedModel as TensorFlow Serving runs it, on CPU. `run("serving_default", images=...)` -> {output: array}.

    Raises: ExportStopped if the Session loader cannot load it.
    """

    def __init__(self, folder: str):
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.session = tf.compat.v1.Session(config=tf.compat.v1.ConfigProto(device_count={"GPU": 0}))
            try:
                self.definitions = tf.compat.v1.saved_model.load(self.session, ["serve"], folder).signature_def
            except (tf.errors.OpError, OSError, ValueError, RuntimeError) as error:
                self.session.close()
                raise ExportStopped(f"self-test: the SavedModel cannot be loaded: {_first_line(error)}") from error
        self._callables = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()

    def names(self) -> list:
        """The signatures that a client can call."""
        return sorted(name for name in self.definitions if not name.startswith("__"))

    def run(self, signature: str, **inputs) -> dict:
        """Like a server, this does not compare shapes with the signature's: that is left to the graph."""
        if signature not in self._callables:
            definition = self.definitions[signature]
            named = self.graph.get_tensor_by_name
            tensors = [named(definition.inputs[name].name) for name in sorted(definition.inputs)]
            outputs = {name: named(tensor.name) for name, tensor in definition.outputs.items()}
            self._callables[signature] = self.session.make_callable(outputs, tensors)
        return self._callables[signature](*(inputs[name] for name in sorted(inputs)))


class Expected(NamedTuple):
    """What the Keras model gives for the test pictures, of "regions" the highest peak; `near`: rows whose score is too
    near the threshold to tell, `open`: rows whose regions hang on a rounding."""
    outputs: dict
    near: np.ndarray
    open: np.ndarray
    tolerance: float


def check(folder: str, model, thresholds, signatures, station=Station()) -> dict:
    """Call every signature of the SavedModel in `folder` and compare with `model`, the trained one, called in Keras.

    Args:
      signatures: {name: `signatures.Signature`}: what must be there.
      station: `signatures.Station`.

    Returns: {"score": the largest difference, "anomaly_map": the same}.
    Raises: ExportStopped naming the signature that is missing or answers something else.
    """
    pictures, roi = test_pictures(*signatures[of_tensors(signatures)].inputs[0].shape[1:])
    own = None if station.roi is None else np.repeat(station.roi[None, ..., None].astype(np.float32), len(roi), axis=0)
    plain = _expected(model, pictures, own, thresholds, station.min_area)
    inside = _expected(model, pictures, roi, thresholds, station.min_area)
    worst = {"score": 0.0, "anomaly_map": 0.0}
    with Session(folder) as session:
        for name, signature in watched(signatures.items(), "signatures checked", len(signatures)):
            if name not in session.definitions:
                raise ExportStopped(f"self-test: the SavedModel has no signature {name}")
            inputs, rows = requests(signature, pictures, roi)
            found = _call(session, name, inputs)
            expected = inside if "roi" in inputs or "roi_bytes" in inputs else plain
            for output, value in found.items():
                _compare(f"{output} of {name}", output, value, expected, rows, pictures, worst)
        refused = _call(session, "serve_bytes", {"image_bytes": np.array([b"no picture"], object)})
        if refused["valid"][0] or not refused["is_anomalous"][0] or refused["verdict"][0] != 2:
            raise ExportStopped("self-test: serve_bytes takes a file that is no picture for a good part")
    return worst


def _call(session, name, inputs):
    try:
        return session.run(name, **inputs)
    except (tf.errors.OpError, ValueError) as error:
        raise ExportStopped(f"self-test: {name} fails: {_first_line(error)}") from error


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def requests(signature, pictures, roi):
    """(inputs that show a `signatures.Signature` the `pictures`, the rows of them that it gets)."""
    batch = signature.inputs[0].shape[0]  # None: any
    rows = np.arange(batch or len(pictures)) % len(pictures)
    as_uint8 = signature.inputs[0].dtype == tf.uint8
    shown = {"images": (pictures if as_uint8 else pictures / np.float32(255))[rows], "roi": roi[rows],
             "image_bytes": np.array([encode(picture) for picture in pictures], object),
             "roi_bytes": np.array([encode((region * 255).astype(np.uint8)) for region in roi], object)}
    return {spec.name: shown[spec.name] for spec in signature.inputs}, rows


def test_pictures(height, width, channels, rows=ROWS):
    """((rows, H, W, C) uint8 of smooth shapes and grain, (rows, H, W, 1) float32 ROI), the same every time."""
    rng = np.random.default_rng(0)
    coarse = rng.random((rows, 5, 5, channels), np.float32)
    smooth = np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse])
    smooth = smooth.reshape(rows, height, width, channels) + rng.normal(0, 0.05, (rows, height, width, channels))
    roi = np.zeros((rows, height, width, 1), np.float32)
    for i in range(rows):
        roi[i, :, :max(1, width * (i + 1) // (rows + 1))] = 1
    return (smooth.clip(0, 1) * 255).astype(np.uint8), roi


def encode(pixels) -> bytes:
    """PNG of (H, W, 1 or 3) uint8, RGB."""
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def rounding(model) -> int:
    """By how much what `model` sees with enlarges a rounding; 1 where nothing is known to."""
    return getattr(getattr(model, "backbone", None), "rounding", 1)


def _expected(model, pictures, roi, thresholds, min_area):
    end = "_roi" if roi is not None and "image_roi" in thresholds else ""
    limits = Limits.of(thresholds, roi is not None)
    with tf.device("CPU:0"):
        found = model(tf.constant(pictures / np.float32(255)), roi=roi)
        score = found.score.numpy()
        if min_area > 1:
            level = thresholds["pixel" + end]["value"]
            kept = [counted(one, level, min_area) for one in found.anomaly_map.numpy()[..., 0]]
            score = anomaly_score(np.stack(kept)[..., None], model.score_pool).numpy()
    amap, verdict = found.anomaly_map.numpy(), np.array([VERDICTS.index(limits.verdict(one)) for one in score])
    level = thresholds.get("pixel" + end, thresholds.get("pixel", thresholds["image"]))["value"]
    peaks = np.where(verdict > 0, amap.max((1, 2, 3)), 0.0)
    outputs = {"score": score, "anomaly_map": amap, "valid": np.ones(len(score), np.int32),
               "is_anomalous": (verdict == 2).astype(np.int32), "verdict": verdict.astype(np.int32),
               "regions": np.where(peaks > level, peaks, 0.0)}
    if found.reconstruction is not None:
        outputs["reconstruction"] = found.reconstruction.numpy()
    bound = TOLERANCE * rounding(model)
    near = np.any([np.abs(score - limit) <= bound for limit in limits], axis=0)
    return Expected(outputs, near, (np.abs(peaks - level) <= bound) | near | (min_area > 1), bound)


def _compare(what, output, value, expected, rows, pictures, worst):
    if output == "overlay_bytes":
        overlays = [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for file in value]
        wanted = np.array([IMAGE_SHARE * to_rgb(picture / 255.0) + (1 - IMAGE_SHARE) * jet(amap[..., 0])
                           for picture, amap in zip(pictures, expected.outputs["anomaly_map"])])
        fits = np.shape(overlays) == wanted.shape and np.abs(overlays - wanted).max() <= OVERLAY_TOLERANCE
    elif output == "regions":
        told, wanted = value[:, 0, 5], expected.outputs["regions"][rows]
        fits = value.shape == (len(rows), MOST, 6) and (np.abs(told - wanted) <= expected.tolerance)[~expected.open[rows]].all()
    elif value.shape != expected.outputs[output][rows].shape:
        fits = False
    elif value.dtype == np.float32:
        difference = float(np.abs(value - expected.outputs[output][rows]).max())
        fits = difference <= expected.tolerance  # NaN is not
        worst[output] = max(worst.get(output, 0.0), difference)
    else:
        fits = (value == expected.outputs[output][rows])[~expected.near[rows]].all()
    if not fits:
        raise ExportStopped(f"self-test: {what} is not what the Keras model gives")
