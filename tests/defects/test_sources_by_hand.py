"""Each source against NumPy: which pixel or colour it shows where, how much lighter or darker."""
import numpy as np
import pytest
import tensorflow as tf

from grdnet_tf.defects import sources

HEIGHT, WIDTH = 48, 64
IMAGE = np.random.default_rng(0).random((1, HEIGHT, WIDTH, 3), np.float32)
TEXTURES = np.random.default_rng(1).integers(0, 256, (3, 40, 56, 3), np.uint8)
ALL = np.ones((1, HEIGHT, WIDTH, 1), np.float32)


def shown(name, image=IMAGE, mask=ALL, matched=None, grid=None, textures=TEXTURES, names=None, **at):
    """(H, W, C) of one source; `at` gives the scalars by their places, all others 0."""
    scalars = np.zeros((1, 8), np.float32)
    for place, value in at.items():
        scalars[0, int(place[1:])] = value
    draws = sources.SourceDraws(tf.constant(scalars), tf.zeros((1, 8, 8, 3)) if grid is None else tf.constant(grid),
                                tf.zeros(image.shape))
    names = names or [name]
    matched = None if matched is None else tf.constant([matched])
    return sources.source_image(names, tf.constant([names.index(name)]), tf.constant(image), tf.constant(mask), draws,
                                textures, matched)[0].numpy()


def at(picture, y, x):
    """(H, W, C) pixels of the picture at whole coordinates, the picture reflected at its borders again and again."""
    return np.pad(picture, ((200, 200), (200, 200), (0, 0)), "symmetric")[y + 200, x + 200]


