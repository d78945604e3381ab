"""Draws a sampled strip of vials: picture, region of interest and ground truth.

The plastic is a height map, so that one shading model (diffuse light, glints, refraction of what lies behind) shows
its form, its lettering, its dents and its scratches alike. u, v as in `demo_scene`; B, G, R as OpenCV has them.
"""
import functools
from typing import NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from .scene import BOTTOM, HALF_WIDTH, PITCH, TOP, Mark, Scene, rotation, vial_centres

SUPERSAMPLE = 2  # drawn at twice the size, then averaged: smooth edges at a quarter of the cost of 4 x
SHIFT_BITS = 4  # OpenCV's fixed-point coordinates: 1/16 pixel


def strip_coordinates(scene: Scene, size: Tuple[int, int], factor: int = SUPERSAMPLE) -> Tuple[np.ndarray, np.ndarray]:
    """u, v of every pixel centre in the strip's own frame, each (H * factor, W * factor) float32."""
    scale = size[0] / 128 * factor
    y, x = np.mgrid[:size[0] * factor, :size[1] * factor].astype(np.float32)
    x = (x + 0.5) / scale - 64 * size[1] / size[0] - np.float32(scene.shift[0])
    y = (y + 0.5) / scale - 64 - np.float32(scene.shift[1])
    cos, sin = np.float32(np.cos(scene.angle)), np.float32(np.sin(scene.angle))
    return x * cos + y * sin, y * cos - x * sin


def _pixels(points: np.ndarray, scene: Scene, size: Tuple[int, int], factor: int = SUPERSAMPLE) -> np.ndarray:
    """Strip coordinates (n, 2) to pixel coordinates, the inverse of `strip_coordinates`."""
    placed = points @ rotation(scene.angle) + scene.shift + (64 * size[1] / size[0], 64)
    return placed * (size[0] / 128 * factor) - 0.5


def in_picture(mark: Mark, scene: Scene, size: Tuple[int, int]) -> bool:
    """Whether the whole mark lies at least a pixel inside the picture."""
    pixels = _pixels(mark.points, scene, size, 1)
    return bool((pixels >= 1).all() and (pixels <= (size[1] - 2, size[0] - 2)).all())


def coverage(mark: Mark, scene: Scene, size: Tuple[int, int]) -> np.ndarray:
    """How much of each supersampled pixel the mark covers, float32 in [0, 1]."""
    canvas = np.zeros((size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE), np.uint8)
    points = [np.round(_pixels(mark.points, scene, size) * 2 ** SHIFT_BITS).astype(np.int32)]
    if mark.width:
        thickness = max(1, int(round(mark.width * size[0] / 128 * SUPERSAMPLE)))
        cv2.polylines(canvas, points, False, 255, thickness, cv2.LINE_AA, SHIFT_BITS)
    else:
        cv2.fillPoly(canvas, points, 255, cv2.LINE_AA, SHIFT_BITS)
    return canvas.astype(np.float32) / 255


def mark_mask(mark: Mark, scene: Scene, size: Tuple[int, int]) -> np.ndarray:
    """Ground truth (H, W) bool: pixels that the mark covers by a third or more (a line is hardly a pixel wide)."""
    return cv2.resize(coverage(mark, scene, size), size[::-1], interpolation=cv2.INTER_AREA) > 0.33


def _box(u, v, half_u, half_v, radius):
    """Signed distance to a rounded box at 0: negative inside."""
    x, y = np.abs(u) - (half_u - radius), np.abs(v) - (half_v - radius)
    return np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - radius


def _ramp(x, low, high):
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _line(distance, width):
    return np.exp(-np.square(distance / width))


def _pillow(distance, radius):
    """Height of a surface that rises from its outline as a quarter circle of `radius`, then stays level."""
    rise = 1 - np.clip(-distance / radius, 0, 1)
    return radius * np.sqrt(np.maximum(1 - rise * rise, 0))


def _nearest_vial(u, vials: int):
    index = np.clip(np.round(u / PITCH + (vials - 1) / 2), 0, vials - 1).astype(np.int32)
    return index, u - ((index - (vials - 1) / 2) * PITCH).astype(np.float32)


def _body(du, v):
    return _box(du, v - (TOP + BOTTOM) / 2, HALF_WIDTH, (BOTTOM - TOP) / 2, 11.0)


def draw_roi(scene: Scene, size: Tuple[int, int]) -> np.ndarray:
    """The vial bodies, (H, W) bool."""
    u, v = strip_coordinates(scene, size, 1)
    return _body(_nearest_vial(u, scene.vials)[1], v) < 0


