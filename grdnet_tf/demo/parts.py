"""The set of loose parts: threaded pins in any direction on plain bright ground with dust, and structural defects.

A pin has a head, a shank and a thread that ends in a tip. Its direction, place and turn about its own axis, the light,
the ground's tone, dust and hairs vary from picture to picture and are *normal*. There is no region of interest: no
place is the part's own.

    bent     the end leaves the axis            missing  a bite out of the outline
    cut      a gap across the part              worn     a stretch of the thread without its ridges
    scratch  a line on the surface

Units are pixels of a picture 128 high; u runs along the pin from the head's face, v across it.
"""
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np

SUPERSAMPLE = 3   # drawn at three times the size, then averaged
HEAD, SHANK, TIP = 9.0, 34.0, 82.0   # where the head, the shank and the thread's full width end
LENGTH = 92.0     # of the whole pin
RADIUS, HEAD_RADIUS, RIDGE, THREAD = 4.6, 9.5, 1.3, 4.2  # half widths; height and distance of the ridges
KINDS = ("bent", "cut", "missing", "scratch", "worn")
GROUND, METAL = 0.80, 0.42  # tones


class Pin(NamedTuple):
    """One picture's part and ground. `light` is a direction in the picture, rad; `phase` the pin's turn, rad."""
    centre: np.ndarray  # (2,) x, y from the picture's centre
    angle: float
    phase: float
    light: float
    glare: float
    ground: float
    slope: np.ndarray   # (2,) of the ground's tone across the picture
    dust: np.ndarray    # (n, 4): x, y, radius, tone
    hairs: np.ndarray   # (m, 5): x, y, angle, length, bend
    noise: float


class Fault(NamedTuple):
    """A structural defect: where on the pin, how large, which way. What each means: see `_form` and `_surface`."""
    kind: str
    at: float
    size: float
    way: float


def sample_pin(rng: np.random.Generator, size: Tuple[int, int]) -> Pin:
    """A good part that lies wholly in a picture of `size` (H, W)."""
    half = np.array([64.0 * size[1] / size[0], 64.0])
    angle = rng.uniform(0, 2 * np.pi)
    reach = np.abs([np.cos(angle), np.sin(angle)]) * LENGTH / 2 + HEAD_RADIUS + 3
    count, hairs = int(rng.integers(4, 16)), int(rng.integers(0, 3))
    dust = np.column_stack([rng.uniform(-1, 1, (count, 2)) * half, rng.uniform(0.25, 0.9, count),
                            rng.choice([-1, 1], count, p=[0.8, 0.2]) * rng.uniform(0.1, 0.4, count)])
    lines = np.column_stack([rng.uniform(-1, 1, (hairs, 2)) * half, rng.uniform(0, 2 * np.pi, hairs),
                             rng.uniform(5, 16, hairs), rng.uniform(-1.5, 1.5, hairs)])
    room = np.maximum(half - reach, 0)
    return Pin(rng.uniform(-room, room), angle, rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi),
               rng.uniform(0.25, 0.5), GROUND + rng.uniform(-0.05, 0.05), rng.uniform(-0.04, 0.04, 2), dust, lines,
               rng.uniform(0.008, 0.016))


def sample_fault(rng: np.random.Generator, kind: str) -> Fault:
    """A defect of `kind`, one of KINDS; on the thread where it is the thread's."""
    at, size = {"bent": ((55, 75), (0.12, 0.35)), "cut": ((14, 84), (1.2, 3.0)), "missing": ((4, 84), (2.5, 4.5)),
                "scratch": ((12, 78), (6, 14)), "worn": ((SHANK + 4, 66), (8, 16))}[kind]
    return Fault(kind, rng.uniform(*at), rng.uniform(*size), rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.0))


