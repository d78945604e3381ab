"""Where does the object lie in each good picture, and is there a plain ground around it at all?

A loose part has no fixed place, so no region of interest can be drawn for all its pictures; but what its frame shows is
the ground, and the object is what differs from that. A texture fills the picture: its frame is no single colour, and
nothing is said. No TensorFlow.
"""
from __future__ import annotations

from typing import NamedTuple, Optional

import cv2
import numpy as np

FRAME = 0.04     # of the shorter side: the rim of a picture that shows the ground where there is one
PLAIN = 0.9      # of the frame at least lies below the threshold of a picture with an object on plain ground
LARGEST = 0.9    # of the picture; an object that fills it leaves no ground
SHADE = 0.6      # of Otsu's threshold: the soft edge and the shadow belong to the object's region
SOLID = 1.3      # of Otsu's threshold: what is no shadow
DIRT = 1 / 80    # of the shorter side: what is thinner is dirt, or a hair
PART = 0.1       # of the largest part: smaller ones are dirt


class Object(NamedTuple):
    """`region`, and `solid` without its shadow, (h, w) {0, 1} uint8."""
    region: np.ndarray
    solid: np.ndarray


def levels(picture: np.ndarray) -> np.ndarray:
    """float32: 8 bit as they are; 16 bit from 0 to 255 for the highest, as a camera's 10 or 12 bit fill few of them."""
    return picture.astype(np.float32) * (1 if picture.dtype == np.uint8 else 255 / max(1, picture.max()))


def find(picture: np.ndarray) -> Optional[Object]:
    """The object in one picture (h, w, C) of 8 or 16 bit; None where no plain ground surrounds it."""
    pixels = levels(picture)
    height, width = pixels.shape[:2]
    side = min(height, width)
    rim = max(2, round(FRAME * side))
    frame = np.ones((height, width), bool)
    frame[rim:-rim, rim:-rim] = False
    ground = np.median(pixels[frame], axis=0)
    differs = cv2.GaussianBlur(np.abs(pixels - ground).max(axis=2), (0, 0), max(0.5, side / 256))
    otsu = cv2.threshold(np.clip(differs, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)[0]
    threshold = SHADE * otsu
    if (differs[frame] <= threshold).mean() < PLAIN:
        return None
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(DIRT * side / 2)) + 1,) * 2)
    opened = cv2.morphologyEx((differs > threshold).astype(np.uint8), cv2.MORPH_OPEN, window)
    _, labels, found, _ = cv2.connectedComponentsWithStats(opened)
    areas = found[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    region = (areas >= PART * max(1, areas.max()))[labels].astype(np.uint8) & opened
    if not region.any() or region.mean() > LARGEST:
        return None
    return Object(region, region & (differs > SOLID * otsu).astype(np.uint8))
