"""What was found in one picture, at the size of its own file. No TensorFlow."""
import math
from typing import NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from ..data.files import read_picture
from ..evaluation.regions import Region, equivalent_diameter, label_found
from ..evaluation.thresholds import REJECTED, Limits
from ..report import pictures

UNREADABLE = "unreadable"  # beside the VERDICTS


class Result:
    """One picture, judged.

    Attributes:
      path: of the file; "video.mp4#12" for the frame 12 of a video, "array#0" for an array.
      name: within the folder that was asked for, with "/"; stamp: time of change in ns and bytes of a watched file.
      verdict: "accepted", "look" (a person looks again), "rejected", or "unreadable", which is never good: `reason`
        says why.
      score, threshold, look: in [0, 1]; the picture is rejected where its score is above the threshold, looked at again
        where it is above `look`. None of what is unreadable.
      regions: `evaluation.regions.Region`s in pixels of the file, the highest peak first; not of accepted pictures.
      um_per_pixel: of the file, or None.
      size: (H, W) of the file, or None.
      small_map: (h, w) float32 in [0, 1], as the model gave it, 0 outside the region of interest; or None.
      part: where the region of interest goes with the part: {"found", "shift" [x, y] in pixels of the file, "turn" in
        degrees, "correlation"}, only "found" (False) where the region stayed as it was drawn; or None.
      level, min_area: what of that map is a region: above the level, so many pixels or more.
    """

    def __init__(self, path, *, name=None, stamp=(0, 0), score=None, limits=None,
                 regions: Sequence[Region] = (), reason=None, pixels=None, small_map=None, size=None,
                 um_per_pixel=None, white=0, level=None, min_area=1, part=None):
        self.name, self.stamp = path if name is None else name, stamp
        self.path, self.score, self.regions = path, score, list(regions)
        self.look, self.threshold = limits or (None, None)
        self.reason, self.small_map, self.size, self.um_per_pixel = reason, small_map, size, um_per_pixel
        self.white, self.level, self.min_area, self._pixels = white, level, min_area, pixels
        self.part = part

    @property
    def verdict(self) -> str:
        if self.reason is not None:
            return UNREADABLE
        return Limits(self.look, self.threshold).verdict(self.score)

    @property
    def anomaly_map(self) -> Optional[np.ndarray]:
        """(H, W) float32 in [0, 1], at the file's size."""
        if self.small_map is None or self.small_map.shape == self.size:
            return self.small_map
        return cv2.resize(self.small_map, self.size[::-1], interpolation=cv2.INTER_LINEAR)

    @property
    def image(self) -> Optional[np.ndarray]:
        """(H, W, 3) uint8 RGB, as a screen shows it. A file is read again."""
        if self.size is None:
            return None
        return pictures.shown(read_picture(self.path) if self._pixels is None else self._pixels, self.white)

    @property
    def overlay(self) -> Optional[np.ndarray]:
        """(H, W, 3) uint8 RGB: the picture under the map's colours, regions outlined in red, in amber to look again."""
        if self.size is None:
            return None
        drawn = pictures.heat(self.image, self.anomaly_map, self.threshold)
        if self.regions:
            found = (label_found(self.small_map, self.level, self.min_area) > 0).astype(np.uint8)
            found = cv2.resize(found, self.size[::-1], interpolation=cv2.INTER_NEAREST)
            lines, _ = cv2.findContours(found, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            colour = pictures.RED if self.verdict == REJECTED else pictures.AMBER
            cv2.drawContours(drawn, lines, -1, colour, max(1, round(max(self.size) / 400)))
        return drawn

    def as_dict(self) -> dict:
        """Plain data, one line of predictions.jsonl."""
        regions = [_region(region, self.um_per_pixel) for region in self.regions]
        part = {} if self.part is None else {"part": self.part}
        return {"path": self.path, "verdict": self.verdict, "score": self.score, "threshold": self.threshold,
                "look": self.look, "size": None if self.size is None else list(self.size),
                "regions": regions, "reason": self.reason, **part}

    def show(self):
        """The picture beside its overlay: in a notebook below the cell, else in the system's viewer."""
        from PIL import Image

        if self.size is None:
            print(self)
            return
        sheet = Image.fromarray(np.hstack([self.image, self.overlay]))
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:
            get_ipython = None
        if get_ipython is not None and get_ipython() is not None:
            display(sheet)
        else:
            sheet.show(title=str(self.path))

    def forget_pixels(self) -> "Result":
        """Keep no pixels of a file, which can be read again: many results fit into memory."""
        self._pixels = None
        return self

    def _repr_png_(self):
        return None if self.size is None else cv2.imencode(".png", self.overlay[..., ::-1])[1].tobytes()

    def __repr__(self):
        if self.reason is not None:
            return f"<{self.path}: {UNREADABLE}: {self.reason}>"
        n = len(self.regions)
        return f"<{self.path}: {self.verdict}, score {self.score:.4g}, {n} region{'' if n == 1 else 's'}>"


def in_file(region: Region, shape: Tuple[int, int], size: Tuple[int, int], um: Optional[float]) -> Region:
    """A region of a map of `shape` (h, w) in pixels of its file of `size` (H, W), `um` of which a pixel measures."""
    down, across = size[0] / shape[0], size[1] / shape[1]
    top, left, bottom, right = region.box
    box = (math.floor(top * down), math.floor(left * across), math.ceil(bottom * down), math.ceil(right * across))
    area = max(1, round(region.area * down * across))
    row, column = region.centroid
    return Region(area, box, ((row + 0.5) * down - 0.5, (column + 0.5) * across - 0.5), region.peak,
                  equivalent_diameter(area), None if um is None else area * um * um,
                  None if um is None else equivalent_diameter(area) * um)


def _region(region, um):
    names = ("top", "left", "bottom", "right")
    found = {"box": dict(zip(names, region.box)), "centroid": [round(value, 2) for value in region.centroid],
             "area": region.area, "diameter": round(region.diameter, 2), "peak": round(region.peak, 6)}
    if um is not None:
        found.update(box_um={name: round(value * um, 2) for name, value in zip(names, region.box)},
                     area_um2=round(region.area_um2, 1), diameter_um=round(region.diameter_um, 1))
    return found


class Counts(NamedTuple):
    """How many pictures had which verdict."""
    accepted: int = 0
    look: int = 0
    rejected: int = 0
    unreadable: int = 0

    def with_one(self, verdict: str) -> "Counts":
        return self._replace(**{verdict: getattr(self, verdict) + 1})

    @property
    def words(self) -> str:
        """"12 pictures: 9 accepted, 2 rejected, 1 to look at again"."""
        parts = [f"{self.accepted} accepted", f"{self.rejected} rejected"]
        parts += [f"{self.look} to look at again"] * bool(self.look)
        parts += [f"{self.unreadable} unreadable"] * bool(self.unreadable)
        n = sum(self)
        return f"{n} picture{'' if n == 1 else 's'}: " + ", ".join(parts)

    @property
    def status(self) -> int:
        """Exit status: 0 all are good; 3 some are not, or could not be judged; 5 none of those, but some to look at."""
        return 3 if self.rejected or self.unreadable else 5 if self.look else 0
