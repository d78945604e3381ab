"""Image and ROI that never come apart, turned, flipped and cropped by a sample's own seed alone."""
import cv2
import numpy as np
import pytest
import tensorflow as tf
from drawn import SIZE, TURNED, picture

from grdnet_tf.compat import KERAS_3
from grdnet_tf.data import augmentation
from grdnet_tf.data.augmentation import augment, augment_batch


@pytest.mark.parametrize("border", ["reflect", "nearest", "wrap", "constant"])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_image_and_roi_turn_together(size, border):
    """The ROI is drawn into the image: where it is 1 afterwards the picture is bright, elsewhere dark."""
    roi = np.zeros((*size, 1), np.float32)
    roi[5:30, 10:40] = 1  # off centre and not symmetric: any other turn or flip than the image's would show
    for number in range(12):
        image, turned = augment(tf.constant(roi.repeat(3, 2)), tf.constant(roi), tf.constant([number, 1]),
                                         border=border, **TURNED)
        assert set(np.unique(turned)) <= {0.0, 1.0}
        inside = turned.numpy()[..., 0] == 1
        # Bilinear and nearest neighbour may differ at an edge, so it is left out by 2 pixels, and so is the frame,
        # beyond which an edge may lie unseen.
        eroded, grown = (morph(inside.astype(np.uint8), np.ones((5, 5)))[2:-2, 2:-2] > 0
                         for morph in (cv2.erode, cv2.dilate))
        picture_inside = image.numpy()[2:-2, 2:-2]
        assert eroded.sum() > 100 and (~grown).sum() > 100
        assert (picture_inside[eroded] > 0.99).all() and (picture_inside[~grown] < 0.01).all()
        assert ((image.numpy()[..., 0] > 0.5) == inside).mean() > 0.97


def test_flips_alone_are_exact_and_cover_all_four():
    image, roi = picture(0).astype(np.float32) / 255, (picture(1, 1) > 99).astype(np.float32)
    seen = set()
    for number in range(24):
        turned, region = augment(tf.constant(image), tf.constant(roi), tf.constant([5, number]), rotation=0.0,
                                          flip_horizontal=True, flip_vertical=True, border="reflect")
        matching = [(y, x) for y in (1, -1) for x in (1, -1) if (turned.numpy() == image[::y, ::x]).all()]
        assert len(matching) == 1
        y, x = matching[0]
        np.testing.assert_array_equal(region, roi[::y, ::x])
        seen.add((y, x))
    assert len(seen) == 4


@pytest.mark.parametrize("horizontal, vertical, found", [(True, False, {(1, 1), (1, -1)}),
                                                         (False, True, {(1, 1), (-1, 1)})])
def test_only_the_flips_that_are_on(horizontal, vertical, found):
    image = tf.constant(picture(0).astype(np.float32))
    seen = set()
    for number in range(16):
        turned, _ = augment(image, image[..., :1], tf.constant([5, number]), rotation=0.0, border="reflect",
                                     flip_horizontal=horizontal, flip_vertical=vertical)
        seen |= {(y, x) for y in (1, -1) for x in (1, -1) if (turned.numpy() == image.numpy()[::y, ::x]).all()}
    assert seen == found


STILL = dict(rotation=0.0, flip_horizontal=False, flip_vertical=False, border="reflect")


def lit(images, rois=None, **more):
    return augment_batch(tf.constant(images), rois, tf.stack([tf.range(len(images)), tf.ones(len(images), tf.int32)], 1),
                         **STILL, **more)


def test_light_is_a_gain_of_the_whole_picture_and_a_contrast_about_its_mean():
    images = np.random.default_rng(0).uniform(0.3, 0.6, (200, 6, 7, 3)).astype(np.float32)
    region = tf.constant((images[..., :1] > 0.4).astype(np.float32))
    found, kept = lit(images, region, brightness=0.2)
    np.testing.assert_array_equal(kept, region)
    gain = found.numpy() / images
    assert np.ptp(gain, (1, 2, 3)).max() < 1e-5  # one number a picture
    assert 0.8 <= gain.min() < 0.81 and 1.19 < gain.max() <= 1.2 and abs(gain.mean() - 1) < 0.02
    found, _ = lit(images, contrast=0.5)
    mean = images.mean((1, 2, 3), keepdims=True)
    factor = (found.numpy() - mean).std((1, 2, 3)) / images.std((1, 2, 3))
    np.testing.assert_allclose(found.numpy().mean((1, 2, 3)), mean[:, 0, 0, 0], atol=1e-5)
    assert 0.5 <= factor.min() < 0.52 and 1.48 < factor.max() <= 1.5
    both = lit(images, brightness=0.2, contrast=0.5)[0].numpy()
    np.testing.assert_allclose(both, gain.mean((1, 2, 3), keepdims=True) * found.numpy(), atol=1e-5)
    assert lit(np.ones((8, 4, 4, 1), np.float32), brightness=0.9)[0].numpy().max() <= 1.0  # white is white


def test_light_is_of_the_samples_own_seed_and_leaves_turns_as_they_are():
    images, seeds = tf.constant(np.stack([picture(i) for i in range(4)]).astype(np.float32) / 255), tf.constant(
        [[7, i] for i in range(4)])
    rois = images[..., :1]
    plain, turned = augment_batch(images, rois, seeds, **TURNED, border="reflect")
    dark, same = augment_batch(images, rois, seeds, **TURNED, border="reflect", brightness=0.3)
    np.testing.assert_array_equal(turned, same)
    alone, _ = augment(images[2], rois[2], seeds[2], **TURNED, border="reflect", brightness=0.3)
    np.testing.assert_allclose(dark[2], alone, atol=1e-6)
    sure = (plain.numpy() > 0.05) & (dark.numpy() < 0.99)
    ratio = [dark.numpy()[i][sure[i]] / plain.numpy()[i][sure[i]] for i in range(4)]
    assert max(np.ptp(one) for one in ratio) < 1e-4 and np.ptp([one.mean() for one in ratio]) > 0.02


