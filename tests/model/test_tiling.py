"""Tiled prediction: equal where it must be, complete, smooth, and bounded."""
import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from grdnet_tf.model.scoring import anomaly_score
from grdnet_tf.model.tiling import predict_tiled, starts


def pixelwise(tiles):
    """A network that looks at single pixels: tiling must not change what it finds."""
    return 1 - tiles, tiles[..., :1] ** 2, None


def local(tiles):
    """A network that looks at a neighbourhood: it errs at the edges of a tile."""
    return tiles, np.stack([gaussian_filter(tile[..., :1], (2, 2, 0), mode="constant") for tile in tiles]), None


def picture(height, width, channels=1, n=1, seed=0):
    return np.random.default_rng(seed).random((n, height, width, channels), dtype=np.float32)


@pytest.mark.parametrize("side,tile,overlap,expected", [
    (10, 10, 4, [0]), (8, 10, 4, [0]), (16, 10, 4, [0, 6]), (17, 10, 4, [0, 6, 7]), (20, 10, 0, [0, 10]),
    (21, 10, 0, [0, 10, 11])])
def test_tiles_cover_the_side(side, tile, overlap, expected):
    assert starts(side, tile, overlap) == expected


@pytest.mark.parametrize("height,width,tile,overlap,batch", [
    (50, 70, 16, 4, 3), (33, 64, (16, 32), 0, 8), (17, 16, 16, 15, 2), (100, 9, 16, 8, 4), (64, 64, 32, 16, 1)])
def test_a_pixelwise_network_is_unchanged_by_tiling(height, width, tile, overlap, batch):
    images = picture(height, width, channels=3, n=2)
    reconstruction, amap, score = predict_tiled(pixelwise, images, tile, overlap, pool=5, batch=batch)
    np.testing.assert_allclose(reconstruction, 1 - images, atol=1e-6)
    np.testing.assert_allclose(amap, images[..., :1] ** 2, atol=1e-6)
    np.testing.assert_allclose(score, anomaly_score(images[..., :1] ** 2, 5), atol=1e-6)


@pytest.mark.parametrize("height,width", [(32, 32), (32, 20), (8, 16)])
def test_a_picture_no_larger_than_a_tile_equals_the_plain_prediction(height, width):
    images = picture(height, width)
    reconstruction, amap, score = predict_tiled(local, images, 32, 8, pool=5)
    np.testing.assert_array_equal(reconstruction, images)
    np.testing.assert_array_equal(amap, local(images)[1])
    np.testing.assert_array_equal(score, anomaly_score(local(images)[1], 5))


def test_overlap_hides_the_edges_of_tiles():
    images = np.full((1, 96, 96, 1), 0.5, np.float32)  # inside a tile the network says 0.5, at its edge half of that

    def worst(overlap):  # away from the picture's own edge, where the plain prediction errs as well
        return np.abs(predict_tiled(local, images, 32, overlap)[1][0, 10:-10, 10:-10] - 0.5).max()

    assert worst(0) > 0.2 and worst(24) < 0.04
    amap = predict_tiled(local, images, 32, 24)[1][0, 48, :, 0]
    assert np.abs(np.diff(amap[10:-10])).max() < 0.02  # no seam


def test_sides_that_the_network_cannot_take_are_continued():
    seen = []

    def network(tiles):
        seen.append(tiles.shape)
        return pixelwise(tiles)

    images = picture(19, 70)
    reconstruction, amap, _ = predict_tiled(network, images, 32, 8, multiple=8)
    assert {shape[1:3] for shape in seen} == {(24, 32)}
    assert amap.shape == (1, 19, 70, 1)
    np.testing.assert_allclose(reconstruction, 1 - images, atol=1e-6)


def test_batches_of_tiles_have_one_shape():
    shapes = set()
    predict_tiled(lambda tiles: shapes.add(tiles.shape) or pixelwise(tiles), picture(64, 100), 32, 8, batch=4)
    assert shapes == {(4, 32, 32, 1)}


def test_memory_is_the_pictures_not_the_tiles():
    def peak(side):
        images = picture(side, side)
        tracemalloc.start()
        predict_tiled(pixelwise, images, 64, 32, batch=4)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found / images.nbytes

    peak(256)  # what is allocated once and for all
    assert peak(1024) < 8  # floats a pixel, where the tiles alone have 4 x 2 of them, with their results 4 x 4


@pytest.mark.parametrize("tile,overlap,multiple,message", [
    (16, 16, 1, "overlap"), (16, -1, 1, "overlap"), (20, 4, 8, "divisible")])
def test_wrong_tiles_are_refused(tile, overlap, multiple, message):
    with pytest.raises(ValueError, match=message):
        predict_tiled(pixelwise, picture(40, 40), tile, overlap, multiple=multiple)


def test_a_network_of_one_size_gets_whole_tiles_only():
    seen = []

    def predict(tiles):
        seen.append(tiles.shape)
        return tiles, tiles[..., :1]

    images = np.random.default_rng(0).random((1, 5, 20, 3)).astype(np.float32)
    redrawn, amap, _ = predict_tiled(predict, images, 16, 4, pool=1, multiple=4, one_size=True)
    assert seen == [(2, 16, 16, 3)]  # 5 rows continued to 16; 20 columns are two tiles
    np.testing.assert_allclose(redrawn, images, atol=1e-6)
