"""Fixtures of this folder."""
import numpy as np
import pytest
from tiny_keras import FLOATS, NOISE, keras, tiny

from grdnet_tf.model.grdnet import NETWORKS
from grdnet_tf.options import Loss


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model after two steps in a graph, with every argument of compile off its default; its `.keras` file."""
    model = tiny()
    rates = {f"{name}_optimizer": keras.optimizers.Adam(rate) for name, rate in zip(NETWORKS, (1e-3, 2e-3, 3e-3))}
    model.compile(**rates, clip_norm=0.5, objective=Loss(l1=2.0, l2=0.25, segmentation=3.0, roi_reading="overlap"),
                  noise=NOISE.replace(sources={"texture": 1.0}, opacity=(0.5, 0.9)), jit_compile=False,
                  textures=np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3))
    model.fit(np.concatenate([FLOATS, FLOATS]), batch_size=4, verbose=0)
    model.set_learning_rates(lambda rate: rate / 4.0)
    path = str(tmp_path_factory.mktemp("saved") / "model.keras")
    model.save(path)
    return model, path
