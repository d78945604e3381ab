"""Training streams of the small pictures in `drawn`, and their batches as arrays."""
import numpy as np
from drawn import SIZE, TURNED

from grdnet_tf.data import pipeline
from grdnet_tf.options import Data


def train(records, start_step=0, **changes):
    """The batches from `start_step` on; `changes` of `options.Data` and of the stream."""
    given = dict(dict(channels=3, depth=8, batch_size=2, seed=3, perturb=None), **changes)
    data = dict(dict(image_size=SIZE, cache="ram", **TURNED),
                **{name: given.pop(name) for name in changes if name in Data.model_fields and name != "channels"})
    return pipeline.TrainingStream(records, Data(**data), **given).batches(start_step)


def batches(dataset, count):
    return [{key: value.numpy() for key, value in batch.items()} for batch in dataset.take(count)]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
