"""The noise against a NumPy reference, the same everywhere; what a perturbed picture may and may not change."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.defects import shapes, sources, perlin
from grdnet_tf.errors import InputError
from grdnet_tf.defects.perlin import NoiseSettings

ALWAYS = NoiseSettings(probability=1.0, min_area=1)
ALL_SOURCES = tuple((name, 1.0) for name in sources.SOURCES)
ALL_SHAPES = tuple((name, 1.0) for name in shapes.SHAPES)
EVERYTHING = ALWAYS._replace(sources=ALL_SOURCES, shapes=ALL_SHAPES, defects=2, contrast=0.5, blurred=0.5, grain=0.5)


def seeds(count, run=7):
    return np.stack([np.full(count, run), np.arange(count)], 1).astype(np.int32)


def pictures(count=6, height=48, width=40, channels=3):
    """Smooth and speckled at once, within [0.1, 0.9]."""
    random = np.random.default_rng(0)
    small = random.random((count, 4, 4, channels), dtype=np.float32)
    smooth = np.stack([cv2.resize(s, (width, height)).reshape((height, width, channels)) for s in small])
    return 0.1 + 0.7 * smooth + 0.1 * random.random(smooth.shape, dtype=np.float32)


def textures(channels=3, count=3):
    return np.random.default_rng(1).integers(0, 256, (count, 30, 20, channels), dtype=np.uint8)


def perturb(image, roi, seed, settings, texture=None):
    """perlin.perturb, in a graph where the batch is so large that drawing its numbers eagerly takes seconds."""
    if len(image) <= 40:
        return perlin.perturb(image, roi, seed, settings, texture)
    return tf.function(lambda i, s: perlin.perturb(i, roi, s, settings, texture))(tf.constant(image), tf.constant(seed))


def reference(lattice, cells_y, cells_x, height, width):
    """Perlin noise of one sample in float64, by looking up the four corners of each pixel's cell."""
    angle = 2.0 * np.pi * lattice.astype(np.float64)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y * cells_y / height, x * cells_x / width
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    y, x = y - top, x - left

    def corner(down, right):
        turn = angle[top + down, left + right]
        return np.cos(turn) * (x - right) + np.sin(turn) * (y - down)

    def fade(t):
        return ((6.0 * t - 15.0) * t + 10.0) * t**3

    upper = corner(0, 0) + fade(x) * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + fade(x) * (corner(1, 1) - corner(1, 0))
    return np.sqrt(2.0) * (upper + fade(y) * (lower - upper))