def _belt(scene: Scene, shape: Tuple[int, int], scale: float) -> np.ndarray:
    """A woven conveyor belt with stains and wear, (H, W, 3) BGR."""
    rng = np.random.default_rng(scene.belt)
    y, x = np.mgrid[:shape[0], :shape[1]].astype(np.float32) / scale
    warp = cv2.resize(rng.normal(0, 0.35, (9, 9)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    phase = rng.uniform(0, 2 * np.pi, 2).tolist()
    weave = np.sin((x + y) * 1.05 + phase[0] + warp) * np.sin((x - y) * 1.05 + phase[1] - warp)
    wear = cv2.resize(rng.normal(0, 1, (7, 7)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 0.7 * scale)
    streak = rng.normal(0, 1, (shape[0] // 4, 6)).astype(np.float32)
    streak = cv2.resize(streak, shape[::-1], interpolation=cv2.INTER_CUBIC)
    tone = 1 + 0.13 * weave + 0.035 * wear + 0.12 * grain + 0.02 * streak
    return tone[..., None] * np.float32([0.50, 0.43, 0.36])


# Strokes of the lettering in a 4 x 6 box. Not cv2.putText: OpenCV 4 and 5 write with different fonts.
GLYPHS = {
    "L": [[(0, 0), (0, 6), (4, 6)]], "O": [[(1, 0), (3, 0), (4, 1), (4, 5), (3, 6), (1, 6), (0, 5), (0, 1), (1, 0)]],
    "T": [[(0, 0), (4, 0)], [(2, 0), (2, 6)]], "7": [[(0, 0), (4, 0), (1.5, 6)]], " ": [],
    "A": [[(0, 6), (2, 0), (4, 6)], [(0.8, 4), (3.2, 4)]]}


@functools.lru_cache(maxsize=4)
def _lettering(vials: int) -> np.ndarray:
    """Raised marks on a flat plate, 8 pixels a unit, the strip's frame, centred: a lot code, and one dot a cavity."""
    half = 4 * int(vials * PITCH + 128)
    plate = np.zeros((1024, 2 * half), np.uint8)
    for i, centre in enumerate(vial_centres(vials)):
        for dot in range(i % 5 + 1):
            at = (centre + 3.4 * (dot - i % 5 / 2), 18.0)
            cv2.circle(plate, (int(half + 8 * at[0]), int(512 + 8 * at[1])), 10, 255, -1, cv2.LINE_AA)
        for k, letter in enumerate("LOT 7A"):
            for stroke in GLYPHS[letter]:
                points = 0.8 * np.array(stroke) + (centre - 12.4 + 4.3 * k, 38.6)
                cv2.polylines(plate, [np.round(8 * points + (half, 512)).astype(np.int32)], False, 255, 8, cv2.LINE_AA)
    return plate


def _emboss(u, v, vials: int):
    """Height of the lettering at each pixel, [0, 1]."""
    plate = _lettering(vials)
    return cv2.remap(plate, 8 * u + plate.shape[1] // 2, 8 * v + 512, cv2.INTER_LINEAR).astype(np.float32) / 255


class _Strip(NamedTuple):
    """The strip on the supersampled grid, each (h, w) float32 but `index`."""
    u: np.ndarray
    v: np.ndarray
    index: np.ndarray  # int32, of the nearest vial
    du: np.ndarray  # u from the nearest vial's axis
    body: np.ndarray  # signed distance to the nearest vial's body
    cover: np.ndarray  # [0, 1], 1 where there is plastic
    height: np.ndarray  # of the surface, in units


def draw(scene: Scene, size: Tuple[int, int], marks: Sequence[Mark], rng: np.random.Generator) -> np.ndarray:
    """One picture, (H, W, 3) uint8 BGR. `marks` are defects and distractors; `rng` makes the sensor noise."""
    scale = size[0] / 128 * SUPERSAMPLE
    covers = [coverage(mark, scene, size) for mark in marks]
    strip = _shape_strip(scene, size, marks, covers)
    plastic, belt = _shade_strip(strip, scene, scale)
    for drop_u, drop_v, radius in scene.droplets.tolist():  # Python floats keep float32 under NumPy 1 and 2
        x, y = _pixels(np.array([[drop_u, drop_v]]), scene, size)[0]
        reach = (radius + 2) * scale
        near = np.s_[max(0, int(y - reach)):int(y + reach) + 2, max(0, int(x - reach)):int(x + reach) + 2]
        off_u, off_v = strip.u[near] - drop_u, strip.v[near] - drop_v
        plastic[near] *= _bubble(np.hypot(off_u, off_v) - radius, off_u, off_v, radius, 0.55)[..., None]
    picture = belt + strip.cover[..., None] * (plastic - belt)
    for mark, shape in zip(marks, covers):
        _paint(picture, mark, shape, strip, scale)
    return _expose(picture, scene, size, rng)


def _shape_strip(scene: Scene, size: Tuple[int, int], marks, covers) -> _Strip:
    scale = size[0] / 128 * SUPERSAMPLE
    u, v = strip_coordinates(scene, size)
    index, du = _nearest_vial(u, scene.vials)
    half_strip = scene.vials * PITCH / 2 - 0.5
    body = _body(du, v)
    neck, head = _box(du, v + 31, 5.5, 9, 2), _box(du, v + 44, 9, 8.5, 3)
    foot, web = _box(u, v - 41, half_strip, 7.5, 2.5), _box(u, v - 6, half_strip - 4, 27, 2)
    strip = np.minimum(np.minimum(np.minimum(body, neck), head), np.minimum(foot, web))
    height = np.maximum(_pillow(body, 15.0), np.maximum(_pillow(neck, 5.0), 1.5 + _pillow(head, 2.0) * (head < 0)))
    height = np.maximum(height, 1.2 * _ramp(-np.minimum(foot, web), 0, 1.5)) + 0.55 * _emboss(u, v, scene.vials)
    height += 0.5 * _line(np.abs(du) - 4.5, 0.7) * (head < -1.5)  # grip ribs
    height -= 0.8 * _ramp(-body, 0, 2) * (_line(v - 26.0, 0.8) + _line(v - 29.5, 0.8))  # horizontal engraving
    for mark, shape in zip(marks, covers):
        if mark.kind == "dent":
            height -= mark.strength * cv2.GaussianBlur(shape, (0, 0), 1.6 * scale)
        elif mark.kind == "scratch":
            height -= mark.strength * cv2.GaussianBlur(shape, (0, 0), 0.35 * scale)
    height = cv2.GaussianBlur(height, (0, 0), 0.35 * scale)
    return _Strip(u, v, index, du, body, _ramp(-strip, -0.35, 0.35), height)


def _shade_strip(strip: _Strip, scene: Scene, scale: float) -> Tuple[np.ndarray, np.ndarray]:
    """Colour of the lit plastic with its liquid, and of the belt in the strip's shadow, each (h, w, 3) float32 BGR."""
    slope_u = cv2.Sobel(strip.height, cv2.CV_32F, 1, 0, scale=scale / 8)  # 8: the sum of Sobel's weights
    slope_v = cv2.Sobel(strip.height, cv2.CV_32F, 0, 1, scale=scale / 8)
    up = 1 / np.sqrt(1 + slope_u * slope_u + slope_v * slope_v)  # z of the unit normal
    light = scene.light.astype(np.float32)
    facing = np.clip((light[2] - slope_u * light[0] - slope_v * light[1]) * up, 0, 1)
    half = light + np.float32([0, 0, 1])
    half /= np.linalg.norm(half)
    glint = np.clip((half[2] - slope_u * half[0] - slope_v * half[1]) * up, 0, 1) ** 90
    tube = _line(slope_u * up + 0.62, 0.07) * _ramp(-strip.body, 0, 2)  # a lamp tube mirrored along each vial

    # What lies behind: the belt in the strip's shadow, shifted by the plastic, mirrored by the liquid (a cylinder).
    shadow = cv2.GaussianBlur(strip.cover, (0, 0), 3 * scale)
    fall = np.float32([[1, 0, 2 * scale], [0, 1, 2.5 * scale]])
    shadow = cv2.warpAffine(shadow, fall, shadow.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    belt = _belt(scene, shadow.shape, scale) * (1 - 0.4 * shadow)[..., None]
    y, x = np.mgrid[:shadow.shape[0], :shadow.shape[1]].astype(np.float32)
    bend = 0.35 * strip.height * up * scale
    behind = cv2.GaussianBlur(belt, (0, 0), 0.8 * scale)
    look = functools.partial(cv2.remap, behind, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    through = look(map1=x - slope_u * bend, map2=y - slope_v * bend)
    mirrored = look(map1=x - 1.5 * strip.du * scale, map2=y)

    wet, meniscus = _liquid(strip, scene)
    lit = (0.30 + 0.75 * facing)[..., None] * np.float32([0.80, 0.83, 0.82])  # milky polyethylene
    dry = 0.38 * through + 0.62 * lit
    full = 0.70 * mirrored * np.float32([0.95, 1.10, 1.14]) + 0.42 * lit
    full *= (1 - 0.5 * _ramp(np.abs(strip.du) / 14.5, 0.72, 1))[..., None]  # total reflection near the wall
    plastic = (dry + wet[..., None] * (full - dry)) * meniscus[..., None]
    plastic *= (1 - 0.5 * (1 - up) ** 2 - 0.25 * _line(strip.body, 0.8))[..., None]  # seen edge-on the wall is thick
    return plastic + (0.55 * glint + 0.38 * tube)[..., None], belt


def _liquid(strip: _Strip, scene: Scene) -> Tuple[np.ndarray, np.ndarray]:
    """Where the vial is filled, [0, 1], and the factor that draws the meniscus, both (h, w)."""
    level, slope, climb, depth, ripple, phase = [
        values.astype(np.float32)[strip.index]
        for values in (scene.level, scene.slope, scene.climb, scene.depth, scene.ripple[:, 0], scene.ripple[:, 1])]
    t = np.clip(strip.du / 14.5, -1, 1)
    surface = level + slope * strip.du - climb * t ** 4 + ripple * np.sin(2.5 * t + phase)
    bow = depth * np.sqrt(1 - t * t)  # the surface is a disc seen from slightly above: an ellipse
    front, back = strip.v - surface - bow, strip.v - surface + bow
    cavity = _ramp(-strip.body, 1.2, 2.2)
    wet = _ramp(front, -0.4, 0.4) * cavity
    disc = _ramp(back, -0.4, 0.4) * cavity - wet
    lines = 0.18 * _line(front + 1.6, 0.7) - 0.42 * _line(front, 0.8) - 0.2 * _line(back, 0.6)
    return wet, 1 + 0.12 * disc + cavity * lines


def _paint(picture: np.ndarray, mark: Mark, shape: np.ndarray, strip: _Strip, scale: float) -> None:
    """Puts a mark of coverage `shape` on the picture, in place. A dent is all form: nothing to paint."""
    if mark.kind == "bubble":
        centre = mark.points.mean(0).tolist()
        radius = float(np.sqrt(cv2.contourArea(mark.points.astype(np.float32)) / np.pi))
        outside, inside = [cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) / scale
                           for part in (shape < 0.5, shape >= 0.5)]
        off_u, off_v = strip.u - centre[0], strip.v - centre[1]
        picture *= _bubble(outside - inside, off_u, off_v, radius, mark.strength)[..., None]
    elif mark.kind == "scratch":
        picture += (0.10 * mark.strength * shape)[..., None]
    elif mark.kind != "dent":
        alpha = mark.strength * cv2.GaussianBlur(shape, (0, 0), 0.3 * scale)[..., None]
        picture += alpha * (mark.colour.astype(np.float32) - picture)


def _bubble(distance, u, v, radius, strength):
    """Factor that draws a gas bubble in liquid: a dark rim, bright inside away from the light, a small highlight."""
    inside = _ramp(-distance, -0.3, 0.3)
    tilt = np.clip((u + v) / (1.4 * radius), -1, 1)
    spot = _line(np.hypot(u + 0.4 * radius, v + 0.4 * radius), 0.3 * radius + 0.3)
    return 1 + strength * (inside * (0.22 * tilt + 0.05 + 0.8 * spot) - 0.6 * _line(distance + 0.3, 0.6))


def _expose(picture, scene: Scene, size: Tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Light falling off across the field, lens blur, sensor: shot and read noise, 8 bits."""
    rows = np.linspace(-1, 1, picture.shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, picture.shape[1], dtype=np.float32)[None, :]
    gain, gain_u, gain_v = scene.gain.tolist()
    field = gain + gain_u * columns + gain_v * rows - 0.06 * (rows ** 2 + columns ** 2)
    picture = picture * field[..., None] * np.float32([1 - scene.warmth, 1, 1 + scene.warmth])
    picture = cv2.GaussianBlur(picture, (0, 0), scene.blur * SUPERSAMPLE * size[0] / 128)
    picture = np.clip(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), 0, 1)
    picture = picture + scene.noise * np.sqrt(0.3 + picture) * rng.standard_normal(picture.shape, np.float32)
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
