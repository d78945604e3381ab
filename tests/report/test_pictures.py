"""The sheet of panels of one picture."""
import numpy as np
import pytest

from grdnet_tf.evaluation.measure import Seen
from grdnet_tf.ops import pooled
from grdnet_tf.report.pictures import ABOVE, BELOW, BLUE, ORANGE, RED, draw_sheet, heat, panels, smoothed


def test_sheet_shows_roi_truth_and_finds_in_their_colours():
    amap = np.full((32, 32), 0.1, np.float32)
    amap[4:8, 4:8] = 0.9
    roi, mask = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    roi[:20], mask[12:16, 12:16] = True, True
    grey = np.full((32, 32, 1), 0.5, np.float32)
    seen = Seen(None, grey, grey, amap, roi, mask, 0.5, 0.5)
    smooth = np.asarray(pooled(seen.cut(amap)[None, ..., None], 5))[0, ..., 0]
    sheet = draw_sheet(seen, smooth, threshold=0.5, pool=5, side=64)
    overlay = sheet[22:86, 3 * 68 + 2:4 * 68 - 2]  # the last panel of the first row, below its title
    for colour, (row, column) in ((BLUE, (39, 60)), (ORANGE, (24, 28)), (RED, (8, 10))):
        assert tuple(overlay[row, column]) == colour  # twice the size: edges of roi, mask and find
    np.testing.assert_array_equal(panels(sheet)["overlay"], overlay)
    assert tuple(panels(sheet)["truth"][24, 28]) == (255,) * 3 and panels(sheet)["regions"].shape == (64, 64, 3)
    assert panels(sheet[1:]) is None and panels(sheet[:52]) is None  # another side; titles without panels
    unknown = draw_sheet(seen._replace(mask=None, roi=None), smooth, threshold=None, pool=5, side=64)
    assert unknown.shape == sheet.shape
    assert not (unknown == np.array(RED, np.uint8)).all(axis=-1).any()


@pytest.mark.parametrize("pool", [1, 4, 21])
def test_the_average_without_tensorflow_is_that_of_the_score(pool):
    values = np.random.default_rng(0).random((15, 40), np.float32)
    np.testing.assert_allclose(smoothed(values, pool), np.asarray(pooled(values[None, ..., None], pool))[0, ..., 0],
                               atol=1e-6)


def test_the_heat_is_as_transparent_as_its_colour_says():
    image = np.full((1, 3, 3), 100, np.uint8)
    values = np.array([[0.0, 0.2, 1.0]], np.float32)  # nothing, the threshold itself, all
    shown = heat(image, values, 0.2)[0].astype(int)
    for pixel, (*colour, share) in zip(shown, (BELOW[0], BELOW[-1], ABOVE[-1])):
        assert np.abs(pixel - (100 + share * (np.array(colour) - 100))).max() <= 0.51
    assert (heat(image, values, 0.1)[0, 1] != shown[1]).any()
