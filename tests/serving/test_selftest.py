"""The self-test: what it lets pass, and every way in which it stops an export."""
import os
import shutil

import pytest
from small_served import random_model

from grdnet_tf.errors import ExportStopped
from grdnet_tf.serving import folding, selftest, signatures


def test_the_self_test_passes_and_tells_how_far_apart(folder, model, thresholds):
    offered = signatures.signatures(folding.inference_half(model), thresholds, (1, 4))
    worst = selftest.check(folder, model, thresholds, offered)
    assert 0 < worst["score"] < 1e-5 and 0 < worst["anomaly_map"] < 1e-5


@pytest.mark.slow
def test_the_self_test_finds_other_weights_and_missing_signatures(folder, model, thresholds):
    offered = signatures.signatures(folding.inference_half(model), thresholds, (1, 4))
    with pytest.raises(ExportStopped, match="no signature static_b2"):
        selftest.check(folder, model, thresholds, dict(offered, static_b2=offered["static_b1"]))
    other = random_model()
    bias = other.segmenter.mark.bias
    bias.assign(bias.numpy() + 0.01)
    with pytest.raises(ExportStopped, match="serving_default is not what the Keras model gives"):
        selftest.check(folder, other, thresholds, offered)


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index",
                                  "variables/variables.data-00000-of-00001"])
@pytest.mark.parametrize("damage", [os.remove, lambda path: os.truncate(path, os.path.getsize(path) // 2)],
                         ids=["missing", "half"])
def test_a_saved_model_that_cannot_be_loaded_is_one_line(folder, tmp_path, file, damage):
    copy = str(tmp_path / "copy")
    shutil.copytree(folder, copy)
    damage(os.path.join(copy, file))
    with pytest.raises(ExportStopped, match="self-test: the SavedModel cannot be loaded: .") as error:
        selftest.Session(copy)
    assert "\n" not in str(error.value)
