"""The same defects from the same seeds: eager, in a graph, in XLA, in tf.data, whatever else is in the batch."""
import numpy as np
import pytest
import tensorflow as tf
from noise import ALL_SOURCES, ALWAYS, EVERYTHING, NOISE, pictures, seeds, textures

from grdnet_tf.defects.perturb import perturb, sample


def test_draws_are_uniform():
    draws = sample(seeds(64), NOISE)
    for numbers in (draws.lattice, draws.source.grid):
        counts, _ = np.histogram(numbers, bins=16, range=(0.0, 1.0))
        expected = numbers.numpy().size / 16
        assert np.abs(counts - expected).max() < 5.0 * np.sqrt(expected)  # 5 standard deviations
    assert 0.0 <= draws.lattice.numpy().min() and draws.lattice.numpy().max() < 1.0


@pytest.mark.slow
def test_eager_graph_xla_and_tf_data():
    settings = EVERYTHING.replace(within_roi=1.0)
    image, seed, texture = pictures(), seeds(6), tf.constant(textures())
    roi = np.zeros(image.shape[:3] + (1,), np.float32)
    roi[:, 10:40, 5:30] = 1.0

    def run(image, roi, seed):
        return perturb(image, roi, seed, settings, texture)

    eager = run(image, roi, seed)
    data = tf.data.Dataset.from_tensors((image, roi, seed)).map(run)
    for other in (tf.function(run)(image, roi, seed), next(iter(data))):
        np.testing.assert_allclose(other[0], eager.noisy, atol=1e-6)
        np.testing.assert_array_equal(other[1], eager.mask)
    compiled = tf.function(run, jit_compile=True)(*map(tf.constant, (image, roi, seed)))
    differs = compiled.mask.numpy() != eager.mask.numpy()
    assert differs.mean() < 1e-4  # a pixel whose noise lies on its threshold
    np.testing.assert_allclose(np.where(differs, 0, compiled.noisy), np.where(differs, 0, eager.noisy), atol=1e-6)
    assert eager.mask.numpy().sum() > 50


@pytest.mark.parametrize("name", ALL_SOURCES)
def test_xla_compiles_each_source(name):
    image, seed, texture = pictures(count=2, height=24, width=16), seeds(2), tf.constant(textures())
    settings = ALWAYS.replace(sources={name: 1.0}, threshold=(-0.5, 0.0))
    run = tf.function(lambda i, s: perturb(i, None, s, settings, texture), jit_compile=True)
    compiled = run(tf.constant(image), tf.constant(seed))
    eager = perturb(image, None, seed, settings, texture)
    np.testing.assert_array_equal(compiled.mask, eager.mask)
    np.testing.assert_allclose(compiled.noisy, eager.noisy, atol=1e-6)


def test_a_sample_does_not_depend_on_its_companions():
    image, seed, texture = pictures(), seeds(6), textures()
    together = perturb(image, None, seed, EVERYTHING, texture)
    order = [4, 1, 3]
    some = perturb(image[order], None, seed[order], EVERYTHING, texture)
    np.testing.assert_array_equal(some.mask, together.mask.numpy()[order])
    np.testing.assert_allclose(some.noisy, together.noisy.numpy()[order], atol=1e-6)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_what_is_worked_out_for_some_is_what_is_worked_out_for_all(probability):
    settings = EVERYTHING.replace(within_roi=0.5, soft_edges=0.5, seamless=0.5, probability=probability)
    image, seed, texture = pictures(), seeds(6), tf.constant(textures())
    roi = np.zeros(image.shape[:3] + (1,), np.float32)
    roi[:, 10:40, 5:30] = 1.0
    everything = perturb(image, roi, seed, settings, texture)
    some = perturb(image, roi, seed, settings, texture, sparing=True)
    np.testing.assert_array_equal(some.mask, everything.mask)
    np.testing.assert_array_equal(some.noisy, everything.noisy)
    assert (everything.mask.numpy().sum() > 20) == (probability > 0)


def test_batch_of_unknown_size():
    image, seed = pictures(count=5), seeds(5)
    data = tf.data.Dataset.from_tensor_slices((image, seed)).batch(4)
    data = data.map(lambda i, s: perturb(i, None, s, EVERYTHING.replace(sources={**ALL_SOURCES, "texture": 0.0})))
    assert [batch.noisy.shape[0] for batch in data] == [4, 1]


def test_another_seed_is_another_defect():
    image = pictures(count=1)
    pairs = np.int32([[[0, 0]], [[0, 1]], [[1, 0]]])
    masks = [perturb(image, None, seed, ALWAYS).mask.numpy() for seed in pairs]
    assert (masks[0] != masks[1]).any() and (masks[0] != masks[2]).any() and (masks[1] != masks[2]).any()
