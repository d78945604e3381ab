"""The sheet of panels of one picture."""
import numpy as np

from grdnet_tf.evaluation.measure import Seen
from grdnet_tf.ops import pooled
from grdnet_tf.report.pictures import BLUE, ORANGE, RED, draw_sheet


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
    unknown = draw_sheet(seen._replace(mask=None, roi=None), smooth, threshold=None, pool=5, side=64)
    assert unknown.shape == sheet.shape
    assert not (unknown == np.array(RED, np.uint8)).all(axis=-1).any()
