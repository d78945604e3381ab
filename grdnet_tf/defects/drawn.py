"""Defects drawn by OpenCV on pictures as they are: a family that no training noise knows, to tell how good a run is.

    scratch crack speck smear dent erased foreign      on anything
    missing cut bent displaced slipped                 on an object on plain ground: `structural`

The networks learn the marks of the training noise, so what is drawn by it tells little about real defects
(docs/lab/experiments.md, section 6). NumPy and OpenCV alone.
"""
import cv2
import numpy as np

from . import structural

LEAST_CHANGE, LEAST_MEAN, LEAST_AREA = 4, 10, 12  # grey levels of a marked pixel, of all of them; pixels at 256 x 256
TRIES = 200


def kinds(part=None) -> dict:
    """{name: drawing}, of an object (`data.foreground.Object`) on plain ground the structural ones too."""
    return {**KINDS, **({} if part is None else structural.bound(part))}


def drawing(kind, draw, picture, other, roi, part, rng):
    """(drawn picture (H, W, C) uint8, mask (H, W) uint8) of one of `kinds`; None where no try shows.

    Args:
      picture, other: (H, W, C) uint8, and another picture, that a foreign piece is taken of.
      roi: (H, W) {0, 1} or None: where it may be; without one, of an object only on it.
      part: the object, or None.
      rng: numpy.random.Generator.
    """
    where = np.ones(picture.shape[:2], np.uint8) if roi is None else roi
    if part is not None and roi is None:
        where = part.solid
    return visible(draw, picture, other, where, where if kind in KINDS else 1, rng)


def visible(draw, picture, other, roi, limit, rng):
    """(drawn picture, mask), centred in `roi` and cut by `limit`: the first drawing that shows, or None.

    The mask is where it changes more than the eye forgives.
    """
    height, width = picture.shape[:2]
    scale = max(height, width) / 256.0
    y, x = np.mgrid[:height, :width].astype(np.float32)
    inside = np.stack(np.nonzero(roi), 1)
    for _ in range(TRIES):
        centre = inside[rng.integers(len(inside))]
        place = Place(y - centre[0], x - centre[1], centre, scale, inside)
        opacity, paint = draw(picture.astype(np.float32), other, place, rng)
        opacity = (opacity * limit)[..., None]
        drawn = np.clip(np.round((1 - opacity) * picture + opacity * paint), 0, 255).astype(np.uint8)
        change = np.abs(drawn.astype(int) - picture).max(2)
        mask = (change > LEAST_CHANGE).astype(np.uint8)
        if mask.sum() >= LEAST_AREA * scale**2 and change[mask > 0].mean() > LEAST_MEAN:
            return drawn, mask
    return None


class Place:
    """Where a defect lies: each pixel's offset from its centre, pixels per 1/256 of the side, the pixels of the ROI."""

    def __init__(self, y, x, centre, scale, inside):
        self.y, self.x, self.centre, self.scale, self.inside = y, x, centre, scale, inside
        self.distance = np.hypot(y, x)

    def turned(self, angle):
        return np.cos(angle) * self.x + np.sin(angle) * self.y, np.cos(angle) * self.y - np.sin(angle) * self.x


# Each: picture (H, W, C) float32, another picture, place -> (opacity (H, W), paint (H, W, C)) -------------------------


def scratch(picture, other, place, rng):
    return stroke(place, rng, bend=0.12), picture + rng.uniform(30, 90) * rng.choice([-1, 1])


def crack(picture, other, place, rng):
    return stroke(place, rng, bend=0.6), picture - rng.uniform(30, 90)


def stroke(place, rng, bend):
    """A smooth line of 24 to 90 pixels at 256, whose direction wanders by `bend` radians every 3 pixels."""
    angle, steps = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, rng.integers(8, 30))), 3 * place.scale
    points = place.centre[::-1] + steps * np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1), 0)
    height, width = place.y.shape
    fine = np.zeros((4 * height, 4 * width), np.uint8)
    thickness = max(1, int(4 * place.scale * rng.uniform(0.8, 2.5)))
    cv2.polylines(fine, [np.round(4 * points).astype(np.int32)], False, 255, thickness, cv2.LINE_AA)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) / np.float32(255)


def speck(picture, other, place, rng):
    opacity = np.zeros_like(place.y)
    for y, x in place.inside[rng.integers(len(place.inside), size=rng.integers(1, 4))] - place.centre:
        distance = np.hypot(place.y - y, place.x - x)
        opacity = np.maximum(opacity, np.clip(place.scale * rng.uniform(1, 4) + 0.7 - distance, 0, 1))
    return opacity * rng.uniform(0.5, 1), rng.uniform(0, 255, picture.shape[2])


def smear(picture, other, place, rng):
    along, across = place.turned(rng.uniform(0, np.pi))
    spread = (along / (place.scale * rng.uniform(10, 35))) ** 2 + (across / (place.scale * rng.uniform(5, 14))) ** 2
    return np.exp(-spread) * rng.uniform(0.15, 0.45), rng.uniform(0, 255, picture.shape[2])


def dent(picture, other, place, rng):
    """The surface drawn in towards the centre, lit from one side."""
    radius, pull = place.scale * rng.uniform(6, 20), rng.uniform(0.3, 0.6)
    bump = np.exp(-(place.distance / radius) ** 2)
    slope = place.turned(rng.uniform(0, 2 * np.pi))[0] / radius * bump
    at_y, at_x = place.y * (1 - bump * pull) + place.centre[0], place.x * (1 - bump * pull) + place.centre[1]
    moved = cv2.remap(picture, at_x.astype(np.float32), at_y.astype(np.float32), cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REFLECT).reshape(picture.shape)
    return np.float32(bump > 0.03), moved + slope[..., None] * rng.uniform(15, 50)


def erased(picture, other, place, rng):
    distance = np.hypot(place.y, place.x * rng.uniform(0.6, 1.6))
    opacity = np.clip((place.scale * rng.uniform(8, 22) - distance) / (2 * place.scale) + 0.5, 0, 1)
    return opacity, cv2.GaussianBlur(picture, (0, 0), 5 * place.scale).reshape(picture.shape)


def foreign(picture, other, place, rng):
    """A soft-edged ellipse out of another place of another picture."""
    height, width = place.y.shape
    along, across = place.turned(rng.uniform(0, np.pi))
    size = 2 + place.scale * rng.uniform(6, 30, 2)
    ellipse = np.float32((along / size[0]) ** 2 + (across / size[1]) ** 2 < 1)
    soft = cv2.GaussianBlur(ellipse, (0, 0), max(0.5, place.scale * rng.uniform(0.5, 3)))
    other = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA).reshape(picture.shape)
    moved = np.roll(other, (int(rng.uniform(-0.4, 0.4) * height), int(rng.uniform(-0.4, 0.4) * width)), (0, 1))
    return soft * ellipse, moved[:, ::-1] if rng.random() < 0.5 else moved


KINDS = {draw.__name__: draw for draw in (scratch, crack, speck, smear, dent, erased, foreign)}
