"""Decoded pictures in RAM: what they take, and whether they are kept."""
from __future__ import annotations

import math
import weakref
from typing import Sequence

import numpy as np
import tensorflow as tf

from ..options import Data
from .decoding import as_pair
from .record import Record, having


def gigabytes_kept(records: Sequence[Record], data: Data, channels: int, depth: int, taken: float = 0.0) -> float:
    """What the integers of these pictures take in RAM; 0 where `data.cache` says that they are read in every pass."""
    size = sum(math.prod(shape) * dtype.size for shape, dtype in parts_kept(records, data, channels, depth))
    gigabytes = len(records) * size / 1e9
    kept = data.cache == "ram" or (data.cache == "auto" and gigabytes + taken <= data.cache_gb)
    return gigabytes if kept else 0.0


def parts_kept(records, data, channels, depth):
    """[(shape, type)] of what is kept of a picture: its integers, and its ROI if any picture has one."""
    parts = [((*as_pair(data.image_size), channels), {8: tf.uint8, 16: tf.uint16}[depth])]
    return parts + [((*as_pair(data.image_size), 1), tf.uint8)] * bool(having(records, "roi"))


class PictureCache:
    """One integer array (N, H, W, C) for all pictures, and one for the ROIs if there are any.

    A NumPy array behind a host function: a captured tensor of gigabytes is copied whenever tf.data rewrites its graph
    (for each iterator, replica or deterministic run), measured at 2 s a gigabyte and twice the memory.
    """

    def __init__(self, n, shapes, dtypes):
        self.shapes, self.dtypes = shapes, dtypes
        self.arrays = [np.empty((n, *shape), dtype.as_numpy_dtype) for shape, dtype in zip(shapes, self.dtypes)]

    def fill(self, dataset):
        """With each element of a data set, (index, *parts)."""
        for indices, *parts in dataset.batch(32).prefetch(2).as_numpy_iterator():
            for array, part in zip(self.arrays, parts):
                array[indices] = part

    def gather(self, indices):
        """Batches of what lies at `indices`, as an op of the graph being built, which keeps this cache alive.

        TensorFlow never forgets a host function, so the function holds the arrays weakly and the graph owns them: they
        go when the data set goes, else every data set would leave its gigabytes behind.
        """
        tf.compat.v1.get_default_graph().grdnet_cache = self
        weakly = weakref.ref(self)
        found = tf.numpy_function(lambda i: [array[i] for array in weakly().arrays], [indices], self.dtypes)
        return [tf.ensure_shape(part, (indices.shape[0], *shape)) for part, shape in zip(found, self.shapes)]
