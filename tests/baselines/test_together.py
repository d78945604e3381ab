"""A network's activations and wavelets on one grid."""
import numpy as np
import pytest

from grdnet_tf import config as configuration
from grdnet_tf.baselines.scattering import Scattering
from grdnet_tf.baselines.together import Together
from grdnet_tf.training import fitted


@pytest.fixture(scope="module")
def both():
    config = configuration.load_config("padim")
    return fitted.build_features(configuration.replace(config, data__channels="1"))


def test_the_channels_of_all_one_after_the_other(both):
    images = np.random.default_rng(0).random((2, 32, 48, 1), np.float32)
    found = both(images).numpy()
    assert found.shape == (2, 4, 6, 152 + 178) and both.channels == 330 and both.strides == (8, 16)
    np.testing.assert_allclose(found[..., 152:], Scattering(1)(images), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[..., :152], both.parts[0](images), rtol=1e-4, atol=1e-5)


def test_the_digest_changes_with_any_part_and_the_weights_are_those_of_the_network(both):
    network, wavelets = both.parts
    others = Together([wavelets, network]), Together([network, Scattering(1, neighbourhood=3)])
    assert len({one.digest() for one in (both, network, wavelets, *others)}) == 5
    assert len(both.weights) == len(network.weights) > 0 and both.rounding == wavelets.rounding
