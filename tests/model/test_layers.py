"""The blocks: what a shortcut computes."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.model.layers import SLOPE, ResidualBlock


@pytest.mark.parametrize("filters", [3, 16])  # oneDNN's filter gradient of a strided 1x1 convolution broke below 16
def test_the_shortcut_that_halves_is_a_strided_1x1_convolution(filters):
    """Its values against TensorFlow's own, the gradient of its kernel against sums over pixels in float64."""
    tf.keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 8, 12, 5)).astype(np.float32)
    weight = rng.normal(size=(2, 4, 6, filters)).astype(np.float32)
    block = ResidualBlock(filters, stride=2, batch_norm=False)
    block(x)
    kernel, bias = block.shortcut.conv.trainable_variables
    bias.assign(rng.normal(size=filters).astype(np.float32))
    with tf.GradientTape() as tape:
        shortcut = block(x) - block.second(block.first(x))
        loss = tf.reduce_sum(weight * shortcut)
    gradient = tape.gradient(loss, [kernel, bias])
    before = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 2, "SAME"), bias).numpy().astype(np.float64)
    np.testing.assert_allclose(shortcut, np.where(before > 0, before, SLOPE * before), atol=1e-5)
    slope = weight * np.where(before > 0, 1.0, SLOPE)
    expected = np.einsum("bhwi,bhwo->io", x[:, ::2, ::2].astype(np.float64), slope)
    np.testing.assert_allclose(gradient[0][0, 0], expected, atol=1e-3)
    np.testing.assert_allclose(gradient[1], slope.sum((0, 1, 2)), atol=1e-3)


def test_a_pre_activated_block_adds_to_what_came_in_untouched():
    """x + conv(act(norm(conv(act(norm(x)))))), each step in NumPy or TensorFlow's own convolution."""
    tf.keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 8, 4)).astype(np.float32)
    block = ResidualBlock(4, pre_activation=True)
    block(x)
    for norm in (block.enter.norm, block.first.norm):
        for weight in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))

    def activated(values, norm):
        gamma, beta, mean, variance = (np.asarray(w) for w in (norm.gamma, norm.beta, norm.moving_mean,
                                                               norm.moving_variance))
        values = gamma * (np.asarray(values) - mean) / np.sqrt(variance + norm.epsilon) + beta
        return np.where(values > 0, values, SLOPE * values)

    y = np.asarray(tf.nn.conv2d(activated(x, block.enter.norm), block.first.conv.kernel, 1, "SAME"))
    y = np.asarray(tf.nn.conv2d(activated(y, block.first.norm), block.second.conv.kernel, 1, "SAME"))
    np.testing.assert_allclose(block(x), x + y, atol=1e-4)
