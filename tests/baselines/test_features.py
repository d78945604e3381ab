"""The backbone against known answers and values written down once; files that are refused."""
import os
import pickle

import numpy as np
import pytest
import skimage.data
import skimage.transform
import tensorflow as tf

from grdnet_tf.baselines import features, torch_file
from grdnet_tf.config import load_config
from grdnet_tf.errors import InputError
from grdnet_tf.training import fitted


@pytest.fixture(scope="module")
def astronaut():
    picture = tf.image.resize(skimage.data.astronaut().astype(np.float32), (256, 256)) / 255
    return picture[None]


def test_the_package_has_247_arrays_and_the_network_uses_all():
    arrays = features.read_lite0()
    assert len(arrays) == 247
    network = features.efficientnet_lite0(arrays)
    assert arrays == {}
    # Known pictures: skimage's cat, its cup of coffee, its photographer behind a tripod. ImageNet's numbers of classes.
    for name, classes in (("cat", range(281, 288)), ("coffee", [967]), ("camera", [872])):
        picture = getattr(skimage.data, name)()
        picture = picture if picture.ndim == 3 else np.stack([picture] * 3, -1)
        top, left = ((side - min(picture.shape[:2])) // 2 for side in picture.shape[:2])
        square = picture[top:picture.shape[0] - top, left:picture.shape[1] - left].astype(np.float32)
        shown = tf.image.resize(square, (224, 224), method="bicubic", antialias=True)
        chances = tf.nn.softmax(network((shown[None] - 127) / 128))[0].numpy()
        assert chances.argmax() in classes, name
        if name == "coffee":
            assert chances[967] == pytest.approx(0.94, abs=0.01)


def test_too_many_or_too_few_arrays_are_refused():
    arrays = features.read_lite0()
    with pytest.raises(InputError, match="_extra is left over"):
        features.efficientnet_lite0({**arrays, "_extra": np.zeros(3)})
    del arrays["_bn1.bias"]
    with pytest.raises(InputError, match="_bn1.bias is missing"):
        features.efficientnet_lite0(arrays)


@pytest.fixture(scope="module")
def see():
    return features.Features(enlarged="repeated")


def test_activations_are_those_written_down(see, astronaut):
    # Channels 0 and 39 of stride 8; 0 and 111 of stride 16 (at 40 and 151), at five places of the grid of 32 x 32, and
    # channel 0 of stride 4: written down once from this network, whose answers above were right. Keras 2 and 3 agree.
    places = [(0, 0), (3, 4), (10, 20), (17, 9), (31, 31)]
    expected = [[17.357, -22.058, 1.472, -10.169], [-4.575, 10.276, -0.727, 5.527], [-0.774, 3.094, -1.266, -0.631],
                [12.851, 7.181, -7.756, 5.411], [22.523, -12.171, -2.164, 1.640]]
    first = [1.986, -3.943, -4.288, 25.160, 12.886]
    found = see(astronaut).numpy()
    assert found.shape == (1, 32, 32, 152)
    np.testing.assert_allclose([found[0, row, column, [0, 39, 40, 151]] for row, column in places], expected, atol=2e-3)
    early = features.Features(strides=(4,))(astronaut).numpy()
    np.testing.assert_allclose([early[0, 2 * row, 2 * column, 0] for row, column in places], first, atol=2e-3)


def test_grey_pictures_are_seen_as_grey_ones_in_colour(see, astronaut):
    grey = astronaut[..., :1]
    np.testing.assert_array_equal(see(grey), see(tf.repeat(grey, 3, axis=-1)))


def test_a_neighbourhood_averages_each_stride_before_it_is_repeated(see, astronaut):
    plain, averaged = see(astronaut).numpy()[0], features.Features(neighbourhood=3, enlarged="repeated")(astronaut).numpy()[0]
    np.testing.assert_allclose(averaged[5, 7, 3], plain[4:7, 6:9, 3].mean(), rtol=1e-4)
    coarse = plain[::2, ::2, 40:]  # stride 16, each repeated twice
    np.testing.assert_allclose(averaged[10, 12, 45], coarse[4:7, 5:8, 5].mean(), rtol=1e-4)
    np.testing.assert_array_equal(averaged[10, 12, 40:], averaged[11, 13, 40:])


def test_a_larger_stride_is_enlarged_between_its_places(see, astronaut):
    smooth = features.Features()(astronaut).numpy()[0]
    plain = see(astronaut).numpy()[0]
    np.testing.assert_array_equal(smooth[..., :40], plain[..., :40])
    expected = skimage.transform.resize(plain[::2, ::2, 40:], (32, 32), order=1, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(smooth[..., 40:], expected, atol=1e-3)


def test_a_run_sees_as_its_configuration_says(see, astronaut):
    """What patchcore.yaml has, and what padim.yaml leaves at the default."""
    repeated = fitted.build_features(load_config("patchcore", ["features.neighbourhood=1"]))(astronaut)
    np.testing.assert_array_equal(repeated, see(astronaut))
    alone = fitted.build_features(load_config("padim", ["features.wavelets=false"]))
    np.testing.assert_array_equal(alone(astronaut), features.Features()(astronaut))
    assert np.abs(features.Features()(astronaut) - see(astronaut)).max() > 1


def test_an_unknown_stride_and_a_network_without_weights_are_named():
    with pytest.raises(InputError, match="features.strides.*efficientnet_lite0 has"):
        features.Features(strides=(7,))
    with pytest.raises(InputError, match="resnet50 needs the path of a weights file, or `imagenet`"):
        features.Features("resnet50")
    with pytest.raises(InputError, match="features.weights = /nowhere.h5: no such file"):
        features.Features("resnet50", weights="/nowhere.h5")


def test_a_network_of_keras_takes_a_file(tmp_path, astronaut):
    network = tf.keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(None, None, 3))
    path = str(tmp_path / "mobilenet.weights.h5")
    network.save_weights(path)
    see = features.Features("mobilenet_v2", weights=path)
    layers = [network.get_layer(name).output for name in ("block_5_add", "block_12_add")]
    eight, sixteen = tf.keras.Model(network.input, layers)(2 * astronaut - 1)  # its own range is [-1, 1]
    found = see(astronaut).numpy()
    np.testing.assert_allclose(found[..., :eight.shape[-1]], eight, atol=1e-4)
    np.testing.assert_allclose(found[:, ::2, ::2, eight.shape[-1]:], sixteen, atol=1e-4)
    (tmp_path / "torn.weights.h5").write_bytes((tmp_path / "mobilenet.weights.h5").read_bytes()[:5000])
    with pytest.raises(InputError, match="torn.weights.h5: no weights of mobilenet_v2"):
        features.Features("mobilenet_v2", weights=str(tmp_path / "torn.weights.h5"))


def test_a_file_that_is_not_the_known_one_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "lite0.pth"
    path.write_bytes(b"anything")
    with pytest.raises(InputError, match="lite0.pth: not the weights of EfficientNet-Lite0: SHA-256"):
        features.read_lite0(str(path))
    with pytest.raises(InputError, match="nowhere.pth: No such file"):
        features.read_lite0(str(tmp_path / "nowhere.pth"))


class Hostile:
    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return os.mkdir, (self.touched,)


def write_legacy(path, state, keys=(), numbers=b""):
    with open(path, "wb") as stream:
        for part in (torch_file.MAGIC, torch_file.PROTOCOL, {}, state, list(keys)):
            pickle.dump(part, stream, protocol=2)
        stream.write(numbers)


def test_a_hostile_pickle_runs_nothing(tmp_path):
    path, touched = str(tmp_path / "hostile.pth"), str(tmp_path / "touched")
    write_legacy(path, {"weight": Hostile(touched)})
    with pytest.raises(InputError, match="hostile.pth: asks for (posix|nt).mkdir, which no weights need; refused"):
        torch_file.read(path)
    assert not os.path.exists(touched)


@pytest.mark.parametrize("state", [{"weight": 3}, [1, 2], None])
def test_a_state_without_tensors_is_damaged(tmp_path, state):
    path = str(tmp_path / "odd.pth")
    write_legacy(path, state)
    with pytest.raises(InputError, match="odd.pth: damaged"):
        torch_file.read(path)


def test_a_file_cut_short_is_damaged(tmp_path):
    whole = features._installed()
    path = tmp_path / "short.pth"
    with open(whole, "rb") as stream:
        path.write_bytes(stream.read(1_000_000))
    with pytest.raises(InputError, match="short.pth: damaged"):
        torch_file.read(str(path))


def test_a_tensor_outside_of_its_numbers_is_damaged():
    storage = torch_file._Storage("0", np.dtype("<f4"), 6)
    numbers = np.arange(6, dtype=np.float32)
    good = torch_file._Tensor(storage, 0, (2, 3), (1, 2))  # columns first
    np.testing.assert_array_equal(torch_file._view(numbers, good), [[0, 2, 4], [1, 3, 5]])
    for wrong in (good._replace(offset=1), good._replace(strides=(4, 2)), good._replace(offset=-1)):
        with pytest.raises(ValueError, match="outside"):
            torch_file._view(numbers, wrong)
