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
_AT_ONCE = 4096  # records whose places are worked out together: of a pass only its order is kept, 4 bytes a record


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
        indices = _permutation(n, seed, number, groups)[0][position * batch_size:(position + 1) * batch_size]
    return indices.numpy().astype(np.int64)


def _permutation(n, seed, number, groups=None):
    """(indices of all records (n,), where each group begins (count,), or nothing where there is one), both int32."""
    indices = _shuffled(n, seed, number, _SHUFFLE)
    if groups is None or not groups.any():
        return indices, None
    count = int(groups.max()) + 1
    # On the host: some arrays of all records, not a dozen, and none of them in a graph, which copies what it holds.
    indices, begins = tf.numpy_function(lambda *given: _by_group(groups, *given),
                                        [indices, _shuffled(count, seed, number, _SHUFFLE_SHARDS)], [tf.int32] * 2)
    return tf.ensure_shape(indices, (n,)), tf.ensure_shape(begins, (count,))


def _by_group(groups, indices, turns):
    """`indices` sorted by whose turn it is, but for that in their order; where the group of each turn begins."""
    place = np.empty(len(turns), np.uint16 if len(turns) < 2**16 else np.int32)  # the short type is sorted at once
    place[turns] = np.arange(len(turns))
    sizes = np.bincount(groups, minlength=len(turns))[turns]
    return indices[np.argsort(place[groups[indices]], kind="stable")], (np.cumsum(sizes) - sizes).astype(np.int32)


def _shuffled(n, seed, number, what):
    return tf.random.experimental.stateless_shuffle(
        tf.range(n), tf.stack([tf.cast(pass_seed(seed, number), tf.int32), what]))


def pass_seed(seed, number):
    """seed * 1000003 + number, wrapped to what an int32 holds; for Python integers and int64 tensors."""
    return (seed * 1000003 + number + 2**31) % 2**32 - 2**31


def endless(n, batch_size, seed, start_step, groups, part=(0, 1)):
    """Endless data set of (sample seed (2,) int32, index () int64, index of a record whose shard comes next () int64).

    part (i, k): of each batch the i-th of k equal parts.
    """
    steps = steps_per_pass(n, batch_size)
    first, skipped = divmod(start_step, steps)
    at_once = batch_size * max(1, _AT_ONCE // batch_size)

    def one_pass(number):
        indices, begins = _permutation(n, seed, number, groups)
        begin = tf.where(tf.equal(number, first), skipped * batch_size, 0)

        def some(start):
            positions = tf.range(start, tf.minimum(start + at_once, steps * batch_size))
            positions = tf.reshape(tf.reshape(positions, (-1, part[1], batch_size // part[1]))[:, part[0]], [-1])
            chosen = coming = tf.gather(indices, positions)
            if begins is not None:
                after = tf.searchsorted(begins, tf.cast(positions, tf.int32), side="right")
                coming = tf.gather(indices, tf.gather(begins, tf.minimum(after, tf.size(begins) - 1)))
            seeds = tf.stack([tf.fill(tf.shape(chosen), tf.cast(pass_seed(seed, number), tf.int32)), chosen], 1)
            return tf.data.Dataset.from_tensor_slices((seeds, tf.cast(chosen, tf.int64), tf.cast(coming, tf.int64)))

        return tf.data.Dataset.range(tf.cast(begin, tf.int64), steps * batch_size, at_once).flat_map(some)

    return tf.data.Dataset.range(first, 2**62).flat_map(one_pass)
