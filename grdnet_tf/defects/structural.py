"""Defects of a whole object on plain ground, drawn by OpenCV: a bite, a cut, an end bent or moved, a slipped surface.

Each is a drawing as of `drawn`: picture (H, W, C) float32, another picture, place -> (opacity (H, W), paint (H, W, C));
`part` is the object (`data.foreground.Object`). No training noise has such.
"""
import functools

import cv2
import numpy as np


def bound(part):
    """{name: drawing} of STRUCTURAL, on `part`."""
    return {draw.__name__: functools.partial(draw, part) for draw in STRUCTURAL}


def bare(part, picture, rng):
    """(H, W, C): the ground alone, continued under the object, with the grain that it has."""
    free = cv2.erode(1 - part.region, np.ones((5, 5), np.uint8)) > 0
    hidden = cv2.dilate(part.solid, np.ones((7, 7), np.uint8))
    smooth = cv2.GaussianBlur(picture, (0, 0), 2).reshape(picture.shape)
    grain = (picture - smooth)[free]
    ground = cv2.inpaint(np.round(smooth).astype(np.uint8), hidden, 5, cv2.INPAINT_TELEA).reshape(picture.shape)
    drawn = cv2.GaussianBlur(ground.astype(np.float32), (0, 0), 2).reshape(picture.shape)
    drawn = drawn + grain[rng.integers(len(grain), size=picture.shape[:2])]
    return np.where(hidden[..., None] > 0, drawn, picture)


def missing(part, picture, other, place, rng):
    """A bite out of the object's rim."""
    outline = np.stack(np.nonzero(part.solid - cv2.erode(part.solid, np.ones((3, 3), np.uint8))), 1)
    y, x = outline[rng.integers(len(outline))] - place.centre
    distance = np.hypot(place.y - y, (place.x - x) * rng.uniform(0.6, 1.6))
    return np.clip(place.scale * rng.uniform(5, 14) + 0.5 - distance, 0, 1), bare(part, picture, rng)


def cut(part, picture, other, place, rng):
    """A gap of 1.5 to 4 pixels at 256 across the object."""
    across = place.turned(rng.uniform(0, np.pi))[1]
    return np.clip(place.scale * rng.uniform(0.75, 2) + 0.5 - np.abs(across), 0, 1), bare(part, picture, rng)


def bent(part, picture, other, place, rng):
    """The smaller end beyond a line across the object's long axis, turned by 6 to 20 degrees about a point of it."""
    direction, mean = axis(part)
    along = place.x * direction[0] + place.y * direction[1]
    reach = place.inside @ direction[::-1]
    low, high = np.quantile(reach, [0.1, 0.9])
    at = rng.uniform(0.05, 0.35) * (high - low)
    at, sign = (high - at, 1) if rng.random() < 0.5 else (low + at, -1)
    beyond = sign * (along + place.centre @ direction[::-1] - at)  # pixels beyond the line
    pivot = mean + (at - mean @ direction) * direction
    turn = cv2.getRotationMatrix2D(tuple(float(v) for v in pivot), rng.uniform(6, 20) * rng.choice([-1, 1]), 1.0)
    return moved(part, picture, turn, beyond > 0, rng)


def displaced(part, picture, other, place, rng):
    """The smaller end beyond a line across the object moved along that line by 2 to 7 pixels at 256."""
    direction, mean = axis(part)
    reach = place.inside @ direction[::-1]
    at = rng.uniform(0.15, 0.4)
    at, sign = (np.quantile(reach, 1 - at), 1) if rng.random() < 0.5 else (np.quantile(reach, at), -1)
    beyond = sign * (place.x * direction[0] + place.y * direction[1] + place.centre @ direction[::-1] - at)
    far = place.scale * rng.uniform(2, 7) * rng.choice([-1, 1])
    return moved(part, picture, np.float32([[1, 0, -far * direction[1]], [0, 1, far * direction[0]]]), beyond > 0, rng)


def slipped(part, picture, other, place, rng):
    """A disc of the surface, 8 to 20 pixels across at 256, moved by 2 to 6: a worn or doubled thread."""
    size, far, angle = place.scale * rng.uniform(4, 10), place.scale * rng.uniform(2, 6), rng.uniform(0, 2 * np.pi)
    shift = np.float32([[1, 0, far * np.cos(angle)], [0, 1, far * np.sin(angle)]])
    height, width = place.y.shape
    paint = cv2.warpAffine(picture, shift, (width, height), borderMode=cv2.BORDER_REFLECT).reshape(picture.shape)
    return np.clip(size + 0.5 - place.distance, 0, 1), paint


def axis(part):
    """(unit vector x, y of the object's long axis, its centre x, y)."""
    points = np.stack(np.nonzero(part.solid), 1)[:, ::-1].astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(points.T))
    return vectors[:, np.argmax(values)], points.mean(0)


def moved(part, picture, transform, side, rng):
    """The pixels of the object on `side` taken away and laid down again by `transform`."""
    height, width = side.shape
    region = cv2.dilate(part.solid, np.ones((3, 3), np.uint8))
    taken = cv2.GaussianBlur(np.float32(region * side), (0, 0), 0.8)
    laid = cv2.warpAffine(taken, transform, (width, height))[..., None]
    there = cv2.warpAffine(picture, transform, (width, height), borderMode=cv2.BORDER_REFLECT).reshape(picture.shape)
    without = (1 - taken[..., None]) * picture + taken[..., None] * bare(part, picture, rng)
    return np.ones(side.shape, np.float32), (1 - laid) * without + laid * there


STRUCTURAL = (missing, cut, bent, displaced, slipped)
