"""DRAEM against its formulas in NumPy: its losses, what they reach, its networks' sizes."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.baselines.draem import DRAEM, SEGMENTER_WIDTHS, WIDTHS, Hourglass
from grdnet_tf.model.weights import network_arrays, restore_training, training_arrays
from grdnet_tf.options import Loss

keras = tf.keras


def tiny(seed=1, objective=Loss(), **options):
    keras.utils.set_random_seed(seed)
    model = DRAEM((16, 16), 3, widths=(4, 6, 8), segmenter_widths=(4, 8), score_pool=3, **options)
    model.compile(learning_rate=0.01, objective=objective, jit_compile=False, run_eagerly=True)
    return model


def batch(seed=0):
    image, noisy = np.random.default_rng(seed).random((2, 3, 16, 16, 3)).astype(np.float32)
    mask, roi = np.zeros((2, 3, 16, 16, 1), np.float32)
    mask[:, 3:9, 2:14], roi[:, :, :8] = 1.0, 1.0
    return dict(image=image, noisy=noisy, mask=mask, roi=roi)


def tensors(data):
    return {name: tf.constant(part) for name, part in data.items()}


@pytest.mark.parametrize("training", [False, True])
def test_each_term_is_the_paper_s_formula(training):
    model, data = tiny(), batch()
    terms, logits = model.forward(tensors(data), training)
    fake = model.generator(data["noisy"], training=training).numpy()
    seen = model.segmenter(np.concatenate([data["noisy"], fake], -1), training=training).numpy()
    np.testing.assert_allclose(logits, seen, rtol=1e-4, atol=1e-5)
    p = 1.0 / (1.0 + np.exp(-seen.astype(np.float64)))
    focal = np.where(data["mask"] > 0, -(1 - p) ** 2 * np.log(p), -p ** 2 * np.log(1 - p))  # the ROI is not asked
    expected = {"l2": np.square(data["image"] - fake).mean(), "segmentation": focal.mean(),
                "ssim": 1.0 - np.mean(tf.image.ssim(data["image"], fake, 1.0))}
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=2e-4)


def test_the_focal_loss_reaches_the_reconstruction_and_the_others_do_not_reach_the_segmenter():
    model, reached = tiny(), {}
    with tf.GradientTape(persistent=True) as tape:
        terms, _ = model.forward(tensors(batch()), True)
        found = model.objectives(terms)
    for name, loss in {**terms, **found}.items():
        reached[name] = {part for part in ("generator", "segmenter") if any(
            g is not None and np.any(g != 0) for g in tape.gradient(loss, getattr(model, part).trainable_variables))}
    assert reached == {"l2": {"generator"}, "ssim": {"generator"}, "segmentation": {"generator", "segmenter"},
                       "generator": {"generator", "segmenter"}, "segmenter": {"generator", "segmenter"}}


def test_weights():
    terms = {"l2": 2.0, "ssim": 3.0, "segmentation": 5.0}
    assert tiny().objectives(terms) == {"generator": 10.0, "segmenter": 5.0}
    assert tiny(objective=Loss(ssim=0.5, segmentation=2.0)).objectives(terms) == {"generator": 13.5, "segmenter": 10.0}


def test_two_adams_are_one():
    """Each network by its own optimizer is the paper's one Adam over the sum of the losses."""
    model, other = tiny(), tiny()
    data = tensors(batch())
    model.train_step(data)
    weights = other.generator.trainable_variables + other.segmenter.trainable_variables
    adam = keras.optimizers.Adam(0.01)
    adam.build(weights)
    with tf.GradientTape() as tape:
        loss = sum(other.forward(data, True)[0].values())
    adam.apply_gradients(zip(tape.gradient(loss, weights), weights))
    expected = network_arrays(other)
    for name, found in network_arrays(model).items():
        np.testing.assert_allclose(found, expected[name], atol=2e-5, err_msg=name)


def test_score_map_and_roi():
    model, data = tiny(), batch()
    plain, inside = model(data["noisy"]), model(data["noisy"], roi=data["roi"])
    fake = model.generator(data["noisy"]).numpy()
    logits = model.segmenter(np.concatenate([data["noisy"], fake], -1)).numpy()
    np.testing.assert_allclose(plain.anomaly_map, 1.0 / (1.0 + np.exp(-logits)), atol=1e-5)
    assert np.array_equal(inside.anomaly_map, plain.anomaly_map * data["roi"])
    pooled = tf.nn.avg_pool2d(inside.anomaly_map, 3, 1, "SAME")
    np.testing.assert_allclose(inside.score, np.max(pooled, axis=(1, 2, 3)), rtol=1e-5)
    assert np.array_equal(plain.reconstruction, np.clip(fake, 0, 1)) and fake.min() < 0  # the network itself is linear


def test_a_restored_model_takes_the_same_step():
    model, other = tiny(1), tiny(2)
    model.train_step(batch(0))
    restore_training(other, training_arrays(model), "here")
    for one in (model, other):
        one.train_step(batch(1))
    found = network_arrays(other)
    assert all(np.array_equal(part, found[name]) for name, part in network_arrays(model).items())


def test_the_paper_s_sizes():
    """69.0 and 28.4 million weights: each convolution is 9 in out, and 2 numbers a channel of its norm."""
    def count(widths, entered, out, skips):
        total, last = 0, entered
        for width in widths:
            total += 9 * last * width + 9 * width * width + 4 * width
            last = width
        for level in range(len(widths) - 2, -1, -1):
            narrow = widths[max(level - 1, 0)]
            rise = narrow if skips else widths[level]
            joined = rise + widths[level] * skips
            total += 9 * last * rise + 9 * joined * rise + 9 * rise * narrow + 2 * (2 * rise + narrow)
            last = narrow
        return total + 9 * last * out + out

    expected = count(WIDTHS, 3, 3, False), count(SEGMENTER_WIDTHS, 6, 1, True)
    assert [round(number / 1e6, 1) for number in expected] == [69.0, 28.4]
    small = Hourglass((4, 6, 8), 1, True, "small", batch_norm=True, synchronized=False)
    small(tf.zeros((1, 8, 8, 6)))
    assert sum(int(np.prod(w.shape)) for w in small.trainable_weights) == count((4, 6, 8), 6, 1, True)