class TestNoise:
    @pytest.mark.parametrize("height, width", [(64, 64), (50, 37), (32, 96)])
    def test_agrees_with_a_reference(self, height, width):
        cells = [(1, 1), (32, 1), (2, 16), (8, 8), (32, 32)]
        lattice = np.random.default_rng(0).random((len(cells), 33, 33), dtype=np.float32)
        cells_y, cells_x = np.float32(cells).T
        noise = perlin.perlin_noise(tf.constant(lattice), cells_y, cells_x, height, width).numpy()
        assert noise.shape == (len(cells), height, width) and noise.dtype == np.float32
        for own, one, (cy, cx) in zip(noise, lattice, cells):
            np.testing.assert_allclose(own, reference(one, cy, cx, height, width), atol=2e-6)
        assert np.abs(noise).max() <= 1.0

    def test_is_zero_at_the_nodes_and_only_there(self):
        lattice = np.random.default_rng(0).random((1, 33, 33), dtype=np.float32)
        noise = perlin.perlin_noise(tf.constant(lattice), np.float32([4]), np.float32([8]), 32, 48).numpy()[0]
        nodes = np.zeros((32, 48), bool)
        nodes[::8, ::6] = True  # 32 / 4 and 48 / 8 pixels a cell
        assert (noise[nodes] == 0.0).all()
        assert (noise[~nodes] != 0.0).mean() > 0.99

    def test_one_gradient_by_hand(self):
        # One cell of 4 pixels, every gradient along x (angle 0), at row 0: left node pulls x, right node x - 1, with
        # x = 1/4: fade = 6/1024 - 15/256 + 10/64 = 0.103515625 -> 0.25 + fade * (-0.75 - 0.25) = 0.146484375
        noise = perlin.perlin_noise(tf.zeros((1, 2, 2)), np.float32([1]), np.float32([1]), 4, 4).numpy()[0]
        assert noise[0, 1] == pytest.approx(np.sqrt(2.0) * 0.146484375, rel=1e-6)

    def test_cells_are_exact_powers_each_equally_likely(self):
        u = (np.arange(6000, dtype=np.float32) + 0.5) / 6000
        cells, counts = np.unique(perlin.cells((0, 5), u), return_counts=True)
        np.testing.assert_array_equal(cells, [1, 2, 4, 8, 16, 32])
        np.testing.assert_allclose(counts, 1000, atol=1)
        assert perlin.cells((2, 5), np.float32([1.0 - 2.0**-24])).numpy() == 32

    def test_draws_are_uniform(self):
        draws = perlin.sample(seeds(64), NoiseSettings())
        for numbers in (draws.lattice, draws.source.grid):
            counts, _ = np.histogram(numbers, bins=16, range=(0.0, 1.0))
            expected = numbers.numpy().size / 16
            assert np.abs(counts - expected).max() < 5.0 * np.sqrt(expected)  # 5 standard deviations
        assert 0.0 <= draws.lattice.numpy().min() and draws.lattice.numpy().max() < 1.0

    def test_turning_by_a_right_angle_and_back(self):
        noise = tf.constant(np.random.default_rng(0).random((2, 9, 9), dtype=np.float32))
        turned = shapes.turn(noise, tf.constant([np.pi / 2, 0.0], tf.float32))
        np.testing.assert_array_equal(turned[1], noise[1])
        np.testing.assert_array_equal(turned[0], np.rot90(noise[0], k=-1))


class TestSameEverywhere:
    def test_eager_graph_xla_and_tf_data(self):
        settings = EVERYTHING._replace(within_roi=1.0)
        image, seed, texture = pictures(), seeds(6), tf.constant(textures())
        roi = np.zeros(image.shape[:3] + (1,), np.float32)
        roi[:, 10:40, 5:30] = 1.0

        def run(image, roi, seed):
            return perlin.perturb(image, roi, seed, settings, texture)

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

    @pytest.mark.parametrize("name", sources.SOURCES)
    def test_xla_compiles_each_source(self, name):
        image, seed, texture = pictures(count=2, height=24, width=16), seeds(2), tf.constant(textures())
        settings = ALWAYS._replace(sources=((name, 1.0),), threshold=(-0.5, 0.0))
        run = tf.function(lambda i, s: perlin.perturb(i, None, s, settings, texture), jit_compile=True)
        compiled = run(tf.constant(image), tf.constant(seed))
        eager = perlin.perturb(image, None, seed, settings, texture)
        np.testing.assert_array_equal(compiled.mask, eager.mask)
        np.testing.assert_allclose(compiled.noisy, eager.noisy, atol=1e-6)

    def test_noise_agrees_in_xla(self):
        lattice = tf.constant(np.random.default_rng(0).random((3, 33, 33), dtype=np.float32))
        cells_y, cells_x = tf.constant([1.0, 32.0, 4.0]), tf.constant([32.0, 32.0, 2.0])
        compiled = tf.function(perlin.perlin_noise, jit_compile=True)(lattice, cells_y, cells_x, 48, 50)
        np.testing.assert_allclose(compiled, perlin.perlin_noise(lattice, cells_y, cells_x, 48, 50), atol=1e-6)

    def test_a_sample_does_not_depend_on_its_companions(self):
        image, seed, texture = pictures(), seeds(6), textures()
        together = perlin.perturb(image, None, seed, EVERYTHING, texture)
        order = [4, 1, 3]
        some = perlin.perturb(image[order], None, seed[order], EVERYTHING, texture)
        np.testing.assert_array_equal(some.mask, together.mask.numpy()[order])
        np.testing.assert_allclose(some.noisy, together.noisy.numpy()[order], atol=1e-6)

    def test_batch_of_unknown_size(self):
        image, seed = pictures(count=5), seeds(5)
        data = tf.data.Dataset.from_tensor_slices((image, seed)).batch(4)
        data = data.map(lambda i, s: perlin.perturb(i, None, s, EVERYTHING._replace(sources=ALL_SOURCES[:-1])))
        assert [batch.noisy.shape[0] for batch in data] == [4, 1]

    def test_another_seed_is_another_defect(self):
        image = pictures(count=1)
        pairs = np.int32([[[0, 0]], [[0, 1]], [[1, 0]]])
        masks = [perlin.perturb(image, None, seed, ALWAYS).mask.numpy() for seed in pairs]
        assert (masks[0] != masks[1]).any() and (masks[0] != masks[2]).any() and (masks[1] != masks[2]).any()


