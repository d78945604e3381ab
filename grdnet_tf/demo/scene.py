"""What is random in a picture of the demo set: a `Scene` of normal variation, and `Mark`s, its defects and distractors.

Geometry is in units of 1/128 of the picture's height, in the strip's own frame: origin at its centre, u to the right
and v down. Nothing is drawn here.
"""
from typing import NamedTuple, Tuple

import numpy as np

DEFECTS = ("bubble", "dent", "scratch", "speck")
DISTRACTORS = ("dirt", "hair")
PITCH = 35.0  # distance between vials
HALF_WIDTH, TOP, BOTTOM = 16.2, -28.0, 34.0  # of a vial body


class Scene(NamedTuple):
    """Everything random about one normal picture."""
    vials: int
    shift: np.ndarray  # (2,) of the strip
    angle: float  # of the strip, radians
    level: np.ndarray  # (vials,) v of the meniscus
    slope: np.ndarray  # (vials,)
    climb: np.ndarray  # (vials,) how far the liquid creeps up the wall
    depth: np.ndarray  # (vials,) half height of the liquid's surface seen from slightly above
    ripple: np.ndarray  # (vials, 2) amplitude and phase
    droplets: np.ndarray  # (n, 3) u, v, radius of bubbles under and drops over the meniscus
    light: np.ndarray  # (3,) direction
    gain: np.ndarray  # (3,) brightness and its change across u and v
    warmth: float
    blur: float
    noise: float
    belt: int  # seed of the belt's texture


class Mark(NamedTuple):
    """A defect or a distractor: a filled outline, or a line if `width` > 0."""
    kind: str
    points: np.ndarray  # (n, 2)
    width: float
    strength: float  # opacity, or depth of a dent or a scratch
    colour: np.ndarray  # (3,) BGR


def sample_scene(rng: np.random.Generator, size: Tuple[int, int]) -> Scene:
    """Draws the normal variation of one picture of `size` (height, width)."""
    vials = max(1, int((128 * size[1] / size[0] - 16) // PITCH))
    level = rng.uniform(-16, -10) + rng.uniform(-4, 4, vials)  # filled alike, settled differently
    droplets = []
    for i in range(vials):
        below, above = rng.integers(0, 4), rng.integers(0, 3)
        for sign in [1] * below + [-1] * above:
            at_u, at_v = vial_centres(vials)[i] + rng.uniform(-11, 11), level[i] + sign * rng.uniform(2.5, 7)
            droplets.append((at_u, at_v, rng.uniform(0.6, 1.3)))
    light = np.array([-0.45, -0.5, 0.75]) + rng.normal(0, 0.05, 3)
    return Scene(
        vials=vials, shift=rng.uniform(-1, 1, 2) * (4, 5), angle=rng.normal(0, 0.012), level=level,
        slope=rng.normal(0, 0.05, vials), climb=rng.uniform(0.5, 3, vials), depth=rng.uniform(0.6, 2.8, vials),
        ripple=np.stack([rng.uniform(0, 0.8, vials), rng.uniform(0, 2 * np.pi, vials)], -1),
        droplets=np.array(droplets).reshape(-1, 3), light=light / np.linalg.norm(light),
        gain=np.array([rng.uniform(0.88, 1.08), rng.normal(0, 0.05), rng.normal(0, 0.05)]), warmth=rng.normal(0, 0.015),
        blur=rng.uniform(0.35, 0.65), noise=rng.uniform(0.006, 0.012), belt=int(rng.integers(2 ** 31)))


def sample_defect(rng: np.random.Generator, kind: str, scene: Scene) -> Mark:
    """Draws a defect of `kind` somewhere near a vial body; the caller decides whether it fits."""
    i = rng.integers(scene.vials)
    at = np.array([vial_centres(scene.vials)[i] + rng.uniform(-12, 12), rng.uniform(-23, 29)])
    if kind == "speck":
        if rng.random() < 0.3:  # the paper's hard case: a particle floating on the meniscus
            at[1] = scene.level[i] + rng.normal(0, 2)
        dark = rng.uniform(0.02, 0.2) * np.array([0.7, 0.85, 1.0])
        return Mark(kind, at + _blob(rng, rng.uniform(1.5, 6)), 0.0, rng.uniform(0.35, 0.95), dark)
    if kind == "scratch":
        line = at + _curve(rng, rng.uniform(9, 28), 0.04)
        return Mark(kind, line, rng.uniform(0.7, 1.3), rng.uniform(0.5, 1.3), np.full(3, 0.95))
    if kind == "bubble":
        at[1] = rng.uniform(scene.level[i] + 11, 29)  # deep in the liquid, where none belongs
        return Mark(kind, at + _blob(rng, rng.uniform(2.5, 5), 0.03), 0.0, rng.uniform(0.5, 1.0), np.full(3, 0.9))
    depth = rng.uniform(1.2, 3.0) * (1 if rng.random() < 0.5 else -1)  # pushed in or blown out
    return Mark(kind, at + _blob(rng, rng.uniform(4, 7.5), 0.12), 0.0, depth, np.zeros(3))


def sample_distractor(rng: np.random.Generator, kind: str, scene: Scene) -> Mark:
    """Draws dirt or a hair somewhere in the picture; as large and as dark as the defects are."""
    at = rng.uniform(-1, 1, 2) * (scene.vials * PITCH / 2 + 12, 62)
    colour = rng.uniform(0.02, 0.22) * np.array([0.7, 0.85, 1.0])
    if kind == "dirt":
        return Mark(kind, at + _blob(rng, rng.uniform(1.5, 6)), 0.0, rng.uniform(0.45, 0.95), colour)
    if rng.random() < 0.4:
        colour = np.array([0.95, 0.92, 0.9]) * rng.uniform(0.9, 1)  # a white fibre
    line = at + _curve(rng, rng.uniform(12, 40), 0.05)
    return Mark(kind, line, rng.uniform(0.6, 1.2), rng.uniform(0.55, 0.95), colour)


def vial_centres(vials: int) -> np.ndarray:
    return (np.arange(vials) - (vials - 1) / 2) * PITCH


def _blob(rng: np.random.Generator, radius: float, roughness: float = 0.22) -> np.ndarray:
    """A closed outline around 0 whose radius varies with the angle by a few low harmonics."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    r = 1 + sum(rng.normal(0, roughness / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    stretch, turn = rng.uniform(0.75, 1), rng.uniform(0, np.pi)
    points = radius * np.maximum(r, 0.3)[:, None] * np.stack([np.cos(angle), stretch * np.sin(angle)], -1)
    return points @ rotation(turn)


def _curve(rng: np.random.Generator, length: float, bend: float) -> np.ndarray:
    """A smooth open line from 0 on: the heading turns by `bend` per unit, the turn itself drifts."""
    steps = np.linspace(0, length, 32)
    turn = rng.normal(0, bend) + np.cumsum(rng.normal(0, bend / 8, steps.size))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turn) * steps[1]
    return np.cumsum(np.stack([np.cos(heading), np.sin(heading)], -1) * steps[1], 0)


def rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
