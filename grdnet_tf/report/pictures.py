"""One sheet of panels an image, as the paper's Fig. 8: what was seen, what was expected, what was found."""
import cv2
import numpy as np

from ..evaluation.regions import label_found

BLUE, ORANGE, RED = (40, 90, 255), (255, 150, 0), (235, 20, 20)  # ROI, ground truth, found: RGB
IMAGE_SHARE = 0.55  # of the picture where the map's colours lie over it
_INK, _PAPER, _BAR = (60, 60, 60), 255, 22


def draw_sheet(seen, smooth, threshold, pool=21, min_area=1, side=256):
    """(H, W, 3) uint8 RGB sheet of 2 x 4 panels of an `evaluation.Seen`; map and regions are cut by the ROI it has.

    Args:
      smooth: (H, W), the map after the average over pool x pool pixels that the score is the maximum of.
      threshold: pixels above it, in regions of `min_area` or more, count as found; None draws no regions.
      side: length of a panel's longer side.
    """
    amap = seen.cut(seen.anomaly_map)
    found = label_found(amap, threshold, min_area) if threshold is not None else np.zeros(amap.shape, int)
    image = to_rgb(seen.image)
    nothing = np.zeros_like(image)
    redrawn = nothing if seen.reconstruction is None else to_rgb(seen.reconstruction)
    truth = nothing if seen.mask is None else np.where(seen.mask[..., None], np.uint8(255), nothing)
    count = len(np.unique(found[found > 0]))
    panels = [("image", image), ("reconstruction" if seen.reconstruction is not None else "reconstruction: none", redrawn),
              ("ground truth" if seen.mask is not None else "ground truth: unknown", truth),
              ("overlay", _outlines(image, seen, found > 0, side)),
              ("anomaly map", jet(amap)), (f"pooled {pool} x {pool}, max {smooth.max():.3f}", jet(smooth)),
              (f"regions: {count}" if threshold is not None else "regions: no threshold", _coloured(found)),
              ("image and map", cv2.addWeighted(image, IMAGE_SHARE, jet(amap), 1 - IMAGE_SHARE, 0))]
    cells = [_titled(_fit(panel, side), title) for title, panel in panels]
    return np.vstack([np.hstack(cells[:4]), np.hstack(cells[4:])])


def to_rgb(image):
    """(H, W, 1 or 3) in [0, 1] -> (H, W, 3) uint8."""
    image = (np.clip(np.asarray(image, np.float32), 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def jet(values):
    """(H, W) in [0, 1] -> (H, W, 3) uint8, the jet colours on the full scale: sheets compare with each other."""
    grey = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(grey, cv2.COLORMAP_JET)[..., ::-1])


def _outlines(image, seen, found, side):
    """Outlines of ROI, truth and finds, drawn at the sheet's own resolution so that thin ones stay readable."""
    canvas = _fit(image, side)
    for region, colour in ((seen.roi, BLUE), (seen.mask, ORANGE), (found, RED)):
        if region is not None and region.any() and not region.all():
            mask = cv2.resize(region.astype(np.uint8), canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST)
            outline, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(canvas, outline, -1, colour, 1)
    return canvas


def _coloured(numbers):
    """Each region in a colour of its own."""
    hues = np.zeros((*numbers.shape, 3), np.uint8)
    hues[..., 0] = (numbers * 47) % 180  # neighbours in number lie far apart on the colour circle
    hues[..., 1], hues[..., 2] = 200, np.where(numbers > 0, 255, 0)
    return cv2.cvtColor(hues, cv2.COLOR_HSV2RGB)


def _fit(panel, side):
    scale = side / max(panel.shape[:2])
    size = (max(1, round(panel.shape[1] * scale)), max(1, round(panel.shape[0] * scale)))
    if size == panel.shape[1::-1]:
        return panel.copy()
    return cv2.resize(panel, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)


def _titled(panel, title):
    bar = np.full((_BAR, panel.shape[1], 3), _PAPER, np.uint8)
    cv2.putText(bar, title, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
    return cv2.copyMakeBorder(np.vstack([bar, panel]), 0, 4, 2, 2, cv2.BORDER_CONSTANT, value=(_PAPER,) * 3)
