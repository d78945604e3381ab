"""Fixed wavelets: against SciPy on a small picture, what light and borders do to them, and what their options refuse."""
import numpy as np
import pytest
from scipy import ndimage

from grdnet_tf.baselines import scattering
from grdnet_tf.baselines.scattering import Scattering, wavelets
from grdnet_tf.config import load_config, plain, replace
from grdnet_tf.errors import InputError
from grdnet_tf.training import fitted


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).uniform(0.2, 0.8, (24, 16)).astype(np.float32)


def seen(layer, picture):
    return layer(np.asarray(picture, np.float32).reshape(1, *picture.shape[:2], -1))[0].numpy()


def test_wavelets_answer_to_lines_and_edges_of_their_orientation_and_to_nothing_flat():
    kernels = wavelets(0.8)
    assert kernels.shape == (7, 7, 1, 8) and wavelets(1.6).shape == (13, 13, 1, 8)
    np.testing.assert_allclose(kernels.sum(axis=(0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(kernels).sum(axis=(0, 1)), 1, rtol=1e-5)
    upright, edge = np.zeros((7, 7), np.float32), np.zeros((7, 7), np.float32)
    upright[:, 3], edge[:, 4:] = 1, 1
    answers = [np.abs(np.einsum("yx,yxo->o", shape, kernels[:, :, 0])) for shape in (upright, upright.T, edge, edge.T)]
    assert [part[:4].argmax() for part in answers[:2]] == [0, 2]  # lines across x, then across y
    assert [part[4:].argmax() for part in answers[2:]] == [0, 2]


def halved(values):
    return values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2).mean(axis=(1, 3))


def energy(line, edge):
    return np.sqrt(np.square(line) + np.square(edge) + 1e-8)


def both(values, kernels):
    """(lines, edges), each [orientation] of (H, W)."""
    found = [ndimage.correlate(values, kernel, mode="nearest") for kernel in np.moveaxis(kernels[:, :, 0], -1, 0)]
    return found[:4], found[4:]


def test_energies_of_both_orders_are_those_of_scipy(picture):
    light = picture.astype(np.float64) * 0.3 / picture.mean()
    first, second = wavelets(0.8).astype(np.float64), wavelets(1.6).astype(np.float64)
    expected, level = [], light
    for number in range(2):  # two scales, on a grid of 2 x 2 pixels
        lines, edges = both(level, first)
        energies = [energy(*pair) for pair in zip(lines, edges)]
        cells = [lambda x: halved(x), lambda x: x][number]
        expected += [cells(one) for one in energies]
        highest = [lambda x: x.reshape(12, 2, 8, 2).max(axis=(1, 3)), lambda x: x][number]
        expected += [highest(np.abs(line)) for line in lines]
        expected += [cells(np.maximum(np.max(lines, axis=0), 0)), cells(np.maximum(-np.min(lines, axis=0), 0))]
        if number == 0:
            for one in energies:
                expected += [energy(*pair) for pair in zip(*both(halved(one), second))]
        level = halved(level)
    found = seen(Scattering(1, (2,)), picture)
    energies = np.stack(expected, axis=-1)
    np.testing.assert_allclose(found[..., :energies.shape[-1]], 0.9 * np.log(energies + 3e-4), atol=1e-3)
    mean = light.reshape(12, 2, 8, 2).mean(axis=(1, 3)) - 0.3
    np.testing.assert_allclose(found[..., energies.shape[-1]], 3 * mean, atol=1e-5)
    spread = light.reshape(12, 2, 8, 2).std(axis=(1, 3))
    np.testing.assert_allclose(found[..., energies.shape[-1] + 1], 0.9 * np.log(np.maximum(spread, 1e-3) + 3e-4), atol=1e-3)
    assert found.shape[-1] == energies.shape[-1] + 2


def test_energies_of_energies_are_taken_by_the_first_wavelets_two_levels_lower_where_the_grid_allows(picture):
    light = picture.astype(np.float64) * 0.3 / picture.mean()
    first = wavelets(0.8).astype(np.float64)
    energies = [halved(halved(energy(*pair))) for pair in zip(*both(light, first))]
    expected = np.stack([energy(*pair) for one in energies for pair in zip(*both(one, first))], axis=-1)
    found = seen(Scattering(1, (4,)), picture)[..., 10:26]  # behind energies, and strongest lines, of the first level
    np.testing.assert_allclose(found, 0.9 * np.log(expected + 3e-4), atol=1e-3)


def test_a_larger_stride_gives_averages_of_the_energies_over_neighbouring_cells(picture):
    alone, wide = seen(Scattering(1, (4,)), picture), seen(Scattering(1, (4, 8)), picture)
    np.testing.assert_array_equal(wide[..., :alone.shape[-1]], alone)
    energies = alone.shape[-1] - 2  # without colour
    np.testing.assert_allclose(wide[2, 2, alone.shape[-1]:], alone[:5, :4, :energies].mean(axis=(0, 1)), rtol=1e-4)
    assert wide.shape[-1] == alone.shape[-1] + energies


@pytest.mark.parametrize("colours, strides, channels", [(1, (8, 16), 178), (3, (8, 16), 234), (1, (8,), 90)])
def test_as_many_numbers_a_place_as_it_says(colours, strides, channels):
    layer = Scattering(colours, strides)
    assert layer.channels == channels
    assert layer(np.zeros((2, 16, 32, colours), np.float32)).shape == (2, 2, 4, channels)


def test_the_exposure_of_a_picture_hardly_matters_and_a_mark_does(picture):
    layer = Scattering(1, (8,))
    marked = picture.copy()
    marked[4:20, 7] = 1
    plain, dark, found = (seen(layer, part) for part in (picture, 0.6 * picture, marked))
    assert np.abs(dark - plain).max() < 1e-3
    assert np.abs(found - plain).mean() > 10 * np.abs(dark - plain).mean()


def test_colours_are_seen_apart_from_brightness():
    grey = np.full((16, 16, 3), 0.5, np.float32)
    tinted = grey.copy()
    tinted[:8] += np.array([0.1, -0.1, 0], np.float32)
    layer = Scattering(3, (8,))
    change = np.abs(seen(layer, tinted) - seen(layer, grey))
    assert change[0].max() > 0.5  # the mean of red less green
    assert seen(layer, grey).shape == (2, 2, 122)


def test_a_patch_may_be_averaged_over_its_neighbours_for_patchcore(picture):
    alone, smooth = seen(Scattering(1, (4,)), picture), seen(Scattering(1, (4,), neighbourhood=3), picture)
    np.testing.assert_allclose(smooth[1, 1], alone[:3, :3].mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)


def test_the_digest_is_of_what_it_depends_on(monkeypatch):
    one = Scattering(1, (8, 16)).digest()
    assert one == Scattering(3, (8, 16)).digest() and len(one) == 64  # the same wavelets
    assert one != Scattering(1, (8,)).digest()
    monkeypatch.setattr(scattering, "FLOOR", 1e-3)
    assert one != Scattering(1, (8, 16)).digest()


@pytest.mark.parametrize("key, value", [("weights", "lite0.pth"), ("enlarged", "repeated"), ("wavelets", True)])
def test_what_only_a_trained_network_reads_is_refused(key, value):
    with pytest.raises(InputError) as caught:
        load_config("padim_scattering", [f"features.{key}={value}"])
    assert f"features.{key} = {plain(value)} does not go with features.backbone: scattering" in str(caught.value)
    assert str(caught.value).endswith({"weights": "set it to null", "enlarged": "set it to bilinear",
                                       "wavelets": "set it to false"}[key])


def test_the_shipped_configuration_needs_no_package(monkeypatch):
    monkeypatch.setattr("grdnet_tf.baselines.features.PACKAGE", "no_such_package")
    layer = fitted.build_features(replace(load_config("padim_scattering"), data__channels="1"))
    assert isinstance(layer, Scattering) and layer.strides == (8, 16)
