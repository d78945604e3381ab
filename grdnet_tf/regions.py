"""Connected regions of a thresholded anomaly map: where the defects are, and how big."""
from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from skimage.measure import label, regionprops


class Region(NamedTuple):
    """One found region. Pixels of the evaluated map; `area_um2` and `diameter_um` where the pixel size is known.

    `box` (top, left, bottom, right), the last two exclusive. `centroid` (row, column). `peak`: the highest score in it.
    `diameter`: of the circle of the same area.
    """
    area: int
    box: Tuple[int, int, int, int]
    centroid: Tuple[float, float]
    peak: float
    diameter: float
    area_um2: Optional[float]
    diameter_um: Optional[float]


def find_regions(anomaly_map, threshold, min_area=1, um_per_pixel=None) -> List[Region]:
    """Regions of pixels above `threshold`, joined over sides and corners, of `min_area` pixels or more, highest peak first.

    Args:
      anomaly_map: (H, W).
      um_per_pixel: the side of a pixel of the map, in micrometres.
    """
    found = []
    for part in regionprops(label(anomaly_map > threshold, connectivity=2), intensity_image=anomaly_map):
        if part.area < min_area:
            continue
        area = int(part.area)
        diameter = equivalent_diameter(area)
        scale = (area * um_per_pixel ** 2, diameter * um_per_pixel) if um_per_pixel else (None, None)
        found.append(Region(area, tuple(int(v) for v in part.bbox), tuple(float(v) for v in part.centroid),
                            float(anomaly_map[part.slice][part.image].max()), diameter, *scale))
    return sorted(found, key=lambda region: (-region.peak, region.box))


def equivalent_diameter(area):
    """Diameter of the circle of that area."""
    return 2.0 * float(np.sqrt(area / np.pi))