def test_a_crop_is_a_window_of_what_it_would_be_without():
    image, roi = picture(0).astype(np.float32) / 255, (picture(1, 1) > 99).astype(np.float32)
    (height, width), (h, w), places = SIZE, (SIZE[0] - 7, SIZE[1] // 2), set()
    for number in range(40):
        options = dict(rotation=0.3, flip_horizontal=True, flip_vertical=True, border="reflect")
        whole, region = augment(tf.constant(image), tf.constant(roi), tf.constant([5, number]), **options)
        part, inside = augment(tf.constant(image), tf.constant(roi), tf.constant([5, number]), crop=(h, w),
                                        **options)
        assert part.shape == (h, w, 3) and inside.shape == (h, w, 1)
        windows = {(y, x): whole.numpy()[y:y + h, x:x + w] for y in range(8) for x in range(width - w + 1)}
        (y, x), = [at for at, window in windows.items() if np.abs(window - part).max() < 1e-4]
        assert np.mean(region.numpy()[y:y + h, x:x + w] == inside) > 0.99  # nearest: a tie may fall either way
        places.add((y, x))
    assert {y for y, _ in places} == set(range(8)) and {0, width - w} <= {x for _, x in places}


def test_only_a_share_of_the_pictures_is_turned():
    image, roi = picture(0).astype(np.float32) / 255, (picture(1, 1) > 99).astype(np.float32)
    (height, width), (h, w), found = SIZE, (SIZE[0] - 2, SIZE[1] - 3), []
    options = dict(rotation=0.5, turned=0.2, flip_horizontal=True, flip_vertical=True, border="reflect", crop=(h, w))
    flipped = [(image[::y, ::x], roi[::y, ::x]) for y in (1, -1) for x in (1, -1)]
    windows = [[part[y:y + h, x:x + w] for part in pair] for pair in flipped for y in range(3) for x in range(4)]
    for number in range(60):
        window, region = augment(tf.constant(image), tf.constant(roi), tf.constant([5, number]), **options)
        found.append(any((window.numpy() == a).all() and (region.numpy() == b).all() for a, b in windows))
    assert 0.65 < np.mean(found) < 0.95  # 0.8 +- 3 deviations: to the bit a window of one of the four flips


def angles_of(count, rotation):
    """The angles by which `count` samples are turned: that of a bright dot's way round the centre."""
    dot = np.zeros((65, 65, 1), np.float32)
    dot[31:34, 55:58] = 1  # centre (32, 32), the dot's (56, 32): angle 0
    seeds = tf.stack([tf.fill([count], 11), tf.range(count)], 1)
    images, _ = augment_batch(tf.stack([dot] * count), None, seeds, rotation=rotation, flip_horizontal=False,
                                       flip_vertical=False, border="constant")
    weights = images.numpy()[..., 0]
    y, x = ((axis * weights).sum((1, 2)) / weights.sum((1, 2)) - 32 for axis in np.indices((65, 65)))
    return np.arctan2(-y, x)  # counterclockwise, y points down


def test_angles_are_uniform_in_the_whole_range():
    angles = angles_of(300, np.pi / 2)
    assert np.abs(angles).max() <= np.pi / 2 + 0.01
    # Uniform in [-a, a]: mean 0 with deviation a / sqrt(3 n) = 0.052, quarters of 75 with deviation 7.5.
    assert abs(angles.mean()) < 0.16
    assert np.abs(np.histogram(angles, 4, (-np.pi / 2, np.pi / 2))[0] - 75).max() < 30
    np.testing.assert_allclose(angles_of(300, 0.1), angles * 0.1 / (np.pi / 2), atol=0.01)


def test_a_sample_is_a_function_of_its_own_seed(records):
    image, roi = tf.constant(picture(0).astype(np.float32)), tf.ones((*SIZE, 1))
    seeds = tf.constant([[1, 2], [1, 3], [2, 2], [1, 2]])
    together, _ = augment_batch(tf.stack([image] * 4), tf.stack([roi] * 4), seeds, border="reflect", **TURNED)
    for number in range(4):
        alone, _ = augment(image, roi, seeds[number], border="reflect", **TURNED)
        np.testing.assert_array_equal(together[number], alone)
    assert len({together[n].numpy().tobytes() for n in range(4)}) == 3


@pytest.mark.skipif(KERAS_3, reason="tensorflow-addons cannot be installed on the Keras 3 stack")
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("border", ["reflect", "constant", "nearest", "wrap"])
def test_addons_rotation_equals_the_core_op(interpolation, border):
    import tensorflow_addons as tfa

    images = tf.constant(np.stack([picture(n, 3, size=(17, 30)) for n in range(5)]).astype(np.float32) / 255)
    angles = tf.constant([-np.pi / 2, -0.4, 0.0, 1.1, np.pi / 2], tf.float32)
    no_flip = tf.zeros(5, tf.bool)
    transforms = augmentation._transforms(angles, no_flip, no_flip, tf.constant([17, 30]))
    reference = tfa.image.rotate(images, angles, interpolation, border)
    core = tf.raw_ops.ImageProjectiveTransformV3(images=images, transforms=transforms, output_shape=[17, 30],
                                                 fill_value=0.0, interpolation=interpolation.upper(),
                                                 fill_mode=border.upper())
    np.testing.assert_array_equal(core, reference)
    np.testing.assert_array_equal(augmentation._warp(images, transforms, interpolation, border), reference)
