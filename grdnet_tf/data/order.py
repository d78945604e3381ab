"""In which order does training see the records? A pure function of (seed, pass, record).

A *pass* is one shuffled permutation of the records. Of pictures in several shards it takes one shard after the other,
the shards shuffled and the pictures within each.
"""
from __future__ import annotations

from typing import Optional

import numpy as np
import tensorflow as tf

from ..errors import InputError

_SHUFFLE = 0x5F17  # part of the order's seeds, so that it shares no numbers with what is drawn for the samples
_SHUFFLE_SHARDS = 0x5F18


def steps_per_pass(n: int, batch_size: int) -> int:
    """Whole batches in one pass over `n` records; what remains is left out, other records each time."""
    if n < batch_size:
        raise InputError(f"{n} pictures to train on, fewer than train.batch_size = {batch_size}")
    return n // batch_size


def batch_records(n: int, batch_size: int, seed: int, step: int, groups: Optional[np.ndarray] = None) -> np.ndarray:
    """Indices of the records that `TrainingStream` puts into the batch of global step `step`, (batch_size,) int64.

    groups: (n,), the shard of each as of `shards.groups`; None: they are in none.
    """
    number, position = divmod(step, steps_per_pass(n, batch_size))
    with tf.device("CPU:0"):  # where tf.data runs: another device may have another generator
        return _permutation(n, seed, number, groups)[0].numpy()[position * batch_size:(position + 1) * batch_size]


def _permutation(n, seed, number, groups=None):
    """(indices of all records (n,), of each the first index of the group that comes after its own (n,)), both int64."""
    indices = _shuffled(n, seed, number, _SHUFFLE)
    if groups is None or not groups.any():
        return indices, indices
    count = int(groups.max()) + 1
    place = tf.math.invert_permutation(_shuffled(count, seed, number, _SHUFFLE_SHARDS))
    places = tf.gather(place, tf.gather(groups, indices))
    order = tf.argsort(places * n + tf.range(n, dtype=tf.int64))  # no two alike, so the sort need not be stable
    indices, places = tf.gather(indices, order), tf.gather(places, order)
    begins = tf.searchsorted(places, tf.range(count, dtype=tf.int64))
    return indices, tf.gather(indices, tf.gather(begins, tf.minimum(places + 1, count - 1)))


def _shuffled(n, seed, number, what):
    return tf.random.experimental.stateless_shuffle(
        tf.range(n, dtype=tf.int64), tf.stack([tf.cast(pass_seed(seed, number), tf.int32), what]))


def pass_seed(seed, number):
    """seed * 1000003 + number, wrapped to what an int32 holds; for Python integers and int64 tensors."""
    return (seed * 1000003 + number + 2**31) % 2**32 - 2**31


def endless(n, batch_size, seed, start_step, groups, part=(0, 1)):
    """Endless data set of (sample seed (2,) int32, index () int64, index of a record whose shard comes next () int64).

    part (i, k): of each batch the i-th of k equal parts.
    """
    steps = steps_per_pass(n, batch_size)
    first, skipped = divmod(start_step, steps)

    def one_pass(number):
        begin = tf.where(tf.equal(number, first), skipped * batch_size, 0)
        indices, coming = (tf.reshape(tf.reshape(each[begin:steps * batch_size], (-1, part[1], batch_size // part[1]))
                                      [:, part[0]], [-1]) for each in _permutation(n, seed, number, groups))
        seeds = tf.stack([tf.fill(tf.shape(indices), tf.cast(pass_seed(seed, number), tf.int32)),
                          tf.cast(indices, tf.int32)], 1)
        return tf.data.Dataset.from_tensor_slices((seeds, indices, coming))

    return tf.data.Dataset.range(first, 2**62).flat_map(one_pass)
