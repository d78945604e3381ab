"""What a perturbed picture may and may not change, and what each setting of the noise does to it."""
import cv2
import numpy as np
import pytest
import tensorflow as tf
from noise import ALL_SOURCES, ALWAYS, EVERYTHING, NOISE, perturb, pictures, seeds, textures

from grdnet_tf.defects import perlin
from grdnet_tf.defects.perturb import _fading, sample
from grdnet_tf.errors import InputError


@pytest.mark.parametrize("channels", [1, 3])
def test_changes_inside_the_mask_only(channels):
    image = pictures(count=40, channels=channels)
    noisy, mask = perturb(image, None, seeds(40), EVERYTHING, textures(channels))
    noisy, mask = noisy.numpy(), mask.numpy()
    assert mask.shape == (40, 48, 40, 1) and noisy.dtype == mask.dtype == np.float32
    assert set(np.unique(mask)) == {0.0, 1.0}
    changed = (noisy != image).any(axis=3, keepdims=True)
    np.testing.assert_array_equal(changed, mask == 1.0)  # bit for bit outside, some change at each pixel inside
    assert noisy.min() >= 0.0 and noisy.max() <= 1.0
    assert (mask.sum((1, 2, 3)) > 0).mean() > 0.7


@pytest.mark.parametrize("name", [name for name in ALL_SOURCES if name != "warp"])  # which has no ghost: test_seamless
def test_opacity_blends_the_same_source(name):
    # With opacity 1 the source itself is seen; at opacity b the picture must be (1 - b) image + b source.
    image, seed = pictures(), seeds(6)
    settings = ALWAYS.replace(sources={name: 1.0}, opacity=(1.0, 1.0))
    full = perturb(image, None, seed, settings, textures())
    faint = perturb(image, None, seed, settings.replace(opacity=(0.5, 0.5)), textures())
    inside = faint.mask.numpy() == 1.0
    assert (full.mask.numpy()[inside] == 1.0).all()  # what is seen at half the opacity is seen in full
    assert inside.sum() > 0.7 * full.mask.numpy().sum() > 0
    expected = np.where(inside, 0.5 * image + 0.5 * full.noisy.numpy(), image)
    np.testing.assert_allclose(faint.noisy, expected, atol=1e-6)


def test_probability():
    image = np.full((400, 4, 4, 1), 0.5, np.float32)
    settings = NOISE.replace(probability=0.3, threshold=(-1.0, -1.0), min_area=0, scales=(0, 0))
    settings = settings.replace(sources={"color_pixel": 1.0})
    disturbed = perturb(image, None, seeds(400), settings).mask.numpy().max((1, 2, 3))
    assert 0.3 == pytest.approx(disturbed.mean(), abs=0.1)  # 4 standard deviations
    none = perturb(image, None, seeds(400), settings.replace(probability=0.0))
    assert none.mask.numpy().max() == 0.0
    np.testing.assert_array_equal(none.noisy, image)


def test_further_defects_come_on_top_of_the_first():
    # Small ones, so that two hardly ever lie on each other; each further one with probability 1/2: none in 1/4.
    settings = NOISE.replace(probability=0.5, min_area=1, shapes={"rectangle": 1.0})
    image, seed = pictures(count=400, height=64, width=64), seeds(400)
    first = perturb(image, None, seed, settings)
    noisy, mask = perturb(image, None, seed, settings.replace(defects=3))
    one, all_ = first.mask.numpy() > 0, mask.numpy() > 0
    assert (all_ | ~one).all() and not all_[~one.any((1, 2, 3))].any()
    np.testing.assert_array_equal(noisy.numpy()[~all_[..., 0]], image[~all_[..., 0]])
    disturbed = one.any((1, 2, 3))
    alone = (all_ == one).all((1, 2, 3))[disturbed].mean()
    assert 0.25 == pytest.approx(alone, abs=0.13)  # 4 standard deviations of about 190


