"""`grdnet_tf.load`: pictures of any size in, `Result`s out, in order; files are decoded while the model works."""
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Iterable, Iterator, List, NamedTuple, Optional

import cv2
import numpy as np
import tensorflow as tf

from ..data import decoding, following
from ..data import roi as rois
from ..data.files import BadImage
from ..data.regions import resized
from ..evaluation.measure import Least
from ..evaluation.regions import describe, label_found
from ..evaluation.thresholds import ACCEPTED, Limits
from ..model.scoring import anomaly_score
from . import engines, sources
from .result import Result, in_file

AHEAD = 3  # batches that are decoded or waiting at most: what bounds the memory


def load(path, batch: int = 8, roi: Optional[str] = None) -> "Detector":
    """A detector of a run folder, an exported SavedModel or an ONNX file.

        detector = grdnet_tf.load("runs/pill")
        found = detector.predict("new/")
        found[0].show()

    Args:
      path: RUN; an export's DIR/<name>/<version>, DIR/<name> for the newest one; a .onnx file that was exported.
      batch: pictures at once.
      roi: a file with a region of interest for all pictures, instead of the station's; "none": the whole picture.

    Raises: InputError for what cannot be used.
    """
    return Detector(engines.load(path, batch, roi))


class Detector:
    """`predict` for some pictures, `stream` for any number of them.

    Attributes:
      name, image_size (H, W), channels: of the model.
      look, threshold: a picture whose score is above the first is looked at again, above the second rejected.
      good_scores: of the good pictures that it was fitted on, the lowest first; None where they were not kept.
      station: `options.Station`.
    """

    def __init__(self, engine: engines.Engine):
        self.engine, self.station, self.name = engine, engine.station, engine.name
        model = engine.predictor.model
        self.image_size, self.channels, self.pool = tuple(model.image_size), model.channels, engine.predictor.pool
        kind = "_roi" if engine.inside and "image_roi" in engine.thresholds else ""
        self.limits = Limits.of(engine.thresholds, engine.inside)
        self.look, self.threshold = self.limits
        self.good_scores = engine.thresholds["image" + kind].get("good_scores")
        self.level = float(engine.thresholds["pixel" + kind]["value"])
        self.least = Least(self.station.min_area, self.level, self.level) if self.station.min_area > 1 else None
        self._fit = tf.function(self._resized, input_signature=[
            tf.TensorSpec((None, None, self.channels), tf.uint16), tf.TensorSpec((), tf.float32)])
        self._region = lru_cache(maxsize=8)(self._region)

    def predict(self, pictures) -> List[Result]:
        """Results of paths (folders and globs too), arrays, or a list of both, in order.

        Arrays are RGB or grey: (H, W), (H, W, 1 or 3), or (N, H, W, C); uint8, uint16 or floats in [0, 1].
        A file that cannot be used is a result with the verdict "unreadable"; InputError for what names nothing.
        """
        return [result.forget_pixels() if isinstance(result.path, str) and "#" not in result.path else result
                for result in self.stream(sources.given(pictures))]

    def stream(self, items: Iterable[Optional[sources.Item]], ahead: int = AHEAD) -> Iterator[Result]:
        """Results of `sources.Item`s as they come, in order; at None those that are waiting are judged.

        Args:
          ahead: batches that are decoded, or wait, at most.
        """
        batch, waiting = self.engine.predictor.batch, deque()
        with ThreadPoolExecutor(os.cpu_count(), "decode") as pool:  # decoding lets go of Python's lock
            try:
                for item in items:
                    if item is not None:
                        waiting.append(pool.submit(self._prepare, item))
                    while len(waiting) >= (ahead * batch if item is not None else 1):
                        yield from self._judge([waiting.popleft().result() for _ in range(min(batch, len(waiting)))])
                while waiting:
                    yield from self._judge([waiting.popleft().result() for _ in range(min(batch, len(waiting)))])
            finally:
                for future in waiting:
                    future.cancel()

    def _prepare(self, item):
        """The picture as the model gets it, and its ROI in that size; or why it cannot be used."""
        try:
            pixels = item.read()
            if item.pixels is not None and self.channels == 1:
                pixels = sources.grey(pixels)
            white = 0 if item.full_range else self.engine.white
            if white > 255 and pixels.itemsize == 1 and item.pixels is not None:
                white = 0  # a frame or an array of 8 bit
            matrix, seen = None, pixels
            if self.engine.align is not None:
                matrix = self.engine.align.matrix(pixels)
                if matrix is None:
                    raise BadImage(item.path, "no whole part is found on plain ground that could be turned upright")
                seen = self.engine.align.upright(pixels, matrix)
            adapted, peak = decoding.adapted(seen, item.path, self.channels, white)
            if self.engine.predictor.tiles is None:
                image = self._fit(adapted, peak).numpy()
            else:
                image = adapted.astype(np.float32) / peak
            roi, part = None, None
            if self.engine.follow is not None:
                roi, part = self._following(pixels, image.shape[:2])
            elif self.engine.roi is not None:
                roi = self._region(seen.shape[:2], image.shape[:2])
            return _Prepared(item, pixels, image, roi, white, part=part, matrix=matrix)
        except BadImage as bad:
            return _Prepared(item, reason=bad.reason if str(bad.path) == item.path else str(bad))
        except MemoryError:
            return _Prepared(item, reason="does not fit into memory")
        except cv2.error as error:  # such as a side of more than 32,767 pixels, which some versions do not turn
            return _Prepared(item, reason=f"OpenCV cannot prepare it: {error.err}")

    def _resized(self, pixels, peak):
        with tf.device("CPU:0"):
            return decoding.resize(tf.cast(pixels, tf.float32), self.image_size, self.channels) / peak

    def _region(self, size, shown):
        """(h, w) bool of the ROI for a picture of `size`, as the map has it. BadImage."""
        region = rois.read_roi(self.engine.roi, size)
        if region.shape != size:
            raise BadImage(self.engine.roi, f"the ROI is {region.shape[1]} x {region.shape[0]}, the picture "
                                            f"{size[1]} x {size[0]}")
        return self._some(resized(np.ascontiguousarray(region), shown) > 0)

    def _some(self, region):
        """BadImage for a region without a pixel: whatever the picture shows would be accepted."""
        if not region.any():
            raise BadImage(getattr(self.engine.roi, "path", self.engine.roi),
                           "the ROI is empty in this picture: nothing of it would be looked at")
        return region

    def _following(self, pixels, shown):
        """(h, w) bool of the ROI where the part is in these pixels, and how that was found. BadImage."""
        reference = following.read_reference(self.engine.follow)
        motion = following.find(reference, following.drawn(self.engine.roi, self.engine.follow, reference), pixels)
        if motion is None:
            return self._region(pixels.shape[:2], shown), {"found": False}
        region = following.moved(rois.read_roi(self.engine.roi, pixels.shape[:2]), motion.matrix)
        return self._some(resized(region, shown) > 0), {
            "found": True, "shift": [round(value, 2) for value in motion.shift], "turn": round(motion.turn, 2),
            "correlation": round(motion.correlation, 3)}

    def _judge(self, prepared):
        sound = [one for one in prepared if one.reason is None]
        if self.engine.predictor.tiles is None:
            groups = [sound] if sound else []
        else:
            groups = [[one] for one in sound]  # each of its own size
        judged = {}
        for group in groups:
            for one, small, score in zip(group, *self._detect(group)):
                judged[id(one)] = self._result(one, small, score)
        return [judged.get(id(one)) or _result(one.item, reason=one.reason) for one in prepared]

    def _detect(self, group):
        """((N, h, w) maps, (N,) scores) of pictures of one size, cut by their ROI."""
        images, predictor = np.stack([one.image for one in group]), self.engine.predictor
        cut = None
        if group[0].roi is not None:
            cut = np.stack([one.roi for one in group])[..., None].astype(np.float32)
        takes_roi = not predictor.tiles and getattr(predictor.model, "takes_roi", True)
        inside = (cut,) if cut is not None and takes_roi else ()
        _, maps, scores = predictor.predict(images, *inside)
        maps, scores = np.asarray(maps, np.float32), np.asarray(scores, np.float32)
        if cut is not None and not inside:
            maps = maps * cut
        if self.least is not None:
            scores = self.least.scores(maps, self.pool)
        elif cut is not None and not inside:
            scores = np.asarray(anomaly_score(maps, self.pool))
        return maps[..., 0], scores

    def _result(self, one, small, score):
        size, um = one.pixels.shape[:2], None if sources.resized(one.item) else self.station.um_per_pixel
        known = dict(pixels=one.pixels, size=size, part=one.part, um_per_pixel=um,
                     white=one.white, limits=self.limits, level=self.level, min_area=self.station.min_area)
        if not (small.min() >= 0 and small.max() <= 1 and 0 <= score <= 1):
            return _result(one.item, reason="the model gives no map of numbers from 0 to 1 for it")
        if one.matrix is not None:
            small = self.engine.align.back(small, one.matrix, size)
        found = []
        if self.limits.verdict(score) != ACCEPTED:
            labels = label_found(small, self.level, self.station.min_area)
            found = [in_file(region, small.shape, size, um) for region in describe(labels, small)]
        return _result(one.item, score=float(score), regions=found, small_map=small, **known)  # as the file lies


def _result(item, **found):
    return Result(item.path, name=item.name, stamp=item.stamp, **found)


class _Prepared(NamedTuple):
    item: sources.Item
    pixels: Optional[np.ndarray] = None  # as the file has them
    image: Optional[np.ndarray] = None   # (h, w, C) float32 in [0, 1], as the model gets it
    roi: Optional[np.ndarray] = None     # (h, w) bool
    white: int = 0
    reason: Optional[str] = None
    part: Optional[dict] = None          # how it lies, as of `result.Result`
    matrix: Optional[np.ndarray] = None  # upright pixels -> the file's, as of `aligning.Alignment`