class TestPerturb:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_changes_inside_the_mask_only(self, channels):
        image = pictures(count=40, channels=channels)
        noisy, mask = perturb(image, None, seeds(40), EVERYTHING, textures(channels))
        noisy, mask = noisy.numpy(), mask.numpy()
        assert mask.shape == (40, 48, 40, 1) and noisy.dtype == mask.dtype == np.float32
        assert set(np.unique(mask)) == {0.0, 1.0}
        changed = (noisy != image).any(axis=3, keepdims=True)
        np.testing.assert_array_equal(changed, mask == 1.0)  # bit for bit outside, some change at each pixel inside
        assert noisy.min() >= 0.0 and noisy.max() <= 1.0
        assert (mask.sum((1, 2, 3)) > 0).mean() > 0.7

    @pytest.mark.parametrize("name", sources.SOURCES)
    def test_opacity_blends_the_same_source(self, name):
        # With opacity 1 the source itself is seen; at opacity b the picture must be (1 - b) image + b source.
        image, seed = pictures(), seeds(6)
        settings = ALWAYS._replace(sources=((name, 1.0),), opacity=(1.0, 1.0))
        full = perturb(image, None, seed, settings, textures())
        faint = perturb(image, None, seed, settings._replace(opacity=(0.5, 0.5)), textures())
        inside = faint.mask.numpy() == 1.0
        assert (full.mask.numpy()[inside] == 1.0).all()  # what is seen at half the opacity is seen in full
        assert inside.sum() > 0.7 * full.mask.numpy().sum() > 0
        expected = np.where(inside, 0.5 * image + 0.5 * full.noisy.numpy(), image)
        np.testing.assert_allclose(faint.noisy, expected, atol=1e-6)

    def test_probability(self):
        image = np.full((400, 4, 4, 1), 0.5, np.float32)
        settings = NoiseSettings(probability=0.3, threshold=(-1.0, -1.0), min_area=0, scales=(0, 0))
        settings = settings._replace(sources=(("color_pixel", 1.0),))
        disturbed = perturb(image, None, seeds(400), settings).mask.numpy().max((1, 2, 3))
        assert 0.3 == pytest.approx(disturbed.mean(), abs=0.1)  # 4 standard deviations
        none = perturb(image, None, seeds(400), settings._replace(probability=0.0))
        assert none.mask.numpy().max() == 0.0
        np.testing.assert_array_equal(none.noisy, image)

    def test_further_defects_come_on_top_of_the_first(self):
        # Small ones, so that two hardly ever lie on each other; each further one with probability 1/2: none in 1/4.
        settings = NoiseSettings(probability=0.5, min_area=1, shapes=(("rectangle", 1.0),))
        image, seed = pictures(count=400, height=64, width=64), seeds(400)
        first = perturb(image, None, seed, settings)
        noisy, mask = perturb(image, None, seed, settings._replace(defects=3))
        one, all_ = first.mask.numpy() > 0, mask.numpy() > 0
        assert (all_ | ~one).all() and not all_[~one.any((1, 2, 3))].any()
        np.testing.assert_array_equal(noisy.numpy()[~all_[..., 0]], image[~all_[..., 0]])
        disturbed = one.any((1, 2, 3))
        alone = (all_ == one).all((1, 2, 3))[disturbed].mean()
        assert 0.25 == pytest.approx(alone, abs=0.13)  # 4 standard deviations of about 190

    def test_threshold_is_uniform_and_cuts_the_noise(self):
        settings = ALWAYS._replace(threshold=(-0.2, 0.6), rotation=0.0, sources=(("color_pixel", 1.0),))
        image, seed = pictures(count=24), seeds(24)
        draws = perlin.sample(seed, settings, image.shape[1:])
        u = draws.sample.numpy()
        cells_y, cells_x = (perlin.cells(settings.scales, u[:, i]) for i in (4, 5))
        noise = perlin.perlin_noise(draws.lattice, cells_y, cells_x, 48, 40).numpy()
        threshold = -0.2 + 0.8 * u[:, 3]
        np.testing.assert_array_equal(
            perturb(image, None, seed, settings).mask[..., 0], noise > threshold[:, None, None]
        )
        many = tf.function(lambda s: perlin.sample(s, NoiseSettings(scales=(0, 0))).sample[:, 3])(seeds(1000))
        np.testing.assert_allclose(np.quantile(many, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.06)

    def test_small_masks_are_emptied_and_the_others_left(self):
        image, seed = pictures(count=32), seeds(32)
        before = perturb(image, None, seed, ALWAYS)
        after = perturb(image, None, seed, ALWAYS._replace(min_area=60))
        area = before.mask.numpy().sum((1, 2, 3))
        assert 0 < ((area > 0) & (area < 60)).sum() < 32  # both cases occur
        np.testing.assert_array_equal(after.mask.numpy().sum((1, 2, 3)), np.where(area < 60, 0, area))
        np.testing.assert_array_equal(after.noisy.numpy()[area < 60], image[area < 60])

    def test_what_cannot_be_seen_is_no_defect(self):
        # opacity 0.001 changes no pixel by more than 0.001, less than 2 grey levels
        image = pictures()
        noisy, mask = perturb(image, None, seeds(6), ALWAYS._replace(opacity=(0.001, 0.001)))
        assert mask.numpy().max() == 0.0
        np.testing.assert_array_equal(noisy, image)

    def test_soft_edges_fade(self):
        # A colour far from the picture's: at the edge of a mask the change is fainter than where the mask is thickest.
        image = np.full((12, 64, 64, 1), 0.5, np.float32)
        settings = ALWAYS._replace(opacity=(1.0, 1.0), scales=(1, 2), threshold=(0.1, 0.1), min_area=60)
        hard = perturb(image, None, seeds(12), settings)
        soft = perturb(image, None, seeds(12), settings._replace(soft_edges=1.0))
        for one, other, mask in zip(hard.noisy.numpy(), soft.noisy.numpy(), soft.mask.numpy()):
            if not mask.any():
                continue
            depth = cv2.distanceTransform(np.pad(mask[..., 0], 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
            share = (np.abs(other - 0.5) / np.maximum(np.abs(one - 0.5), 1e-6))[..., 0]
            deepest = depth >= 0.9 * depth.max()
            assert share[deepest].max() == pytest.approx(1.0, abs=0.02)
            assert share[(depth > 0) & (depth <= 1)].mean() < 0.8 * share[deepest].mean()
        np.testing.assert_array_equal(soft.noisy.numpy()[soft.mask.numpy() == 0], 0.5)

    def test_blurred_defects_begin_gently(self):
        # One colour on grey. Sharp: every pixel of the mask changes alike. Blurred: those at its rim by a part of that.
        image = np.full((12, 64, 64, 1), 0.5, np.float32)
        settings = ALWAYS._replace(opacity=(1.0, 1.0), scales=(1, 2), threshold=(0.1, 0.1), min_area=60)
        sharp = perturb(image, None, seeds(12), settings)
        soft = perturb(image, None, seeds(12), settings._replace(blurred=1.0))
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

    def test_grain_goes_on_under_a_defect(self):
        noise = np.random.default_rng(0).normal(0, 0.05, (12, 64, 64, 1)).astype(np.float32)
        settings = ALWAYS._replace(opacity=(1.0, 1.0), min_area=60)
        for share, expected in ((0.0, 0.0), (1.0, 0.75)):  # 3/4: what (1 2 1) / 4 takes out of white noise, 1 - 1/4
            noisy, mask = perturb(0.5 + noise, None, seeds(12), settings._replace(grain=share))
            slopes = [np.sum(n * (d - d.mean())) / np.sum(n * n) for d, n in (
                (picture[m > 0], n[m > 0]) for picture, n, m in zip(noisy.numpy(), noise, mask.numpy()) if m.any())
                if 0.2 < d.mean() < 0.8]  # far from black and white, where it is cut off
            assert len(slopes) >= 3 and abs(np.mean(slopes) - expected) < 0.05
        shade = settings._replace(sources=(("shade", 1.0),))  # shows the picture itself, grain and all: not twice
        np.testing.assert_array_equal(*(perturb(0.5 + noise, None, seeds(12), shade._replace(grain=g)).noisy
                                        for g in (0.0, 1.0)))

    def test_what_its_surroundings_hide_is_no_defect(self):
        # Left half flat, right half speckled with a deviation of 0.1: a change of 0.05 shows on the flat half alone.
        image = np.full((16, 64, 64, 1), 0.5, np.float32)
        image[:, :, 32:] += np.random.default_rng(0).choice([-0.1, 0.1], (16, 64, 32, 1)).astype(np.float32)
        settings = ALWAYS._replace(sources=(("shade", 1.0),), opacity=(0.2, 0.3), threshold=(0.0, 0.0), scales=(1, 3))
        free, kept = (perturb(image, None, seeds(16), settings._replace(contrast=c)).mask.numpy() for c in (0.0, 1.0))
        assert free[:, :, 36:].mean() > 0.2 and kept[:, :, 36:].mean() < 0.05 * free[:, :, 36:].mean()
        assert kept[:, :, :28].mean() > 0.9 * free[:, :, :28].mean() > 0.2

    def test_missing_structure_stands_out(self):
        # "smooth" leaves the mean as it is and takes the speckles away.
        image = 0.5 + np.random.default_rng(0).choice([-0.1, 0.1], (16, 64, 64, 1)).astype(np.float32)
        settings = ALWAYS._replace(sources=(("smooth", 1.0),), opacity=(0.9, 1.0), threshold=(0.0, 0.0), scales=(1, 3))
        free, kept = (perturb(image, None, seeds(16), settings._replace(contrast=c)).mask.numpy() for c in (0.0, 1.0))
        assert free.mean() > 0.2 and kept.mean() > 0.6 * free.mean()  # the masks lose their rims

    def test_matched_pieces_have_the_colour_of_what_they_cover(self):
        image, seed = pictures(count=24, height=96, width=96), seeds(24)
        settings = ALWAYS._replace(opacity=(1.0, 1.0), sources=(("cut_paste", 1.0),), min_area=30)
        gaps = []
        for share in (0.0, 1.0):
            noisy, mask = perturb(image, None, seed, settings._replace(matched=share))
            inside = mask.numpy() * np.ones_like(image)
            gap = np.abs(((noisy.numpy() - image) * inside).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1.0))
            gaps.append(gap[inside.sum((1, 2, 3)) > 0].mean())
        assert gaps[1] < 0.01 < 0.03 < gaps[0]  # the mask loses a few pixels that do not differ: not exactly 0

    def test_within_the_roi_as_a_share(self):
        image, seed = pictures(count=200, height=24, width=24), seeds(200)
        roi = np.zeros((200, 24, 24, 1), np.float32)
        roi[:, 6:18, 6:18] = 1.0
        settings = ALWAYS._replace(shapes=(("spot", 1.0),), within_roi=0.5)
        mask = perturb(image, roi, seed, settings).mask.numpy()
        outside = (mask * (1.0 - roi)).sum((1, 2, 3)) > 0
        # Half of them lie anywhere; a free picture has 1 to 4 spots, each outside with 1 - 1/4, so nearly all show there.
        assert 0.3 < outside.mean() < 0.6

    def test_within_the_roi(self):
        image, seed = pictures(count=32), seeds(32)
        roi = np.zeros((32, 48, 40, 1), np.float32)
        roi[:, 30:44, 4:20] = 1.0
        free = perturb(image, roi, seed, EVERYTHING, textures()).mask.numpy()
        kept = perturb(image, roi, seed, EVERYTHING._replace(within_roi=1.0), textures()).mask.numpy()
        assert (free * (1.0 - roi)).sum() > 0
        assert (kept * (1.0 - roi)).sum() == 0
        assert (kept.sum((1, 2, 3)) > 0).mean() > 0.7  # lines, spots and rectangles are centred inside the ROI

    def test_places_in_the_roi_are_equally_likely(self):
        roi = np.zeros((1, 6, 5, 1), np.float32)
        roi[0, 1, 2], roi[0, 4, 1:4] = 1.0, 1.0  # four pixels
        u, v = np.random.default_rng(0).random((2, 1, 4000), dtype=np.float32)
        y, x = shapes.places(u, v, roi, 6, 5)
        found, counts = np.unique(np.stack([y[0], x[0]], 1), axis=0, return_counts=True)
        np.testing.assert_array_equal(found, [[1, 2], [4, 1], [4, 2], [4, 3]])
        np.testing.assert_allclose(counts, 1000, atol=140)  # 5 standard deviations

    def test_weights_of_the_sources(self):
        # A grey colour of its own for color_image; color_pixel differs from pixel to pixel: tell them by their spread.
        image = np.full((400, 4, 4, 1), 0.5, np.float32)
        settings = ALWAYS._replace(threshold=(-1.0, -1.0), opacity=(1.0, 1.0), scales=(0, 0))
        settings = settings._replace(sources=(("color_image", 1.0), ("color_pixel", 3.0), ("cut_paste", 0.0)))
        noisy = perturb(image, None, seeds(400), settings).noisy.numpy()
        assert (noisy.std((1, 2, 3)) > 0.1).mean() == pytest.approx(0.75, abs=0.09)  # 4 standard deviations

    def test_no_gradient_flows_through(self):
        image = tf.constant(pictures(count=2))
        with tf.GradientTape() as tape:
            tape.watch(image)
            total = tf.reduce_sum(perturb(image, None, seeds(2), ALWAYS).noisy)
        assert tape.gradient(total, image) is None


class TestSources:
    """Each source over the whole picture: threshold -1, opacity 1."""

    def whole(self, name, image, texture=None):
        settings = ALWAYS._replace(threshold=(-1.0, -1.0), opacity=(1.0, 1.0), sources=((name, 1.0),))
        noisy, mask = perturb(image, None, seeds(len(image)), settings, texture)
        return np.where(mask == 1.0, noisy, np.nan)

    def test_color_image_is_one_colour_a_picture(self):
        noisy = self.whole("color_image", pictures())
        for one in noisy.reshape((6, -1, 3)):
            one = one[~np.isnan(one[:, 0])]
            assert len(one) > 1000 and (one == one[0]).all()
        assert len(np.unique(noisy[~np.isnan(noisy)])) == 18

    def test_color_blob_is_smooth_and_many_coloured(self):
        noisy = self.whole("color_blob", pictures())
        assert np.nanmax(np.abs(np.diff(noisy, axis=1))) < 7.0 / 48 + 1e-5  # one cell of 48 / 7 pixels goes from 0 to 1
        assert np.nanstd(noisy, axis=(1, 2)).min() > 0.05

    def test_color_pixel_is_uniform_noise(self):
        noisy = self.whole("color_pixel", pictures())
        counts, _ = np.histogram(noisy[~np.isnan(noisy)], bins=10, range=(0.0, 1.0))
        assert np.abs(counts / counts.sum() - 0.1).max() < 0.01

    @pytest.mark.parametrize("name", ["own_texture", "cut_paste", "shade"])
    def test_own_picture_sources_show_pixels_of_the_picture(self, name):
        # Values of one sample: 0.2 or 0.6, then times (1 + s) plus 0.1 s: two values whose difference is 0.4 (1 + s).
        random = np.random.default_rng(0)
        image = np.where(random.random((8, 32, 32, 1)) < 0.5, 0.2, 0.6).astype(np.float32)
        noisy = self.whole(name, image)
        for one in noisy:
            values = np.unique(one[~np.isnan(one)])
            low, high = values.min(), values.max()
            strength = (high - low) / 0.4 - 1.0
            assert 0.05 <= abs(strength) <= 0.6
            assert low == pytest.approx(0.2 * (1 + strength) + 0.1 * strength, abs=1e-5)
            np.testing.assert_allclose(values, np.where(values < (low + high) / 2, low, high), atol=1e-6)

    def test_shift_moves_the_picture_a_little(self):
        image = pictures(height=64, width=64)
        noisy = self.whole("shift", image)
        for one, before in zip(noisy, image):
            found = []
            for dy in range(-6, 7):  # 1/12 of 64 pixels at most
                for dx in range(-6, 7):
                    moved = np.roll(before, (-dy, -dx), (0, 1))[6:-6, 6:-6]
                    gap = np.abs(one[6:-6, 6:-6] - moved)
                    found.append((np.nanmedian(gap), dy, dx))
            least, dy, dx = min(found)
            assert least < 0.02 and (dy, dx) != (0, 0)

    def test_smooth_is_the_local_mean(self):
        image = pictures(height=64, width=64)
        noisy = self.whole("smooth", image)
        for one, before in zip(noisy, image):
            expected = cv2.blur(before, (5, 5), borderType=cv2.BORDER_REFLECT)[4:-4, 4:-4]  # 64 // 12 = 5
            gap = np.abs(one[4:-4, 4:-4] - expected)
            assert np.nanmax(gap) < 1e-5 and np.isfinite(gap).mean() > 0.5

    def test_shade_keeps_every_pixel_in_its_place(self):
        image = pictures()
        noisy = self.whole("shade", image)
        for one, before in zip(noisy, image):
            assert np.corrcoef(one[~np.isnan(one)], before[~np.isnan(one)])[0, 1] > 0.95  # clipped at 1 here and there

    @pytest.mark.parametrize("name", ["own_texture", "cut_paste"])
    def test_own_texture_and_cut_paste_come_from_elsewhere(self, name):
        random = np.random.default_rng(0)
        image = 0.3 + 0.3 * random.random((12, 32, 32, 1), dtype=np.float32)
        noisy = self.whole(name, image)
        inside = ~np.isnan(noisy)
        assert inside.sum() > 50
        assert abs(np.corrcoef(noisy[inside], image[inside])[0, 1]) < 0.5  # white noise: moved pixels share nothing

    def test_cut_paste_is_cut_straight(self):
        # On a picture of one tone the mask is a whole rectangle, so it fills the smallest turned rectangle around it.
        image = np.full((24, 96, 96, 1), 0.5, np.float32)
        _, mask = perturb(image, None, seeds(24), ALWAYS._replace(sources=(("cut_paste", 1.0),), min_area=80))
        filled = []
        for one in mask.numpy()[..., 0]:
            points = cv2.findNonZero(one.astype(np.uint8))
            if points is not None and points.min() > 0 and points.max() < 95:  # not cut by the border
                (_, (w, h), _) = cv2.minAreaRect(points)
                filled.append(one.sum() / ((w + 1) * (h + 1)))
        assert len(filled) > 5 and min(filled) > 0.7

    def test_dark_pictures_lighten_and_bright_ones_darken(self):
        for tone, sign in ((0.0, 1.0), (1.0, -1.0)):
            noisy = self.whole("shade", np.full((8, 16, 16, 1), tone, np.float32))
            assert (np.sign(noisy - tone) == sign).all()

    def test_texture_shows_the_folder(self):
        texture = np.stack([np.full((20, 30, 1), 51, np.uint8), np.full((20, 30, 1), 102, np.uint8)])  # 0.2 and 0.4
        noisy = self.whole("texture", np.full((40, 16, 16, 1), 0.9, np.float32), texture)
        tones = np.array([np.unique(one) for one in noisy])
        assert tones.shape == (40, 1)  # one tone each: textures are uniform, and the change of brightness is, too
        assert 5 < (tones < 0.29).sum() < 35  # both are chosen; s in +-0.3 keeps 0.2 below 0.29 and 0.4 above 0.25

    def test_spots_are_few_and_small(self):
        image = np.full((40, 256, 256, 1), 0.5, np.float32)
        _, mask = perturb(image, None, seeds(40), ALWAYS._replace(shapes=(("spot", 1.0),)))
        counts = []
        for one in mask.numpy()[..., 0].astype(np.uint8):
            number, _, boxes, _ = cv2.connectedComponentsWithStats(one)
            counts.append(number - 1)
            assert boxes[1:, 2:4].max(initial=0) <= 2 * 1.6 * 256 / 24 + 1
        assert set(counts) >= {1, 2, 3, 4}


class TestSettings:
    @pytest.mark.parametrize(
        "change, message",
        [
            ({"sources": (("colour_image", 1.0),)}, "noise.sources: unknown 'colour_image', .* mean 'color_image'"),
            ({"sources": (("shade", -1.0),)}, "noise.sources: the weight of 'shade' is -1.0"),
            ({"sources": (("shade", 0.0),)}, "noise.sources: no entry"),
            ({"sources": (("texture", 1.0),)}, "noise.sources: 'texture' needs a folder"),
            ({"shapes": (("lines", 1.0),)}, "noise.shapes: unknown 'lines', did you mean 'line'"),
            ({"probability": 1.5}, "noise.probability: 1.5"),
            ({"threshold": (0.5, 0.2)}, r"noise.threshold: \(0.5, 0.2\)"),
            ({"scales": (-1, 5)}, r"noise.scales: \(-1, 5\)"),
            ({"opacity": (0.2, 1.2)}, r"noise.opacity: \(0.2, 1.2\)"),
            ({"min_area": -1}, "noise.min_area: -1"),
            ({"defects": 0}, "noise.defects: 0"),
        ],
    )
    def test_wrong_settings_name_their_key(self, change, message):
        with pytest.raises(InputError, match=message):
            perlin.perturb(pictures(count=1), None, seeds(1), NoiseSettings()._replace(**change))

    def test_textures_of_other_channels(self):
        with pytest.raises(InputError, match="textures have 1 channels, the images 3"):
            perlin.perturb(pictures(count=1), None, seeds(1), EVERYTHING, textures(channels=1))


class TestLoadTextures:
    def test_reads_sorted_resizes_and_keeps_rgb(self, tmp_path):
        (tmp_path / "b").mkdir()
        red = np.zeros((10, 20, 3), np.uint8)
        red[..., 2] = 200  # BGR on disk
        cv2.imwrite(str(tmp_path / "b" / "red.png"), red)
        cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8), 90, np.uint8))
        (tmp_path / "notes.txt").write_text("not a picture")
        loaded = sources.load_textures(str(tmp_path), 16, 3)
        assert loaded.shape == (2, 16, 16, 3) and loaded.dtype == np.uint8
        assert (loaded[0] == 90).all() and (loaded[1] == [200, 0, 0]).all()
        assert sources.load_textures(str(tmp_path), 16, 1).shape == (2, 16, 16, 1)

    def test_errors_name_the_file(self, tmp_path):
        with pytest.raises(InputError, match="no texture images"):
            sources.load_textures(str(tmp_path), 16, 3)
        (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
        with pytest.raises(InputError, match="broken.png"):
            sources.load_textures(str(tmp_path), 16, 3)
        (tmp_path / "broken.png").write_bytes(b"")
        with pytest.raises(InputError, match="broken.png"):
            sources.load_textures(str(tmp_path), 16, 3)
