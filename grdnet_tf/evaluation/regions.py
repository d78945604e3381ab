"""Connected regions of a thresholded anomaly map: where defects are, how big, and from what size on they are found."""
from typing import List, NamedTuple, Optional, Tuple

import numpy as np
from scipy import ndimage
from skimage.measure import label, regionprops

KEPT = 50                                                      # regions described of one map, the highest peaks
PIXEL_CLASSES = (0, 4, 8, 16, 32, 64, np.inf)                  # diameters
UM_CLASSES = (0, 100, 200, 300, 400, 600, 800, 1000, np.inf)   # the paper's defects: 100 to 1000 um


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


class Defect(NamedTuple):
    """One ground-truth region: its equivalent `diameter` in pixels and um, and whether a found region touches it."""
    diameter: float
    diameter_um: Optional[float]
    found: bool


def connected(mask):
    """(H, W) int labels of the connected regions of `mask`; pixels that touch at a corner are connected."""
    return label(mask, connectivity=2)


def label_found(anomaly_map, threshold, min_area=1):
    """Labels of the regions of pixels above `threshold` that have `min_area` pixels or more."""
    labels = connected(anomaly_map > threshold)
    if min_area > 1:
        areas = np.bincount(labels.ravel())
        labels[areas[labels] < min_area] = 0
    return labels


def counted(anomaly_map, threshold, min_area):
    """The map with 0 in its regions above `threshold` that have fewer than `min_area` pixels: they count nowhere."""
    if min_area <= 1:
        return anomaly_map
    labels = connected(anomaly_map > threshold)
    areas = np.bincount(labels.ravel())
    areas[0] = min_area  # what is below the threshold stays
    return np.where(areas[labels] < min_area, np.float32(0), anomaly_map)


def describe(labels, anomaly_map, um_per_pixel=None, kept=KEPT) -> List[Region]:
    """The labelled regions, highest peak first, at most `kept`.

    Args:
      um_per_pixel: (height, width) of a pixel of the map in micrometres, or None.
    """
    numbers = np.unique(labels[labels > 0])
    if not len(numbers):
        return []
    peaks = ndimage.maximum(anomaly_map, labels, numbers)
    chosen = numbers[np.argsort(-peaks, kind="stable")[:kept]]
    properties = {part.label: part for part in regionprops(np.where(np.isin(labels, chosen), labels, 0))}
    found = []
    for number in chosen:
        part = properties[number]
        area = int(part.area)
        peak = float(anomaly_map[part.slice][part.image].max())
        found.append(Region(area, tuple(int(v) for v in part.bbox), tuple(float(v) for v in part.centroid), peak,
                            equivalent_diameter(area), *_in_um(area, um_per_pixel)))
    return found


def match(truth, found, um_per_pixel=None) -> List[Defect]:
    """Each labelled region of `truth` (H, W), and whether it meets a labelled region of `found`."""
    areas = np.bincount(truth.ravel())
    hit = np.zeros(len(areas), bool)
    hit[np.unique(truth[found > 0])] = True
    return [Defect(equivalent_diameter(areas[i]), _in_um(areas[i], um_per_pixel)[1], bool(hit[i]))
            for i in range(1, len(areas)) if areas[i]]


def by_size(defects) -> Optional[dict]:
    """Recall by equivalent diameter, in um if the pixel size is known, else in pixels; None without a defect.

    {"unit", "smallest_found", "largest_missed", "classes": [{"from", "to", "n", "found"}]}
    """
    if not defects:
        return None
    known = all(defect.diameter_um is not None for defect in defects)
    sizes = np.array([defect.diameter_um if known else defect.diameter for defect in defects])
    found = np.array([defect.found for defect in defects])
    edges = UM_CLASSES if known else PIXEL_CLASSES
    classes = []
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (sizes >= low) & (sizes < high)
        classes.append({"from": low, "to": None if high == np.inf else high, "n": int(inside.sum()),
                        "found": int((inside & found).sum())})
    return {"unit": "um" if known else "px", "classes": classes,
            "smallest_found": float(sizes[found].min()) if found.any() else None,
            "largest_missed": float(sizes[~found].max()) if not found.all() else None}


def equivalent_diameter(area):
    """Diameter of the circle of that area."""
    return 2.0 * float(np.sqrt(area / np.pi))


def _in_um(area, um_per_pixel):
    """(area, diameter) in um."""
    if um_per_pixel is None:
        return None, None
    um2 = float(area * um_per_pixel[0] * um_per_pixel[1])
    return um2, equivalent_diameter(um2)
