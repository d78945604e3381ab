"""A trained model over records: resized as in training, or at the pictures' own size in overlapping tiles."""
from itertools import groupby
from typing import Optional, Tuple

import numpy as np
import tensorflow as tf

from ..data import pipeline
from ..data.selection import picture_sizes
from ..errors import InputError
from ..model.tiling import predict_tiled
from ..ops import pooled
from ..options import FUSED_HINT
from . import measure


class Predictor:
    """`predict`: images -> (reconstruction or None, raw anomaly map, score); `batches` and `scan`: of records.

    `pool` is the model's: the side of the score's average pool; None where the score is not taken of the map. Tiles are
    blended before there is a score: it is the map's maximum then.

    Args:
      model: a `GRDNet`, or a detector of baselines/.
      batch: pictures at once, or tiles of one picture.
      white: data.white of the run, of picture files.
      tiles: (side of a tile, overlap): predict the pictures as large as they are; None: resized to the model's size.

    Raises: InputError for tiles that the model cannot take.
    """

    def __init__(self, model, batch=8, tiles: Optional[Tuple[int, int]] = None, white=0):
        self.model, self.batch, self.tiles, self.pool = model, batch, tiles, model.score_pool
        if tiles is not None:
            self.pool = self.pool or 1
        self.white = white
        self.sees_roi = tiles is None and getattr(model, "sees_roi", False)  # its map is another where a ROI is given
        self._compiled = {}  # by size of picture: one trace serves batches of any length
        self._stride = model.total_stride
        if tiles is not None:
            side, overlap = tiles
            if side < 1 or side % self._stride:
                raise InputError(f"tiles [{side}, {overlap}]: the tile's side must be divisible by {self._stride}, the "
                                 "network's total stride")
            if model.one_size and (side, side) != model.image_size:
                height, width = model.image_size
                what = "a network with the dense bottleneck (drae)" if model.name == "grdnet" else model.name
                raise InputError(f"tiles [{side}, {overlap}]: {what} takes pictures of {height} x {width} only"
                                 f"{FUSED_HINT if model.name == 'grdnet_padim' else ''}")

    def predict(self, images, roi=None):
        """A `roi` (B, H, W, 1) cuts map and score, where pictures are not tiled."""
        if self.tiles is None:
            return self._network(images, *([] if roi is None else [roi]))
        side, overlap = self.tiles
        return predict_tiled(self._network, images, side, overlap, self.pool, self.batch, self._stride,
                             self.model.one_size)

    def _network(self, *inputs):
        shapes = tuple((None, *part.shape[1:]) for part in inputs)
        if shapes not in self._compiled:
            self._compiled[shapes] = tf.function(lambda *parts: tuple(self.model(*parts, training=False)),
                                                 [tf.TensorSpec(shape, tf.float32) for shape in shapes], autograph=False)
        return self._compiled[shapes](*inputs)

    def batches(self, records):
        """Batches as `evaluation.scan` reads them, in the order of `records`."""
        if self.tiles is None:
            return self._dataset(records, self.model.image_size, self.batch)
        return self._own_size(records)

    def scan(self, records, least=None):
        return measure.scan(self.predict, self.batches(records), records, self.pool, least,
                            self.sees_roi) if records else iter(())

    def smooth(self, seen):
        """(H, W): the map of a `measure.Seen`, cut by its ROI, as the score's maximum is taken of it."""
        return np.asarray(pooled(seen.inside[None, ..., None], self.pool or 1))[0, ..., 0]

    def um_per_pixel(self, records, um):
        """Function of a record: (height, width) in um of a pixel of its map, from `um` of a pixel of its file."""
        sizes = picture_sizes(records)

        def scale(record):
            height, width = sizes[record.image]
            shown = (height, width) if self.tiles else self.model.image_size
            return um * height / shown[0], um * width / shown[1]

        return scale

    def _dataset(self, records, size, batch):
        return pipeline.evaluation_dataset(records, image_size=size, channels=self.model.channels, batch_size=batch,
                                           white=self.white)

    def _own_size(self, records):
        sizes, first = picture_sizes(records), 0
        for size, group in groupby(records, key=lambda record: sizes[record.image]):
            group = list(group)
            for batch in self._dataset(group, size, 1):
                yield dict(batch, index=batch["index"] + first)
            first += len(group)
