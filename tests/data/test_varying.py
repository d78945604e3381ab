"""A good picture as it might have come another time: what may change in it, and by how much."""
import cv2
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.data import varying
from grdnet_tf.data.augmentation import augment_batch
from grdnet_tf.data.varying import compressed, varied

STILL = dict(rotation=0.0, flip_horizontal=False, flip_vertical=False, border="reflect")


def scene(channels=3, size=(96, 128)):
    """Smooth, of 0.2 to 0.8, with a bright square."""
    y, x = np.mgrid[:size[0], :size[1]] / max(size)
    picture = np.stack([0.2 + 0.3 * y + 0.2 * x + 0.02 * i for i in range(channels)], -1).astype(np.float32)
    picture[30:50, 40:70] = 0.8
    return picture


def several(image, count=40, **options):
    return np.stack([varied(image, np.random.default_rng(i), **options) for i in range(count)])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_range_stays_and_the_same_numbers_give_the_same_picture(channels):
    image = scene(channels)
    kept = image.copy()
    found = several(image)
    assert found.dtype == np.float32 and found.shape == (40, *image.shape)
    assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(varied(image, np.random.default_rng(7)), found[7])
    assert len({one.tobytes() for one in found}) == 40


def test_light_changes_by_a_tenth_at_most_and_noise_by_a_hundredth():
    flat = np.full((64, 64, 1), 0.5, np.float32)
    found = several(flat, 200, depth=16)
    means, noise = found.mean(axis=(1, 2, 3)), found.std(axis=(1, 2, 3))
    assert 0.449 < means.min() < 0.46 and 0.54 < means.max() < 0.551
    assert noise.min() < 0.0005 and 0.004 < noise.max() < 0.0052  # of the brightest value, 0.5


def test_dim_pictures_of_a_deep_camera_change_as_much_as_bright_ones():
    """12 bit in files of 16: a gamma of the file's range would change them by a quarter."""
    for value in (0.5, 0.0625, 0.002):
        flat = np.full((32, 32, 1), value, np.float32)
        trained = augment_batch(tf.constant(np.stack([flat] * 100)), None, tf.constant([[i, 4] for i in range(100)]),
                                varied=1.0, **STILL)[0].numpy()
        for found in (several(flat, 100, depth=16), trained):
            means, noise = found.mean(axis=(1, 2, 3)) / value, found.std(axis=(1, 2, 3)) / value
            assert 0.89 < means.min() < 0.92 and 1.08 < means.max() < 1.11 and 0.008 < noise.max() < 0.0105


def test_a_black_picture_stays_black():
    black = np.zeros((8, 8, 3), np.float32)
    assert not several(black, 10, depth=16).any()
    assert not augment_batch(tf.constant(black[None]), None, tf.constant([[1, 2]]), varied=1.0, **STILL)[0].numpy().any()


def test_edges_move_by_half_a_hundredth_of_the_side():
    image = np.zeros((400, 400, 1), np.float32)
    image[:, 200:] = 1
    edges = {int(np.argmax(one[200, :, 0] > 0.5)) for one in several(image, 60)}
    assert edges == {198, 199, 200, 201, 202}


def test_pictures_of_more_than_8_bit_keep_their_values():
    """JPEG would leave 256 of them."""
    ramp = np.linspace(0.1, 0.11, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
    jpegs = [sum(len(np.unique(varied(ramp, np.random.default_rng(i), depth=depth))) < 40 for i in range(20))
             for depth in (8, 16)]
    assert jpegs[0] >= 5 and jpegs[1] == 0


def test_compressed_is_what_a_file_would_hold():
    image = scene()
    found = compressed(image, 90)
    pixels = np.round(image * 255).astype(np.uint8)
    file = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    expected = cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(np.round(found * 255).astype(np.uint8), expected)
    assert 0 < np.abs(found - image).mean() < np.abs(compressed(image, 30) - image).mean()


def test_gamma_bends_what_lies_between_black_and_the_brightest(monkeypatch):
    for name, value in (("GAIN", 0.0), ("NOISE", 0.0), ("FOCUS", (0.01, 0.01)), ("ASIDE", 0.0)):
        monkeypatch.setattr(varying, name, value)
    ramp = np.linspace(0, 0.5, 64, dtype=np.float32).reshape(1, 64, 1).repeat(8, 0)
    trained = augment_batch(tf.constant(np.stack([ramp] * 60)), None, tf.constant([[i, 4] for i in range(60)]),
                            varied=1.0, **STILL)[0].numpy()
    for found in (several(ramp, 60, depth=16), trained):
        middle = found[:, 4, 32, 0] / ramp[4, 32, 0]  # 0.508 of the brightest: to the power of 0.95 to 1.05
        assert 0.966 < middle.min() < 0.972 and 1.028 < middle.max() < 1.035
        np.testing.assert_allclose(found[:, 4, [0, 63], 0], [[0, 0.5]] * 60, atol=1e-6)


def test_in_training_a_share_is_varied_each_by_its_own_seed():
    images = tf.constant(np.stack([scene()] * 64))
    seeds = tf.constant([[i, 3] for i in range(64)])
    found = augment_batch(images, None, seeds, varied=0.5, **STILL)[0].numpy()
    same = (found == images.numpy()).all(axis=(1, 2, 3))
    assert 20 <= same.sum() <= 44 and found.min() >= 0 and found.max() <= 1
    alone = augment_batch(images[5:6], None, seeds[5:6], varied=0.5, **STILL)[0].numpy()
    np.testing.assert_allclose(alone[0], found[5], atol=1e-6)
    assert augment_batch(images, None, seeds, varied=0.0, **STILL)[0] is images


def test_in_training_light_and_noise_are_as_large_and_blur_keeps_the_mean():
    flat = tf.fill((200, 32, 32, 1), 0.5)
    seeds = tf.constant([[i, 9] for i in range(200)])
    found = augment_batch(flat, None, seeds, varied=1.0, **STILL)[0].numpy()
    means, noise = found.mean(axis=(1, 2, 3)), found.std(axis=(1, 2, 3))
    assert 0.449 < means.min() < 0.46 and 0.54 < means.max() < 0.551
    assert noise.min() < 0.0005 and 0.004 < noise.max() < 0.0052


def test_in_training_half_are_less_sharp_as_a_gaussian_would_make_them(monkeypatch):
    for name in ("GAIN", "GAMMA", "NOISE"):
        monkeypatch.setattr(varying, name, 0.0)
    monkeypatch.setattr(varying, "FOCUS", (0.45, 0.45))
    image = scene(1, (32, 32))
    image[10:20, 10:20] = 0.9
    seeds = tf.constant([[i, 2] for i in range(40)])
    found = augment_batch(tf.constant(np.stack([image] * 40)), None, seeds, varied=1.0, **STILL)[0].numpy()
    sharp = np.abs(found - image).max(axis=(1, 2, 3)) < 1e-6
    expected = cv2.GaussianBlur(image, (3, 3), 0.45, borderType=cv2.BORDER_REFLECT)[..., None]
    assert 10 <= sharp.sum() <= 30
    np.testing.assert_allclose(found[~sharp], np.broadcast_to(expected, found[~sharp].shape), atol=1e-5)
