"""What each source shows, alone over the whole picture; and the pictures read from a folder of textures."""
import cv2
import numpy as np
import pytest
from noise import ALL_SOURCES, ALWAYS, perturb, pictures, seeds, textures

from grdnet_tf.defects import sources
from grdnet_tf.errors import InputError


def whole(name, image, texture=None):
    """The source alone, over the whole picture: threshold -1, opacity 1; NaN where the picture is left as it was."""
    settings = ALWAYS.replace(threshold=(-1.0, -1.0), opacity=(1.0, 1.0), sources={name: 1.0})
    noisy, mask = perturb(image, None, seeds(len(image)), settings, texture)
    return np.where(mask == 1.0, noisy, np.nan)


def test_each_source_of_the_options_shows_what_no_other_shows():
    shown = {name: whole(name, pictures(), textures()) for name in ALL_SOURCES}
    assert all(np.isfinite(picture).any() for picture in shown.values())
    assert len({picture.tobytes() for picture in shown.values()}) == len(ALL_SOURCES)  # an unknown one is another's


def test_color_image_is_one_colour_a_picture():
    noisy = whole("color_image", pictures())
    for one in noisy.reshape((6, -1, 3)):
        one = one[~np.isnan(one[:, 0])]
        assert len(one) > 1000 and (one == one[0]).all()
    assert len(np.unique(noisy[~np.isnan(noisy)])) == 18


def test_color_blob_is_smooth_and_many_coloured():
    noisy = whole("color_blob", pictures())
    assert np.nanmax(np.abs(np.diff(noisy, axis=1))) < 7.0 / 48 + 1e-5  # one cell of 48 / 7 pixels goes from 0 to 1
    assert np.nanstd(noisy, axis=(1, 2)).min() > 0.05


def test_color_pixel_is_uniform_noise():
    noisy = whole("color_pixel", pictures())
    counts, _ = np.histogram(noisy[~np.isnan(noisy)], bins=10, range=(0.0, 1.0))
    assert np.abs(counts / counts.sum() - 0.1).max() < 0.01


@pytest.mark.parametrize("name", ["own_texture", "cut_paste", "shade"])
def test_own_picture_sources_show_pixels_of_the_picture(name):
    # Values of one sample: 0.2 or 0.6, then times (1 + s) plus 0.1 s: two values whose difference is 0.4 (1 + s).
    random = np.random.default_rng(0)
    image = np.where(random.random((8, 32, 32, 1)) < 0.5, 0.2, 0.6).astype(np.float32)
    noisy = whole(name, image)
    for one in noisy:
        values = np.unique(one[~np.isnan(one)])
        low, high = values.min(), values.max()
        strength = (high - low) / 0.4 - 1.0
        assert 0.05 <= abs(strength) <= 0.6
        assert low == pytest.approx(0.2 * (1 + strength) + 0.1 * strength, abs=1e-5)
        np.testing.assert_allclose(values, np.where(values < (low + high) / 2, low, high), atol=1e-6)


def test_shift_moves_the_picture_a_little():
    image = pictures(height=64, width=64)
    noisy = whole("shift", image)
    for one, before in zip(noisy, image):
        found = []
        for dy in range(-6, 7):  # 1/12 of 64 pixels at most
            for dx in range(-6, 7):
                moved = np.roll(before, (-dy, -dx), (0, 1))[6:-6, 6:-6]
                gap = np.abs(one[6:-6, 6:-6] - moved)
                found.append((np.nanmedian(gap), dy, dx))
        least, dy, dx = min(found)
        assert least < 0.02 and (dy, dx) != (0, 0)


def test_smooth_is_the_local_mean():
    image = pictures(height=64, width=64)
    noisy = whole("smooth", image)
    for one, before in zip(noisy, image):
        expected = cv2.blur(before, (5, 5), borderType=cv2.BORDER_REFLECT)[4:-4, 4:-4]  # 64 // 12 = 5
        gap = np.abs(one[4:-4, 4:-4] - expected)
        assert np.nanmax(gap) < 1e-5 and np.isfinite(gap).mean() > 0.5


def test_shade_keeps_every_pixel_in_its_place():
    image = pictures()
    noisy = whole("shade", image)
    for one, before in zip(noisy, image):
        assert np.corrcoef(one[~np.isnan(one)], before[~np.isnan(one)])[0, 1] > 0.95  # clipped at 1 here and there


@pytest.mark.parametrize("name", ["own_texture", "cut_paste"])
def test_own_texture_and_cut_paste_come_from_elsewhere(name):
    random = np.random.default_rng(0)
    image = 0.3 + 0.3 * random.random((12, 32, 32, 1), dtype=np.float32)
    noisy = whole(name, image)
    inside = ~np.isnan(noisy)
    assert inside.sum() > 50
    assert abs(np.corrcoef(noisy[inside], image[inside])[0, 1]) < 0.5  # white noise: moved pixels share nothing


def test_dark_pictures_lighten_and_bright_ones_darken():
    for tone, sign in ((0.0, 1.0), (1.0, -1.0)):
        noisy = whole("shade", np.full((8, 16, 16, 1), tone, np.float32))
        assert (np.sign(noisy - tone) == sign).all()


def test_texture_shows_the_folder():
    texture = np.stack([np.full((20, 30, 1), 51, np.uint8), np.full((20, 30, 1), 102, np.uint8)])  # 0.2 and 0.4
    noisy = whole("texture", np.full((40, 16, 16, 1), 0.9, np.float32), texture)
    tones = np.array([np.unique(one) for one in noisy])
    assert tones.shape == (40, 1)  # one tone each: textures are uniform, and the change of brightness is, too
    assert 5 < (tones < 0.29).sum() < 35  # both are chosen; s in +-0.3 keeps 0.2 below 0.29 and 0.4 above 0.25


def test_weights_of_the_sources():
    # A grey colour of its own for color_image; color_pixel differs from pixel to pixel: tell them by their spread.
    image = np.full((400, 4, 4, 1), 0.5, np.float32)
    settings = ALWAYS.replace(threshold=(-1.0, -1.0), opacity=(1.0, 1.0), scales=(0, 0))
    settings = settings.replace(sources={"color_image": 1.0, "color_pixel": 3.0, "cut_paste": 0.0})
    noisy = perturb(image, None, seeds(400), settings).noisy.numpy()
    assert (noisy.std((1, 2, 3)) > 0.1).mean() == pytest.approx(0.75, abs=0.09)  # 4 standard deviations


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

    def test_smaller_ones_are_means_of_what_they_cover(self, tmp_path):
        picture = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
        cv2.imwrite(str(tmp_path / "a.png"), picture)
        expected = picture.reshape(16, 4, 16, 4).mean((1, 3))
        assert np.abs(sources.load_textures(str(tmp_path), 16, 1)[0, ..., 0] - expected).max() <= 0.5 + 1e-6

    def test_errors_name_the_file(self, tmp_path):
        with pytest.raises(InputError, match="no texture images"):
            sources.load_textures(str(tmp_path), 16, 3)
        (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
        with pytest.raises(InputError, match="broken.png"):
            sources.load_textures(str(tmp_path), 16, 3)
        (tmp_path / "broken.png").write_bytes(b"")
        with pytest.raises(InputError, match="broken.png"):
            sources.load_textures(str(tmp_path), 16, 3)
