"""What was seen, expected and found as pictures: the map's colours, one sheet of panels an image (paper, Fig. 8)."""
import cv2
import numpy as np

from ..evaluation.regions import label_found
from ..evaluation.thresholds import ACCEPTED

BLUE, ORANGE, RED = (40, 90, 255), (255, 150, 0), (235, 20, 20)  # ROI, ground truth, found: RGB
AMBER = (201, 143, 0)  # found, to look at again
IMAGE_SHARE = 0.55  # of the picture where the served overlay's colours lie over it
MIDDLE = 0.5        # what stands in for a threshold where there is none
PANELS = ("image", "reconstruction", "truth", "overlay", "map", "map over image", "pooled", "regions")  # of a sheet
_INK, _PAPER, _BAR, _STEPS = (60, 60, 60), 255, 22, 64
_SIDE, _BELOW = 2, 4  # of paper around a panel


def _scale(colours, opacity):
    """(steps, 4) float32: RGB of turbo, whose steps look alike, at `colours` in [0, 1], and the opacity there."""
    grey = np.rint(255 * colours).astype(np.uint8)[None]
    return np.column_stack([cv2.applyColorMap(grey, cv2.COLORMAP_TURBO)[0, :, ::-1], opacity]).astype(np.float32)


_AT = np.linspace(0, 1, _STEPS)
BELOW = _scale(0.12 + 0.36 * _AT, 0.32 * _AT ** 2)    # from 0 to the threshold: blue to green, hardly there
ABOVE = _scale(0.64 + 0.32 * _AT, 0.55 + 0.25 * _AT)  # from the threshold to 1: yellow to red
_BOTH = np.zeros((256, 4), np.float32)  # as OpenCV looks colours up
_BOTH[:2 * _STEPS] = np.concatenate([BELOW, ABOVE])


def heat(image, values, threshold):
    """`image` (H, W, 3) uint8 under the colours of a map (H, W) in [0, 1]: warm where it is above the threshold."""
    level = min(max(MIDDLE if threshold is None else float(threshold), 1e-6), 1 - 1e-6)
    values = np.asarray(values, np.float32)
    step = np.where(values > level, (values - level) * ((_STEPS - 1) / (1 - level)) + _STEPS,
                    values * ((_STEPS - 1) / level))
    step = np.rint(step, out=step).astype(np.uint8)
    colours = cv2.LUT(cv2.merge([step] * 3), _BOTH[:, None, :3].astype(np.uint8))
    share = cv2.LUT(step, _BOTH[:, 3])
    return cv2.blendLinear(np.ascontiguousarray(image), colours, 1 - share, share)


def smoothed(values, pool):
    """`ops.pooled` of one map (H, W) float32 without TensorFlow, whose start of each operation costs more."""
    def sums(of):
        return cv2.boxFilter(of, cv2.CV_32F, (pool, pool), anchor=((pool - 1) // 2,) * 2, normalize=False,
                             borderType=cv2.BORDER_CONSTANT)

    return sums(values) / sums(np.ones_like(values))


def draw_sheet(seen, smooth, threshold, pool=21, min_area=1, side=256, limits=None):
    """(H, W, 3) uint8 RGB sheet of 2 x 4 panels of an `evaluation.Seen`; map and regions are cut by the ROI it has.

    Args:
      smooth: (H, W), the map after the average over pool x pool pixels that the score is the maximum of.
      threshold: pixels above it, in regions of `min_area` or more, count as found; None draws no regions.
      side: length of a panel's longer side.
      limits: `thresholds.Limits` of the score, which is not that maximum with every method and least area. Regions are not
        shown where they accept the image; None shows them always.
    """
    amap, image = seen.inside, to_rgb(seen.image)
    rejected = limits is None or limits.verdict(seen.score_roi) != ACCEPTED
    found = label_found(amap, threshold, min_area) if threshold is not None and rejected else np.zeros(amap.shape, int)
    nothing = np.zeros_like(image)
    redrawn = nothing if seen.reconstruction is None else to_rgb(seen.reconstruction)
    truth = nothing if seen.mask is None else np.where(seen.mask[..., None], np.uint8(255), nothing)
    regions = f"regions: {len(np.unique(found[found > 0]))}" if rejected else "regions: accepted"
    panels = [("image", image), ("reconstruction" if seen.reconstruction is not None else "reconstruction: none", redrawn),
              ("ground truth" if seen.mask is not None else "ground truth: unknown", truth),
              ("overlay", _outlines(image, seen, found > 0, side)),
              ("anomaly map", to_rgb(amap[..., None])), ("anomaly map over image", heat(image, amap, threshold)),
              (f"pooled {pool} x {pool}, max {smooth.max():.3g}", heat(image, smooth, limits and limits.reject)),
              (regions if threshold is not None else "regions: no threshold", _coloured(found))]
    cells = [_titled(_fit(panel, side), title) for title, panel in panels]
    return np.vstack([np.hstack(cells[:4]), np.hstack(cells[4:])])


def panels(sheet):
    """{name of `PANELS`: (h, w, 3) uint8} of what `draw_sheet` made, without titles; None of what is no such sheet."""
    rows, columns = sheet.shape[0] // 2, sheet.shape[1] // 4
    height, width = rows - _BAR - _BELOW, columns - 2 * _SIDE
    if sheet.shape[:2] != (2 * rows, 4 * columns) or min(height, width) < 1:
        return None
    corners = [(row * rows + _BAR, column * columns + _SIDE) for row in range(2) for column in range(4)]
    return {name: sheet[top:top + height, left:left + width] for name, (top, left) in zip(PANELS, corners)}


def shown(pixels, white=0) -> np.ndarray:
    """(H, W, 1 or 3) uint8 or uint16 -> (H, W, 3) uint8; `white` counts as white, 0: the type's largest."""
    if white or pixels.dtype == np.uint16:
        peak = white or np.iinfo(pixels.dtype).max
        pixels = np.rint(np.minimum(pixels, peak) * (255.0 / peak)).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def to_rgb(image):
    """(H, W, 1 or 3) in [0, 1] -> (H, W, 3) uint8."""
    image = (np.clip(np.asarray(image, np.float32), 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def jet(values):
    """(H, W) in [0, 1] -> (H, W, 3) uint8, the jet colours on the full scale, as the served overlay has them."""
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
    return cv2.copyMakeBorder(np.vstack([bar, panel]), 0, _BELOW, _SIDE, _SIDE, cv2.BORDER_CONSTANT,
                              value=(_PAPER,) * 3)