def oriented(which, height=HEIGHT, width=WIDTH):
    """Coordinates of all pixels: bit 0 turns y, bit 1 x, bit 2 exchanges them."""
    y, x = np.mgrid[:height, :width]
    y, x = y * (-1) ** (which % 2), x * (-1) ** (which // 2 % 2)
    return (x, y) if which >= 4 else (y, x)


def test_one_colour_and_colours_between_lattice_points():
    np.testing.assert_array_equal(shown("color_image", u0=0.25, u1=0.5, u2=0.75)[7, 9], [0.25, 0.5, 0.75])
    grid = np.random.default_rng(2).random((1, 8, 8, 3), np.float32)
    image = np.zeros((1, 56, 70, 3), np.float32)  # 8 pixels down and 10 across from one of the points to the next
    found = shown("color_blob", image, np.ones((1, 56, 70, 1), np.float32), grid=grid)
    np.testing.assert_allclose(found[::8, ::10], grid[0, :7, :7], atol=1e-6)
    np.testing.assert_allclose(found[4::8, ::10], (grid[0, :7, :7] + grid[0, 1:, :7]) / 2, atol=1e-6)
    np.testing.assert_allclose(found[::8, 5::10], (grid[0, :7, :7] + grid[0, :7, 1:]) / 2, atol=1e-6)


@pytest.mark.parametrize("name, weakest, strongest", [
    ("own_texture", 0.05, 0.3), ("cut_paste", 0.05, 0.3), ("shade", 0.1, 0.6), ("texture", 0.0, 0.3),
    ("color_image", 0.0, 0.0), ("shift", 0.0, 0.0), ("smooth", 0.0, 0.0)])
@pytest.mark.parametrize("much", [0.0, 0.5, 1.0])
def test_how_much_lighter_or_darker(name, weakest, strongest, much):
    """By the share s, and a tenth of it of the whole range: 0.4 becomes 0.4 (1 + s) + 0.1 s."""
    image, textures = np.full((1, 16, 16, 3), 0.4, np.float32), np.full((1, 16, 16, 3), 102, np.uint8)  # 0.4 * 255
    s = weakest + (strongest - weakest) * much
    for lighten, signed in ((0.39, -s), (0.41, s)):  # darker where the number drawn is below the picture's brightness
        found = shown(name, image, np.ones((1, 16, 16, 1), np.float32), textures=textures, u0=0.4, u1=0.4, u2=0.4,
                      u3=lighten, u4=much)
        np.testing.assert_allclose(found, 0.4 * (1 + signed) + 0.1 * signed, atol=1e-6)


def test_brightness_counts_under_the_mask():
    image = np.full((1, 16, 16, 1), 0.2, np.float32)
    image[:, :, 8:] = 0.8
    mask = (image > 0.5).astype(np.float32)
    assert shown("shade", image, mask, u3=0.5, u4=0.5)[0, 0, 0] < 0.2  # 0.8 there: darker
    assert shown("shade", image, 1.0 - mask, u3=0.5, u4=0.5)[0, 0, 0] > 0.2


def test_matched_takes_on_the_mean_colour_of_what_it_covers():
    mask = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    mask[:, 5:20, 30:50] = 1.0
    inside = mask[0, ..., 0] > 0
    for name in ("cut_paste", "own_texture", "texture"):
        found = shown(name, 0.3 + 0.3 * IMAGE, mask, matched=True, u3=0.5, u4=0.9, u6=0.4, u7=0.6)
        np.testing.assert_allclose(found[inside].mean(0), (0.3 + 0.3 * IMAGE[0])[inside].mean(0), atol=2e-2 * (
            name == "texture") + 1e-5)  # a texture may be cut off at black and white
    as_ever = shown("shade", IMAGE, mask, u3=0.5, u4=0.9)
    np.testing.assert_array_equal(shown("shade", IMAGE, mask, matched=True, u3=0.5, u4=0.9), as_ever)
    loose = shown("cut_paste", IMAGE, mask, matched=False, u4=0.9, u6=0.4)
    np.testing.assert_array_equal(loose, shown("cut_paste", IMAGE, mask, u4=0.9, u6=0.4))


@pytest.mark.parametrize("which", range(8))
def test_a_piece_comes_from_its_place_in_each_of_eight_orientations(monkeypatch, which):
    monkeypatch.setattr(sources, "STRENGTH", {})  # nothing lighter or darker
    y, x = oriented(which)
    moved = dict(u5=(which + 0.5) / 8, u6=0.5, u7=0.25)  # half of 48 down, a quarter of 64 across
    np.testing.assert_array_equal(shown("cut_paste", **moved), at(IMAGE[0], y + 24, x + 16))
    for u, number in ((0.0, 0), (0.5, 1), (0.99, 2)):  # of a texture's 40 and 56
        np.testing.assert_array_equal(shown("texture", u0=u, **moved),
                                      at(np.float32(TEXTURES[number]) / np.float32(255), y + 20, x + 14))


def test_each_of_64_patches_of_its_own_texture_has_its_place(monkeypatch):
    monkeypatch.setattr(sources, "STRENGTH", {})
    grid = np.random.default_rng(3).random((1, 8, 8, 3), np.float32)
    rows, columns = np.arange(HEIGHT) // 6, np.arange(WIDTH) // 8
    places = grid[0][rows][:, columns] * np.float32([HEIGHT, WIDTH, 0])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    expected = at(IMAGE[0], y + places[..., 0].astype(int), x + places[..., 1].astype(int))
    np.testing.assert_array_equal(shown("own_texture", grid=grid, u6=0.9, u7=0.9), expected)


@pytest.mark.parametrize("angle, far, down, right", [
    (0.0, 0.0, 0, 1), (0.25, 0.0, 1, 0), (0.0, 0.9999, 0, 4), (0.25, 0.9999, 4, 0), (0.5, 0.9999, 0, -4),
    (0.75, 0.9999, -4, 0), (0.125, 0.9999, 3, 3), (0.0, 0.5, 0, 2)])
def test_a_shift_goes_its_way(angle, far, down, right):
    """From 48/64 of a pixel to 48/12, in equal ratios: 1.7 in the middle; never mirrored."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    np.testing.assert_array_equal(shown("shift", u5=0.9, u6=angle, u7=far), at(IMAGE[0], y + down, x + right))


def test_smooth_is_the_mean_of_a_twelfth_of_the_side():
    found = shown("smooth")  # 48 // 12 = 4, made odd: 5
    np.testing.assert_allclose(found[10, 20], IMAGE[0, 8:13, 18:23].mean((0, 1)), atol=1e-6)


def test_each_sample_shows_its_own_source():
    image, textures = np.full((4, 16, 16, 3), 0.5, np.float32), np.full((1, 16, 16, 3), 51, np.uint8)
    names = ["color_image", "texture", "shade", "shift"]
    draws = sources.SourceDraws(tf.constant(np.float32([[0.9] * 3 + [0.7, 0, 0, 0, 0]] * 4)), tf.zeros((4, 8, 8, 3)),
                                tf.zeros((4, 16, 16, 3)))
    found = sources.source_image(names, tf.constant([3, 2, 1, 0]), tf.constant(image), tf.ones((4, 16, 16, 1)), draws,
                                 textures)
    np.testing.assert_allclose(found[:, 3, 3, 0], [0.5, 0.5 * 1.1 + 0.01, 0.2, 0.9], atol=1e-6)


@pytest.mark.parametrize("much, pixels", [(0.0, 0.75), (1.0, 6.0)])  # 48 / 64 and 48 / 8
def test_a_warp_draws_aside_linearly_between_pixels(much, pixels):
    """Where the mask is everywhere as thick; to the right on a ramp: each pixel shows what lies that far along."""
    ramp = np.zeros((1, HEIGHT, WIDTH, 1), np.float32) + np.float32(np.arange(WIDTH) / 100)[:, None]
    found = shown("warp", ramp, u6=0.0, u7=much)[:, :WIDTH - 7]
    np.testing.assert_allclose(found, ramp[0, :, :WIDTH - 7] + pixels / 100, atol=1e-5)
    down = shown("warp", ramp.transpose(0, 2, 1, 3), np.ones((1, WIDTH, HEIGHT, 1), np.float32), u6=0.25, u7=much)
    np.testing.assert_allclose(down[:WIDTH - 7], found.transpose(1, 0, 2), atol=1e-5)  # a quarter turn: downwards


def test_a_warp_ends_at_its_rim():
    """The weight of the displacement is the mask averaged over an eighth of the side, 1 where it is highest."""
    mask = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    mask[:, :, 20:40] = 1.0
    ramp = np.zeros_like(mask) + np.float32(np.arange(WIDTH) / 100)[:, None]
    moved = 100 * (shown("warp", ramp, mask, u6=0.0, u7=1.0) - ramp[0])[24, :, 0]
    np.testing.assert_allclose(moved[23:37], 6.0, atol=1e-3)  # 7 pixels all inside
    np.testing.assert_allclose(moved[20:23], [6 * 4 / 7, 6 * 5 / 7, 6 * 6 / 7], atol=1e-3)  # 4, 5, 6 of 7
    np.testing.assert_allclose(moved[:17], 0.0, atol=1e-3)
