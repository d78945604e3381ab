"""Do the parts lie in all directions, as loose ones on plain ground do? Asked of the good pictures, before anything is learnt."""
from __future__ import annotations

from typing import Optional, Sequence

import cv2
import numpy as np

from . import aligning, foreground
from .files import read_picture
from .records import evenly

LOOKED_AT, FEW = 24, 8  # pictures, at most; parts that it takes
CLOSELY = 512           # pixels of their longer side
ALIKE = 0.8             # the mean of the axes' unit vectors, of double angle: shorter, and they lie in all directions


def in_all_directions(records: Sequence) -> bool:
    """Whether most of the pictures, good ones, show one part longer than wide on plain ground, each in another direction."""
    some = evenly(records, LOOKED_AT)
    poses = [pose for pose in (_of_one(_small(read_picture(record.image))) for record in some) if pose is not None]
    if len(poses) < max(FEW, aligning.FEWEST * len(some)):
        return False
    double = np.array([[x * x - y * y, 2 * x * y] for x, y in (pose.along for pose in poses)])  # an axis has no sign
    return bool(np.hypot(*double.mean(axis=0)) <= ALIKE)


def warning(records: Sequence) -> Optional[str]:
    """What to say of such pictures, which networks learn badly; None of others."""
    if not in_all_directions(records):
        return None
    return ("the parts lie in all directions on plain ground, which a network learns badly: data.upright=auto turns them "
            "upright, and so does grdnet align DIR --out OUT, to train on OUT")


def _of_one(picture):
    """Its pose; None of several parts, whose common axis is nobody's."""
    found = foreground.find(picture)
    if found is None or cv2.connectedComponents(found.region)[0] > 2:  # the ground is one
        return None
    return aligning.find(picture)


def _small(picture):
    """Reduced to CLOSELY pixels, if it is larger: an axis needs no more."""
    share = CLOSELY / max(picture.shape[:2])
    if share >= 1:
        return picture
    size = [max(1, round(side * share)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)
