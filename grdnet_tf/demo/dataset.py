"""The embedded demo sets, drawn by a seed in the MVTec layout: strips of moulded plastic vials, and loose parts.

The case of the paper's section 8.3: blow-fill-seal vials stuck side by side, filled with liquid, on a conveyor belt.
Level, slope and shape of the meniscus, small bubbles under it, drops over it, light, position and belt texture vary
from picture to picture and are *normal*. The region of interest (ROI) is the vial bodies.

    train/good                               normal strips
    test/good                                normal strips
    test/{bubble,dent,scratch,speck}         one defect, wholly inside the ROI
    test/distractor                          dirt or a hair, wholly outside the ROI: a detector must stay silent here
    ground_truth/<type>/<stem>_mask.png      of defects and of distractors
    roi/<same path as the image>

The loose parts, `parts.py`, have no region of interest and nothing beside them but dust, which is normal:

    train/good  test/good  test/{bent,cut,missing,scratch,worn}  ground_truth/<type>/<stem>_mask.png

Each picture is a pure function of (seed, folder, index), so a smaller set is a part of a larger one.
"""
import functools
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np

from ..errors import InputError
from ..storage import aside, read_json
from . import parts, render
from .scene import DEFECTS, DISTRACTORS, Scene, sample_defect, sample_distractor, sample_scene

VERSION = 1  # raise when the drawing changes, so that an older set is drawn anew
MARKER = "demo.json"
MARGIN = 4  # pixels at 128 x 128 between the ROI and a distractor: its blur stays outside as well
VISIBLE = 14  # grey levels by which the better part of a mark must stand out: five times the sensor's noise
LEAST = 8  # pixels at 128 x 128 of a loose part's defect
CHANGED = 6  # grey levels by which a pixel of a loose part's defect differs from the good part
SETS = ("vials", "parts")
ATTEMPTS = 5000  # to place a mark; most end at the cheap test whether it fits


class Sample(NamedTuple):
    """What is written for one picture; `mask` is None for a good one, `roi` for a loose part."""
    image: np.ndarray  # (H, W, 3) uint8, BGR as OpenCV writes it
    roi: Optional[np.ndarray]  # (H, W) bool
    mask: Optional[np.ndarray]  # (H, W) bool