def draw(pin: Pin, size: Tuple[int, int], fault: Optional[Fault], rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8, BGR; `rng` is the sensor's noise."""
    height, width = size
    scale = height / 128 * SUPERSAMPLE
    y, x = np.mgrid[:height * SUPERSAMPLE, :width * SUPERSAMPLE].astype(np.float32)
    x, y = (x + 0.5) / scale - 64 * width / height, (y + 0.5) / scale - 64
    tone = pin.ground + pin.slope[0] * x / 64 + pin.slope[1] * y / 64
    tone = _dusty(tone, pin, scale)
    cos, sin = np.cos(pin.angle), np.sin(pin.angle)
    dx, dy = x - pin.centre[0], y - pin.centre[1]
    u, v = dx * cos + dy * sin + LENGTH / 2, dy * cos - dx * sin
    if fault and fault.kind == "bent":  # beyond `at` the frame turns about the axis' point there
        turn, along = fault.size * np.sign(fault.way), np.maximum(u - fault.at, 0)
        bend = np.minimum(along / 6, 1) * turn
        u, v = np.where(along > 0, fault.at + along * np.cos(bend) + v * np.sin(bend), u), \
            np.where(along > 0, v * np.cos(bend) - along * np.sin(bend), v)
    radius, ridge = _form(u, v, pin.phase, fault)
    inside = np.clip((radius - np.abs(v)) * scale + 0.5, 0, 1) * _notched(u, v, scale, fault)
    shadow = cv2.GaussianBlur(inside, (0, 0), 3.0 * scale)
    shift = np.float32([[1, 0, -2 * scale * np.cos(pin.light)], [0, 1, -2 * scale * np.sin(pin.light)]])
    tone = tone * (1 - 0.28 * cv2.warpAffine(shadow, shift, shadow.shape[::-1]))
    tone = tone + inside * (_surface(u, v, radius, ridge, pin, fault) - tone)
    picture = cv2.resize(tone.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)[..., None]
    picture = np.repeat(picture + rng.normal(0, pin.noise, (height, width, 1)), 3, 2)
    return np.clip(np.round(picture * 255), 0, 255).astype(np.uint8)


def _form(u, v, phase, fault):
    """(half width of the pin at u on this side of its axis, how far the thread rises there: -1 to 1)."""
    head = np.clip(HEAD_RADIUS - (HEAD_RADIUS - RADIUS) * np.clip((u - 2.5) / (HEAD - 2.5), 0, 1), RADIUS, None)
    body = np.where(u < HEAD, head, RADIUS - 0.5)
    turns = 2 * np.pi * u / THREAD + phase + np.where(v > 0, np.pi, 0)  # a thread is half a turn on at the other side
    on = np.clip((u - SHANK) / 2, 0, 1) * np.clip((LENGTH - 1 - u) / 4, 0, 1)
    if fault and fault.kind == "worn":
        on = on * np.clip(np.abs(u - fault.at) - fault.size / 2, 0, 1)
    ridge = on * np.sin(turns)
    taper = np.clip((LENGTH - u) / (LENGTH - TIP), 0, 1)
    radius = (body + RIDGE * np.maximum(ridge, 0)) * np.where(u > TIP, np.sqrt(taper), 1)
    return np.where((u < 0) | (u > LENGTH), -1.0, radius), ridge


def _notched(u, v, scale, fault):
    """1 where the pin is, 0 in a gap or a bite of it."""
    if fault and fault.kind == "cut":
        return np.clip((np.abs(u - fault.at + 0.5 * fault.way * v) - fault.size / 2) * scale + 0.5, 0, 1)
    if fault and fault.kind == "missing":
        rim = (HEAD_RADIUS if fault.at < HEAD else RADIUS) * np.sign(fault.way)
        return np.clip((np.hypot(u - fault.at, v - rim) - fault.size) * scale + 0.5, 0, 1)
    return 1.0


def _surface(u, v, radius, ridge, pin, fault):
    """Tone of a round bar under a light from one side: diffuse, a glare along it, the flanks of the thread."""
    across = np.clip(v / np.maximum(radius, 0.1), -1, 1)
    side = np.sin(pin.light - pin.angle)  # of the light, across the pin
    up = np.sqrt(1 - across * across)
    tone = METAL * (0.55 + 0.35 * up + 0.3 * side * across)
    tone = tone + pin.glare * np.exp(-((across - 0.45 * side) / 0.18) ** 2) * (1 - 0.5 * np.abs(ridge))
    skewed = np.sin(2 * np.pi * u / THREAD + pin.phase + np.pi * (0.5 + 0.5 * across))  # ridges run round the bar
    threaded = np.clip((u - SHANK) / 2, 0, 1)
    if fault and fault.kind == "worn":
        threaded = threaded * np.clip(np.abs(u - fault.at) - fault.size / 2, 0, 1)
    tone = tone + 0.16 * threaded * skewed
    tone = np.where(u < 2.5, tone * 0.8, tone)
    if fault and fault.kind == "scratch":
        along, off = u - fault.at, v - 0.6 * fault.way * RADIUS * np.cos((u - fault.at) / fault.size)
        line = np.exp(-(off / 0.45) ** 2) * np.clip(fault.size / 2 - np.abs(along) + 0.5, 0, 1)
        tone = tone + 0.45 * line
    return np.clip(tone, 0, 1)


def _dusty(tone, pin, scale):
    """The ground with its dust and hairs."""
    height, width = tone.shape
    laid = np.zeros((height, width), np.float32)
    middle = np.array([width, height]) / 2
    for x, y, radius, strength in pin.dust:
        spot = np.zeros_like(laid)
        at = np.round((np.array([x, y]) * scale + middle) * 16).astype(int)
        cv2.circle(spot, (int(at[0]), int(at[1])), max(1, int(round(radius * scale * 16))), 1.0, -1, cv2.LINE_8, 4)
        laid += strength * spot
    for x, y, angle, length, bend in pin.hairs:
        t = np.linspace(0, 1, 12)
        turned = angle + bend * t
        points = np.cumsum(np.column_stack([np.cos(turned), np.sin(turned)]), 0) * length / 12 + (x, y)
        hair = np.zeros((height, width), np.uint8)
        cv2.polylines(hair, [np.round((points * scale + middle) * 16).astype(np.int32)], False, 255,
                      max(1, int(round(0.35 * scale))), cv2.LINE_AA, 4)
        laid -= 0.22 * hair.astype(np.float32) / 255
    return tone + cv2.GaussianBlur(laid, (0, 0), 0.3 * scale)
