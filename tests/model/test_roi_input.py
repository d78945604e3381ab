"""The region of interest as an input of the segmenter: one network for pictures that come with a region and without."""
import numpy as np
import pytest
import tensorflow as tf
from tiny_model import batch, tiny

from grdnet_tf.options import Loss


def test_a_region_that_is_shown_changes_the_map_inside_it():
    data = batch()
    for shown in (True, False):
        model = tiny(segmenter_roi=shown)
        without, given = (model(data["image"], roi=roi).anomaly_map.numpy() * data["roi"]
                          for roi in (None, data["roi"]))
        assert (np.abs(without - given).max() > 1e-4) == shown


def test_a_region_of_ones_is_bit_for_bit_none():
    model, images = tiny(segmenter_roi=True), batch()["image"]
    whole = model(images, roi=np.ones((4, 16, 16, 1), np.float32))
    for ours, theirs in zip(whole, model(images)):
        np.testing.assert_array_equal(ours, theirs)


def test_the_map_is_0_outside():
    model, data = tiny(segmenter_roi=True), batch()
    assert float(tf.reduce_max(model(data["image"], roi=data["roi"]).anomaly_map * (1.0 - data["roi"]))) == 0.0


@pytest.mark.parametrize("number, whole", [(6, [True, False, True, False]), (7, [False, True, False, True])])
def test_a_picture_comes_with_its_region_in_every_second_pass(number, whole):
    """Seeds are [a number of the pass, the record]: here the records 1 to 4 in two passes that follow each other."""
    model, shown = tiny(segmenter_roi=True), []
    model.compile(objective=Loss(), jit_compile=False, run_eagerly=True)
    segment = model.segment
    model.segment = lambda *seen, training: shown.append(seen[3]) or segment(*seen, training=training)
    data = dict(batch(), seed=tf.constant([[number, i] for i in range(1, 5)], tf.int32))
    model.train_step(data)
    for i, all_of_it in enumerate(whole):
        np.testing.assert_array_equal(shown[0][i], np.ones((16, 16, 1)) if all_of_it else data["roi"][i])


def test_without_seeds_every_second_of_a_batch_has_its_region():
    model, shown = tiny(segmenter_roi=True), []
    model.compile(objective=Loss(), jit_compile=False, run_eagerly=True)
    segment = model.segment
    model.segment = lambda *seen, training: shown.append(seen[3]) or segment(*seen, training=training)
    model.train_step(batch())
    assert [bool(np.all(one == 1)) for one in shown[0]] == [False, True, False, True]
