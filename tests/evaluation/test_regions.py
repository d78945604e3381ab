"""Found regions on drawn discs, and which defects they meet."""
import numpy as np
import pytest
from skimage.draw import disk

from grdnet_tf.evaluation.regions import (
    Defect,
    by_size,
    connected,
    counted,
    describe,
    equivalent_diameter,
    label_found,
    match,
)


def two_discs():
    amap = np.zeros((100, 120), np.float32)
    for centre, radius, height in (((30, 40), 10, 0.6), ((70, 90), 5, 0.9)):
        amap[disk(centre, radius)] = height
    amap[70, 90] = 0.95
    return amap


def find(amap, threshold, min_area=1, um_per_pixel=None, **options):
    return describe(label_found(amap, threshold, min_area), amap, um_per_pixel, **options)


def test_discs_are_found_highest_peak_first():
    small, large = find(two_discs(), 0.5)
    assert small.peak == pytest.approx(0.95) and large.peak == pytest.approx(0.6)
    assert small.centroid == pytest.approx((70, 90)) and large.centroid == pytest.approx((30, 40))
    assert large.box == (21, 31, 40, 50)  # a disc of radius 10 holds the pixels closer than 10: 9 to each side
    assert large.area == pytest.approx(np.pi * 10 ** 2, rel=0.03)
    assert large.diameter == pytest.approx(20, rel=0.02)
    assert large.area_um2 is None and large.diameter_um is None


def test_sizes_in_micrometres():
    small, large = find(two_discs(), 0.5, um_per_pixel=(12.5, 12.5))
    assert large.area_um2 == large.area * 156.25
    assert large.diameter_um == pytest.approx(250, rel=0.02)  # 20 pixels of 12.5 um
    squeezed = find(two_discs(), 0.5, um_per_pixel=(10.0, 20.0))[1]  # a pixel need not be square after a resize
    assert squeezed.area_um2 == large.area * 200.0


def test_minimum_area_and_threshold():
    assert len(find(two_discs(), 0.5, min_area=100)) == 1
    assert len(find(two_discs(), 0.7)) == 1
    assert find(two_discs(), 0.95 + 1e-6) == []
    assert find(np.full((5, 5), 0.5, np.float32), 0.5) == []  # above, not at


def test_a_region_of_the_least_area_stays_and_a_smaller_one_counts_nowhere():
    amap = np.full((8, 8), 0.2, np.float32)
    amap[0, 0] = amap[1, 1] = amap[0, 2] = 0.9   # three pixels that touch at corners
    amap[5:7, 5:7] = 0.8                         # four
    amap[3, 6] = 0.5                             # at the threshold, not above
    amap[7, 0] = 0.7                             # one
    expected = amap.copy()
    expected[7, 0] = 0.0
    np.testing.assert_array_equal(counted(amap, 0.5, 2), expected)
    expected[0, 0] = expected[1, 1] = expected[0, 2] = 0.0
    np.testing.assert_array_equal(counted(amap, 0.5, 4), expected)
    np.testing.assert_array_equal(counted(amap, 0.5, 1), amap)
    assert sorted(region.area for region in describe(label_found(amap, 0.5), amap)) == [1, 3, 4]
    assert sorted(region.area for region in find(amap, 0.5, min_area=2)) == [3, 4]
    assert [region.area for region in find(amap, 0.5, min_area=4)] == [4]


def test_the_order_is_of_the_peaks_and_of_the_place_where_they_are_equal():
    amap = np.zeros((9, 40), np.float32)
    amap[2, 2:4] = 0.95, 0.3    # the highest peak and the lowest pixel
    amap[2, 10:12] = 0.8
    amap[5, 20::2] = 0.6        # ten alike
    found = find(amap, 0.2)
    assert [region.peak for region in found[:2]] == pytest.approx([0.95, 0.8])
    assert [region.box[1] for region in found[2:]] == list(range(20, 40, 2))


def test_of_one_map_fifty_regions_are_described():
    amap = np.zeros((20, 40), np.float32)
    amap[::2, ::2] = 0.9
    assert len(find(amap, 0.5)) == 50


def test_corners_join():
    amap = np.zeros((4, 4), np.float32)
    amap[1, 1] = amap[2, 2] = 1.0
    assert [region.area for region in find(amap, 0.5)] == [2]


def test_only_the_highest_peaks_are_described():
    amap = np.zeros((40, 40), np.float32)
    amap[::2, ::2] = np.random.default_rng(0).permutation(400).reshape(20, 20) / 400 + 0.1
    found = find(amap, 0.05, kept=7)
    assert [region.peak for region in found] == pytest.approx(np.sort(amap.ravel())[:-8:-1])


def test_a_defect_is_found_by_a_region_that_touches_it():
    truth = np.zeros((40, 40), bool)
    truth[2:6, 2:6] = truth[20:30, 20:30] = True
    amap = np.zeros((40, 40), np.float32)
    amap[5:8, 5:8] = 0.9  # one pixel of it lies in the first
    amap[10:12, 30:32] = 0.9
    first, second = match(connected(truth), label_found(amap, 0.5), (2.0, 2.0))
    assert (first.found, second.found) == (True, False)
    assert first.diameter == equivalent_diameter(16) and first.diameter_um == pytest.approx(2 * first.diameter)
    assert not any(defect.found for defect in match(connected(truth), label_found(amap, 0.5, min_area=10)))


def test_recall_by_size():
    # Diameters: 3 px (missed), 5 px (found), 7 px (missed), 40 px (found); all times 20 um.
    truth, found = np.zeros((100, 200), int), np.zeros((100, 200), bool)
    for i, radius in enumerate((1.5, 2.5, 3.5, 20)):
        truth[disk((50, 30 + 45 * i), radius + 0.3)] = i + 1
    found[50, 75] = found[50, 165] = True
    sizes = by_size(match(truth, found))
    assert [(c["n"], c["found"]) for c in sizes["classes"]] == [(1, 0), (2, 1), (0, 0), (0, 0), (1, 1), (0, 0)]
    assert sizes["unit"] == "px" and sizes["classes"][-1]["to"] is None
    assert sizes["smallest_found"] < sizes["largest_missed"] < 8
    in_um = by_size(match(truth, found, (20.0, 20.0)))
    assert in_um["unit"] == "um" and in_um["smallest_found"] == pytest.approx(20 * sizes["smallest_found"])
    filled = [(c["from"], c["n"], c["found"]) for c in in_um["classes"] if c["n"]]
    assert filled == [(0, 1, 0), (100, 2, 1), (800, 1, 1)]
    assert by_size([]) is None


def test_classes_of_size_hold_their_lower_edge():
    sizes = by_size([Defect(4.0, None, True), Defect(8.0, 100.0, False)])  # not all in um: in pixels
    assert sizes["unit"] == "px" and [c["from"] for c in sizes["classes"]] == [0, 4, 8, 16, 32, 64]
    assert [c["n"] for c in sizes["classes"]] == [0, 1, 1, 0, 0, 0]
    in_um = by_size([Defect(4.0, 1000.0, True)])
    assert [c["from"] for c in in_um["classes"]] == [0, 100, 200, 300, 400, 600, 800, 1000]
    assert in_um["classes"][-1]["n"] == 1


def test_equivalent_diameter():
    assert equivalent_diameter(np.pi * 25) == pytest.approx(10)
