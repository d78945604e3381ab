"""Held-out good pictures with defects drawn by OpenCV: a family of defects that no training noise knows, to choose by.

    python benchmarks/drawn_defects.py --data DIR --out OUT        DIR/train/good -> OUT in the MVTec layout
    python evaluate.py --run RUN --data OUT --out REPORT           RUN trained on DIR, same seed and held_out

Scratches, cracks, specks, smears, dents, erased patches and foreign pieces, inside the ROI where there is one, at the
pictures' own size. An object on plain ground gets structural defects too: a piece missing, the end bent, cut across, a
part moved along the cut, a piece of the surface moved along itself. A drawing that nobody would see is drawn again.
"""
import argparse
import functools
import os
import sys

import cv2
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from grdnet_tf.data import foreground  # noqa: E402
from grdnet_tf.data.files import read_picture  # noqa: E402
from grdnet_tf.data.records import hold_out, inspect, list_mvtec  # noqa: E402
from grdnet_tf.data.roi import read_roi  # noqa: E402
from grdnet_tf.errors import InputError  # noqa: E402

LEAST_CHANGE, LEAST_MEAN, LEAST_AREA = 4, 10, 12  # grey levels of a marked pixel, of all of them; pixels at 256 x 256


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, metavar="DIR", help="MVTec layout; only train/good and roi/ are read")
    parser.add_argument("--out", required=True, metavar="OUT", help="folder to make")
    parser.add_argument("--held-out", type=float, default=0.1, help="data.held_out of the run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="train.seed of the run (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=40, help="held-out pictures at most (default: %(default)s)")
    parser.add_argument("--each", type=int, default=30, help="drawings of each type at least (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    arguments = parse(argv)
    try:
        if os.path.exists(arguments.out):
            raise InputError(f"{arguments.out}: exists already")
        records = list_mvtec(arguments.data, "train")
        records = hold_out(records, arguments.held_out, arguments.seed)[1][:arguments.pictures]
        write(inspect(records).records, arguments.out, arguments.each, np.random.default_rng(1))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(records, out, each, rng):
    """Every picture as it is, and with ceil(each / pictures) drawings of each type."""
    pictures = [read_picture(record.image) for record in records]
    if pictures[0].dtype != np.uint8:
        raise InputError(f"{records[0].image}: 16 bit pictures are not drawn on")
    for i, (record, picture) in enumerate(zip(records, pictures)):
        roi = read_roi(record.roi, picture.shape[:2]) if record.roi else None
        where = np.ones(picture.shape[:2], np.uint8) if roi is None else roi
        save(picture, None, roi, out, "good", f"{i:03d}")
        part = foreground.find(picture)
        if part is not None and roi is None:
            where = part.solid
        structural = {} if part is None else bound(part)
        for kind, draw in {**KINDS, **structural}.items():
            for k in range(-(-each // len(pictures))):
                other = pictures[rng.integers(len(pictures))]
                drawn, mask = visible(draw, picture, other, where, where if kind in KINDS else 1, rng)
                save(drawn, mask, roi, out, kind, f"{i:03d}_{k}")


def save(picture, mask, roi, out, kind, stem):
    regions = {f"roi/test/{kind}/{stem}.png": roi, f"ground_truth/{kind}/{stem}_mask.png": mask}
    files = {path: 255 * region for path, region in regions.items() if region is not None}
    for path, pixels in {f"test/{kind}/{stem}.png": picture[..., ::-1], **files}.items():
        os.makedirs(os.path.dirname(os.path.join(out, path)), exist_ok=True)
        cv2.imwrite(os.path.join(out, path), pixels)


def visible(draw, picture, other, roi, limit, rng):
    """(drawn picture, mask), centred in `roi` and cut by `limit`: the first drawing that shows.

    The mask is where it changes more than the eye forgives.
    """
    height, width = picture.shape[:2]
    scale = max(height, width) / 256.0
    y, x = np.mgrid[:height, :width].astype(np.float32)
    inside = np.stack(np.nonzero(roi), 1)
    while True:
        centre = inside[rng.integers(len(inside))]
        place = Place(y - centre[0], x - centre[1], centre, scale, inside)
        opacity, paint = draw(picture.astype(np.float32), other, place, rng)
        opacity = (opacity * limit)[..., None]
        drawn = np.clip(np.round((1 - opacity) * picture + opacity * paint), 0, 255).astype(np.uint8)
        change = np.abs(drawn.astype(int) - picture).max(2)
        mask = (change > LEAST_CHANGE).astype(np.uint8)
        if mask.sum() >= LEAST_AREA * scale**2 and change[mask > 0].mean() > LEAST_MEAN:
            return drawn, mask


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


# The same of an object on plain ground --------------------------------------------------------------------------------


def bound(part):
    """{name: as above} of STRUCTURAL, which need the object's region and its ground too."""
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
KINDS = {draw.__name__: draw for draw in (scratch, crack, speck, smear, dent, erased, foreign)}

if __name__ == "__main__":
    sys.exit(main())