def draw_sample(seed: int, folder: str, index: int, size: Tuple[int, int] = (128, 128)) -> Sample:
    """Draws picture `index` of `folder` ("train/good", "test/speck", "test/distractor" ...) at (height, width)."""
    rng = np.random.default_rng([seed, zlib.crc32(folder.encode()), index])
    scene = sample_scene(rng, size)
    noise_seed = int(rng.integers(2 ** 31))
    image, roi = _draw(scene, size, [], noise_seed), render.draw_roi(scene, size)
    kind = folder.split("/")[1]
    if kind == "good":
        return Sample(image, roi, None)
    if kind == "distractor":
        reach = 2 * int(round(MARGIN * size[0] / 128)) + 1
        allowed = cv2.dilate(roi.astype(np.uint8), np.ones((reach, reach), np.uint8)) == 0
        distractor = DISTRACTORS[index % len(DISTRACTORS)]  # by turns: a hair finds room less often than dirt
        draw_mark = functools.partial(sample_distractor, rng, distractor, scene)
    else:
        allowed = cv2.erode(roi.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
        draw_mark = functools.partial(sample_defect, rng, kind, scene)
    for _ in range(ATTEMPTS):
        mark = draw_mark()
        mask = render.mark_mask(mark, scene, size)
        if not mask.any() or (mask & ~allowed).any() or not render.in_picture(mark, scene, size):
            continue
        marked = _draw(scene, size, [mark], noise_seed)
        # The same noise in both: the difference is the mark alone. What nobody could see is no defect.
        if np.percentile(cv2.absdiff(marked, image).max(-1)[mask], 80) >= VISIBLE:
            return Sample(marked, roi, mask)
    raise InputError(f"demo set: no room for a {kind} in {size[0]} x {size[1]} pixels; use a larger picture")


def draw_part(seed: int, folder: str, index: int, size: Tuple[int, int] = (128, 128)) -> Sample:
    """`draw_sample` of the loose parts; a mask is where the defect changes the picture by `CHANGED` levels or more."""
    rng = np.random.default_rng([seed, zlib.crc32(f"parts/{folder}".encode()), index])
    pin, noise_seed = parts.sample_pin(rng, size), int(rng.integers(2 ** 31))
    image = parts.draw(pin, size, None, np.random.default_rng(noise_seed))
    kind = folder.split("/")[1]
    if kind == "good":
        return Sample(image, None, None)
    for _ in range(ATTEMPTS):
        marked = parts.draw(pin, size, parts.sample_fault(rng, kind), np.random.default_rng(noise_seed))
        change = cv2.absdiff(marked, image).max(-1)
        mask = cv2.morphologyEx((change >= CHANGED).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
        if mask.sum() >= LEAST * (size[0] / 128) ** 2 and np.percentile(change[mask], 80) >= VISIBLE:
            return Sample(marked, None, mask)
    raise InputError(f"demo set: no {kind} shows in {size[0]} x {size[1]} pixels; use a larger picture")


def _draw(scene: Scene, size: Tuple[int, int], marks, noise_seed: int) -> np.ndarray:
    return render.draw(scene, size, marks, np.random.default_rng(noise_seed))


def write_demo(root: str, seed: int = 0, train: int = 200, test_good: int = 30, per_defect: int = 20,
               distractors: int = 30, size: Tuple[int, int] = (128, 128), which: str = "vials") -> str:
    """Draws the set `which`, of SETS, into `root` and returns `root`; a complete set with the same settings is left as it is.

    Everything is drawn beside `root` and renamed at the end, so that no half-written set is ever seen there.

    Raises:
      InputError: `root` holds anything else than an untouched demo set, or cannot be written; the size is too small.
    """
    settings = {"drawn_by": "grdnet_tf.demo_data", "version": VERSION, "seed": seed, "train": train,
                "test_good": test_good, "per_defect": per_defect, "distractors": distractors, "size": list(size)}
    if which != "vials":  # a set of vials is known by what older versions wrote
        settings.update(which=which, distractors=0)
    draw_one = {"vials": draw_sample, "parts": draw_part}[which]
    if min(size) < 64:
        raise InputError(f"demo set: pictures of {size[0]} x {size[1]} cannot show a defect; 64 x 64 is the least")
    found = _found(root)
    if found == settings:
        return root
    counts = {"train/good": train, "test/good": test_good, "test/distractor": settings["distractors"]}
    counts.update({f"test/{kind}": per_defect for kind in (DEFECTS if which == "vials" else parts.KINDS)})
    parent = os.path.dirname(os.path.abspath(root))
    try:
        os.makedirs(parent, exist_ok=True)
        with aside(parent) as fresh, aside(parent) as old:
            with ThreadPoolExecutor() as pool:  # OpenCV and NumPy release the lock: twice as fast on two cores
                jobs = [pool.submit(_write_sample, fresh, draw_one, seed, folder, index, size)
                        for folder, count in counts.items() for index in range(count)]
                for job in jobs:
                    job.result()
            files = _count_files(fresh) + 1  # and the marker
            with open(os.path.join(fresh, MARKER), "w", encoding="utf-8") as file:
                json.dump(dict(settings, files=files), file, indent=1)
            if found is not None:  # moved away whole: half of one would not be known as ours
                os.rename(root, os.path.join(old, "set"))
            elif os.path.isdir(root):  # empty, which Windows does not replace; or another process was faster
                os.rmdir(root)
            os.rename(fresh, root)
    except OSError as error:
        if _found(root) == settings:  # another process drew the same set at the same time
            return root
        raise InputError(f"demo set: cannot write {root}: {error.strerror}") from None
    return root


def _write_sample(root: str, draw_one, seed: int, folder: str, index: int, size: Tuple[int, int]) -> None:
    sample = draw_one(seed, folder, index, size)
    name = f"{index:03d}"
    _write_png(os.path.join(root, folder, name + ".png"), sample.image)
    if sample.roi is not None:
        _write_png(os.path.join(root, "roi", folder, name + ".png"), sample.roi.astype(np.uint8) * 255)
    if sample.mask is not None:
        path = os.path.join(root, "ground_truth", folder.split("/")[1], name + "_mask.png")
        _write_png(path, sample.mask.astype(np.uint8) * 255)


def _write_png(path: str, pixels: np.ndarray) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:  # not cv2.imwrite: it hides why a file could not be written
        file.write(cv2.imencode(".png", pixels)[1].tobytes())


def _found(root: str) -> Optional[dict]:
    """Settings of the demo set in `root`, {} if it is ours but incomplete, None if there is nothing."""
    if not os.path.lexists(root):
        return None
    if not os.path.isdir(root):
        raise InputError(f"demo set: {root} is a file; give a folder")
    if not os.listdir(root):
        return None
    try:
        settings = read_json(os.path.join(root, MARKER))
        files, ours = settings.pop("files"), settings["drawn_by"] == "grdnet_tf.demo_data"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        files, ours = 0, False
    if not ours or _count_files(root) > files:
        raise InputError(f"demo set: {root} holds files that the demo did not draw; give another folder, or empty it")
    return settings if _count_files(root) == files else {}


def _count_files(root: str) -> int:
    return sum(len(files) for _, _, files in os.walk(root))
