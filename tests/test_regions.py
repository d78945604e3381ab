"""Found regions on drawn discs."""
import numpy as np
import pytest
from skimage.draw import disk

from grdnet_tf.regions import equivalent_diameter, find_regions


def two_discs():
    amap = np.zeros((100, 120), np.float32)
    for centre, radius, height in (((30, 40), 10, 0.6), ((70, 90), 5, 0.9)):
        amap[disk(centre, radius)] = height
    amap[70, 90] = 0.95
    return amap


def test_discs_are_found_highest_peak_first():
    small, large = find_regions(two_discs(), 0.5)
    assert small.peak == pytest.approx(0.95) and large.peak == pytest.approx(0.6)
    assert small.centroid == pytest.approx((70, 90)) and large.centroid == pytest.approx((30, 40))
    assert large.box == (21, 31, 40, 50)  # a disc of radius 10 holds the pixels closer than 10: 9 to each side
    assert large.area == pytest.approx(np.pi * 10 ** 2, rel=0.03)
    assert large.diameter == pytest.approx(20, rel=0.02)
    assert large.area_um2 is None and large.diameter_um is None


def test_sizes_in_micrometres():
    small, large = find_regions(two_discs(), 0.5, um_per_pixel=12.5)
    assert large.area_um2 == large.area * 156.25
    assert large.diameter_um == pytest.approx(250, rel=0.02)  # 20 pixels of 12.5 um


def test_minimum_area_and_threshold():
    assert len(find_regions(two_discs(), 0.5, min_area=100)) == 1
    assert len(find_regions(two_discs(), 0.7)) == 1
    assert find_regions(two_discs(), 0.95 + 1e-6) == []
    assert find_regions(np.full((5, 5), 0.5, np.float32), 0.5) == []  # above, not at


def test_corners_join():
    amap = np.zeros((4, 4), np.float32)
    amap[1, 1] = amap[2, 2] = 1.0
    assert [region.area for region in find_regions(amap, 0.5)] == [2]


def test_equivalent_diameter():
    assert equivalent_diameter(np.pi * 25) == pytest.approx(10)