def test_threshold_is_uniform_and_cuts_the_noise():
    settings = ALWAYS.replace(threshold=(-0.2, 0.6), rotation=0.0, sources={"color_pixel": 1.0})
    image, seed = pictures(count=24), seeds(24)
    draws = sample(seed, settings, image.shape[1:])
    u = draws.sample.numpy()
    cells_y, cells_x = (perlin.cells(settings.scales, u[:, i]) for i in (4, 5))
    noise = perlin.perlin_noise(draws.lattice, cells_y, cells_x, 48, 40).numpy()
    threshold = -0.2 + 0.8 * u[:, 3]
    np.testing.assert_array_equal(
        perturb(image, None, seed, settings).mask[..., 0], noise > threshold[:, None, None]
    )
    many = tf.function(lambda s: sample(s, NOISE.replace(scales=(0, 0))).sample[:, 3])(seeds(1000))
    np.testing.assert_allclose(np.quantile(many, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.06)


def test_small_masks_are_emptied_and_the_others_left():
    image, seed = pictures(count=32), seeds(32)
    before = perturb(image, None, seed, ALWAYS)
    after = perturb(image, None, seed, ALWAYS.replace(min_area=60))
    area = before.mask.numpy().sum((1, 2, 3))
    assert 0 < ((area > 0) & (area < 60)).sum() < 32  # both cases occur
    np.testing.assert_array_equal(after.mask.numpy().sum((1, 2, 3)), np.where(area < 60, 0, area))
    np.testing.assert_array_equal(after.noisy.numpy()[area < 60], image[area < 60])


def test_what_cannot_be_seen_is_no_defect():
    # opacity 0.001 changes no pixel by more than 0.001, less than 2 grey levels
    image = pictures()
    noisy, mask = perturb(image, None, seeds(6), ALWAYS.replace(opacity=(0.001, 0.001)))
    assert mask.numpy().max() == 0.0
    np.testing.assert_array_equal(noisy, image)


def test_soft_edges_fade():
    # A colour far from the picture's: at the edge of a mask the change is fainter than where the mask is thickest.
    image = np.full((12, 64, 64, 1), 0.5, np.float32)
    settings = ALWAYS.replace(opacity=(1.0, 1.0), scales=(1, 2), threshold=(0.1, 0.1), min_area=60)
    hard = perturb(image, None, seeds(12), settings)
    soft = perturb(image, None, seeds(12), settings.replace(soft_edges=1.0))
    for one, other, mask in zip(hard.noisy.numpy(), soft.noisy.numpy(), soft.mask.numpy()):
        if not mask.any():
            continue
        depth = cv2.distanceTransform(np.pad(mask[..., 0], 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        share = (np.abs(other - 0.5) / np.maximum(np.abs(one - 0.5), 1e-6))[..., 0]
        deepest = depth >= 0.9 * depth.max()
        assert share[deepest].max() == pytest.approx(1.0, abs=0.02)
        assert share[(depth > 0) & (depth <= 1)].mean() < 0.8 * share[deepest].mean()
    np.testing.assert_array_equal(soft.noisy.numpy()[soft.mask.numpy() == 0], 0.5)


def test_fading_is_a_straight_slope_over_a_sixteenth_of_the_side():
    mask = np.zeros((1, 64, 64, 1), np.float32)
    mask[0, 20:44, 16:48] = 1  # 5 pixels, the odd number from 64 / 16 on
    faded = _fading(tf.constant(mask)).numpy()[0, ..., 0]
    np.testing.assert_allclose(faded[32, 13:21], [0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(faded, faded[::-1], atol=1e-6)


def test_a_seed_is_the_same_noise_in_every_version():
    """Written down once, equal on both stacks: a run that goes on, or is made again, meets the defects that it met."""
    draws = sample(tf.constant([[1, 2]]), NOISE.replace(scales=(0, 3)))
    assert draws.lattice.shape == (1, 9, 9)  # 2^3 cells
    for found, known in ((draws.sample[0, :2], (0.92203021, 0.59602267)), (draws.shape[0, :2], (0.21967572, 0.54238409)),
                         (draws.source.scalars[0, :2], (0.82599223, 0.23237509)),
                         (draws.lattice[0, 0, :2], (0.92940867, 0.64341450)),
                         (draws.finish[0, :2], (0.98516363, 0.59910619))):
        np.testing.assert_allclose(found, known, rtol=1e-6)


def test_blurred_defects_begin_gently():
    # One colour on grey. Sharp: every pixel of the mask changes alike. Blurred: those at its rim by a part of that.
    image = np.full((12, 64, 64, 1), 0.5, np.float32)
    settings = ALWAYS.replace(opacity=(1.0, 1.0), scales=(1, 2), threshold=(0.1, 0.1), min_area=60)
    sharp = perturb(image, None, seeds(12), settings)
    soft = perturb(image, None, seeds(12), settings.replace(blurred=1.0))
    seen = 0
    for before, after, change in zip(sharp.mask.numpy(), soft.mask.numpy(), (soft.noisy - 0.5).numpy()):
        if not before.any():
            continue
        seen += 1
        share = np.abs(change) / np.abs(change).max()
        inside = cv2.erode(before[..., 0], np.ones((3, 3)), borderValue=1) > 0
        assert share[inside].min() > 0.99  # the inner part as ever
        rim = after[..., 0] - inside > 0
        assert 0.2 < share[..., 0][rim].min() and share[..., 0][rim].max() < 0.95
        assert after[before > 0].mean() > 0.97 and after.sum() > before.sum()  # it spreads by up to a pixel
    assert seen >= 6
    np.testing.assert_array_equal(soft.noisy.numpy()[soft.mask.numpy() == 0], 0.5)


def test_grain_goes_on_under_a_defect():
    noise = np.random.default_rng(0).normal(0, 0.05, (12, 64, 64, 1)).astype(np.float32)
    settings = ALWAYS.replace(opacity=(1.0, 1.0), min_area=60)
    for share, expected in ((0.0, 0.0), (1.0, 0.75)):  # 3/4: what (1 2 1) / 4 takes out of white noise, 1 - 1/4
        noisy, mask = perturb(0.5 + noise, None, seeds(12), settings.replace(grain=share))
        slopes = [np.sum(n * (d - d.mean())) / np.sum(n * n) for d, n in (
            (picture[m > 0], n[m > 0]) for picture, n, m in zip(noisy.numpy(), noise, mask.numpy()) if m.any())
            if 0.2 < d.mean() < 0.8]  # far from black and white, where it is cut off
        assert len(slopes) >= 3 and abs(np.mean(slopes) - expected) < 0.05
    shade = settings.replace(sources={"shade": 1.0})  # shows the picture itself, grain and all: not twice
    np.testing.assert_array_equal(*(perturb(0.5 + noise, None, seeds(12), shade.replace(grain=g)).noisy
                                    for g in (0.0, 1.0)))


def test_what_its_surroundings_hide_is_no_defect():
    # Left half flat, right half speckled with a deviation of 0.1: a change of 0.05 shows on the flat half alone.
    image = np.full((16, 64, 64, 1), 0.5, np.float32)
    image[:, :, 32:] += np.random.default_rng(0).choice([-0.1, 0.1], (16, 64, 32, 1)).astype(np.float32)
    settings = ALWAYS.replace(sources={"shade": 1.0}, opacity=(0.2, 0.3), threshold=(0.0, 0.0), scales=(1, 3))
    free, kept = (perturb(image, None, seeds(16), settings.replace(contrast=c)).mask.numpy() for c in (0.0, 1.0))
    assert free[:, :, 36:].mean() > 0.2 and kept[:, :, 36:].mean() < 0.05 * free[:, :, 36:].mean()
    assert kept[:, :, :28].mean() > 0.9 * free[:, :, :28].mean() > 0.2


def test_missing_structure_stands_out():
    # "smooth" leaves the mean as it is and takes the speckles away.
    image = 0.5 + np.random.default_rng(0).choice([-0.1, 0.1], (16, 64, 64, 1)).astype(np.float32)
    settings = ALWAYS.replace(sources={"smooth": 1.0}, opacity=(0.9, 1.0), threshold=(0.0, 0.0), scales=(1, 3))
    free, kept = (perturb(image, None, seeds(16), settings.replace(contrast=c)).mask.numpy() for c in (0.0, 1.0))
    assert free.mean() > 0.2 and kept.mean() > 0.6 * free.mean()  # the masks lose their rims


def test_matched_pieces_have_the_colour_of_what_they_cover():
    image, seed = pictures(count=24, height=96, width=96), seeds(24)
    settings = ALWAYS.replace(opacity=(1.0, 1.0), sources={"cut_paste": 1.0}, min_area=30)
    gaps = []
    for share in (0.0, 1.0):
        noisy, mask = perturb(image, None, seed, settings.replace(matched=share))
        inside = mask.numpy() * np.ones_like(image)
        gap = np.abs(((noisy.numpy() - image) * inside).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1.0))
        gaps.append(gap[inside.sum((1, 2, 3)) > 0].mean())
    assert gaps[1] < 0.01 < 0.03 < gaps[0]  # the mask loses a few pixels that do not differ: not exactly 0


def test_within_the_roi_as_a_share():
    image, seed = pictures(count=200, height=24, width=24), seeds(200)
    roi = np.zeros((200, 24, 24, 1), np.float32)
    roi[:, 6:18, 6:18] = 1.0
    settings = ALWAYS.replace(shapes={"spot": 1.0}, within_roi=0.5)
    mask = perturb(image, roi, seed, settings).mask.numpy()
    outside = (mask * (1.0 - roi)).sum((1, 2, 3)) > 0
    # Half of them lie anywhere; a free picture has 1 to 4 spots, each outside with 1 - 1/4, so nearly all show there.
    assert 0.3 < outside.mean() < 0.6


def test_within_the_roi():
    image, seed = pictures(count=32), seeds(32)
    roi = np.zeros((32, 48, 40, 1), np.float32)
    roi[:, 30:44, 4:20] = 1.0
    settings = EVERYTHING.replace(sources={**ALL_SOURCES, "warp": 0.0})  # a blob, which has no centre
    free = perturb(image, roi, seed, settings, textures()).mask.numpy()
    kept = perturb(image, roi, seed, settings.replace(within_roi=1.0), textures()).mask.numpy()
    assert (free * (1.0 - roi)).sum() > 0
    assert (kept * (1.0 - roi)).sum() == 0
    assert (kept.sum((1, 2, 3)) > 0).mean() > 0.7  # lines, spots and rectangles are centred inside the ROI


def test_no_gradient_flows_through():
    image = tf.constant(pictures(count=2))
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(perturb(image, None, seeds(2), ALWAYS).noisy)
    assert tape.gradient(total, image) is None


def test_textures_of_other_channels():
    with pytest.raises(InputError, match="textures have 1 channels, the images 3"):
        perturb(pictures(count=1), None, seeds(1), EVERYTHING, textures(channels=1))
