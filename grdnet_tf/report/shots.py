"""An image as report.html holds it: the file's own picture, and maps and outlines that lie over it, each by itself."""
import base64

import cv2
import numpy as np
from skimage.measure import block_reduce, find_contours

from ..data.files import read_picture
from ..evaluation.regions import label_found
from . import pictures

SIDE = 1024  # pixels of an embedded picture's longer side; a file's own picture is as a rule no larger
MAP_SIDE = 512


def shot(seen, smooth, threshold, min_area=1, white=0) -> dict:
    """`embed` of an `evaluation.Seen` and of its file.

    Args:
      smooth, threshold, min_area: as of `pictures.draw_sheet`.
      white: value of a pixel of the file that is white; 0: the file's range.
    """
    amap = seen.inside
    found = label_found(amap, threshold, min_area) > 0 if threshold is not None else None
    redrawn = None if seen.reconstruction is None else pictures.to_rgb(seen.reconstruction)
    return embed(own_picture(seen.record.image, white), amap, smooth, redrawn,
                 {"roi": seen.roi, "truth": seen.mask, "found": found})


def embed(picture, raw=None, pooled=None, reconstruction=None, outlines=None) -> dict:
    """Plain data for the page.

    Args:
      picture: (H, W, 3) uint8 RGB.
      raw, pooled: maps (h, w) in [0, 1], or None; stored as grey = 255 sqrt(value), for thresholds are often small.
      reconstruction: (h, w, 3) uint8 RGB, or None.
      outlines: {name: (h, w) bool, or None}.
    """
    height, width = picture.shape[:2]
    shapes = {name: region.shape for name, region in (outlines or {}).items() if region is not None}
    rows, columns = next(iter(shapes.values()), (height, width))
    return {"picture": jpeg(picture), "shape": f"{width} / {height}", "box": f"0 0 {columns} {rows}",
            "raw": _map(raw), "pooled": _map(pooled),
            "reconstruction": None if reconstruction is None else jpeg(reconstruction),
            "outlines": {name: outline(outlines[name]) for name in shapes}}


def own_picture(path, white=0):
    """(H, W, 3) uint8 RGB of a file, reduced to `SIDE` if it is larger; `white` as of `shot`."""
    return reduced(pictures.shown(read_picture(path), white))


def reduced(pixels):
    """(H, W, 3) uint8, its longer side `SIDE` at most."""
    scale = SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
    return cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)


def outline(region) -> str:
    """The boundary of (h, w) bool as an SVG path in pixels of the map; "" where it has none."""
    if region.all():
        return ""
    parts = []
    for points in find_contours(np.pad(region, 1).astype(np.float32), 0.5):
        points = cv2.approxPolyDP(points.astype(np.float32)[:, None], 0.4, False)[:, 0]  # scikit-image's is 200 times slower
        points = points - 0.5  # a pixel's middle lies at one half, the padding at -1
        parts.append("M" + "L".join(f"{x:.4g},{y:.4g}" for y, x in points.tolist()) + "Z")
    return "".join(parts)


def size(embedded) -> int:
    """Bytes that it takes in the page."""
    return sum(len(embedded[name] or "") for name in ("picture", "raw", "pooled", "reconstruction"))


def _map(values):
    if values is None:
        return None
    step = -(-max(values.shape) // MAP_SIDE)
    peaks = block_reduce(values, step, np.max) if step > 1 else values  # a small peak must not be averaged away
    return _uri("png", np.rint(255 * np.sqrt(np.clip(peaks, 0, 1))).astype(np.uint8))


def jpeg(picture):
    return _uri("jpeg", picture[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)  # a small stain's colour is not averaged away


def _uri(kind, pixels, *settings):
    encoded = cv2.imencode("." + kind, pixels, settings)[1]
    return f"data:image/{kind};base64," + base64.b64encode(encoded).decode()
