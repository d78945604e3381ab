"""Which shapes does a file hold: polygons, boxes and circles of roi.json, LabelMe, COCO or CVAT.

A point (x, y) counts from the picture's upper left corner, so that pixel (row 0, column 0) reaches from (0, 0) to
(1, 1), as in all of these formats. In the tools' files the label "exclude" takes a shape's area away, every other label
adds it. Strict: what is no area (a line, a point) or no shape (a run-length mask) is an error.
"""
from __future__ import annotations

import json
import math
from typing import Annotated, List, Literal, NamedTuple, Optional, Tuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from ..errors import InputError
from . import cvat

SHARE = (1, 1)  # the `size` of shapes in shares: as drawn on a picture of one by one
ALL = "*"
EXCLUDE = "exclude"
_FARTHEST = {True: 10.0, False: 1e6}  # shares, pixels from the corner: what lies farther off is a mistake


class Shape(NamedTuple):
    """`kind` polygon: x, y, x, y ...; box: left, top, right, bottom; circle: x, y, radius (in shares: of the width).

    `pictures`: which ones it is for, see `Drawing`. `size` (width, height) of the picture that it was drawn on,
    `SHARE`, or None: pixels of whatever picture comes.
    """
    kind: str
    numbers: Tuple[float, ...]
    exclude: bool = False
    pictures: str = ALL
    size: Optional[Tuple[int, int]] = SHARE


class Drawing(NamedTuple):
    """The shapes of the file `path`, in its order.

    `named`: a shape's `pictures` is the name of one file, which may lack leading folders; else it is a pattern
    (fnmatch) on the path below the data folder.
    """
    path: str
    shapes: Tuple[Shape, ...]
    named: bool = False


def read(path: str) -> Drawing:
    """The drawing in a .json (roi.json, LabelMe, COCO) or .xml file (CVAT for images).

    A tool's file that annotates one picture only is for all pictures. Raises InputError: one line, file and key.
    """
    try:
        with open(path, "rb") as stream:
            contents = stream.read()
        shapes, named = _cvat(contents) if path.lower().endswith(".xml") else _json(contents)
        for shape in shapes:
            _check(shape)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        what = first["msg"].replace("Value error, ", "")
        raise InputError(f"{path}: {key + ': ' if key else ''}{what}") from None
    except ValueError as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}") from None
    if not shapes:
        raise InputError(f"{path}: no shape in it")
    if named and len({shape.pictures for shape in shapes}) == 1:
        shapes, named = [shape._replace(pictures=ALL) for shape in shapes], False
    return Drawing(path, tuple(shapes), named)


def to_text(shapes) -> str:
    """A roi.json with `shapes`, which are in shares: one a line."""
    lines = []
    for shape in shapes:
        numbers = [round(number, 5) for number in shape.numbers]
        value = [numbers[i:i + 2] for i in range(0, len(numbers), 2)] if shape.kind == "polygon" else numbers
        rest = {**({"exclude": True} if shape.exclude else {}),
                **({} if shape.pictures == ALL else {"pictures": shape.pictures})}
        lines.append("  " + json.dumps({shape.kind: value, **rest}))
    return '{"unit": "share", "shapes": [\n' + ",\n".join(lines) + "\n]}\n"


def _check(shape):
    n, kind = shape.numbers, shape.kind
    if not all(math.isfinite(number) and abs(number) <= _FARTHEST[shape.size == SHARE] for number in n):
        unit = "shares of the picture, 0 to 1" if shape.size == SHARE else "pixels"
        raise ValueError(f"{kind} {_short(n)}: expected {unit}")
    if kind == "polygon" and len(n) < 6:
        raise ValueError(f"{kind} {_short(n)}: expected 3 points or more")
    if kind == "box" and not (n[0] < n[2] and n[1] < n[3]):
        raise ValueError(f"{kind} {_short(n)}: expected left, top, right, bottom")
    if kind == "circle" and not n[2] > 0:
        raise ValueError(f"{kind} {_short(n)}: expected x, y and a radius of more than 0")


def _short(numbers):
    return "[" + ", ".join(f"{number:g}" for number in numbers[:6]) + (", ..." if len(numbers) > 6 else "") + "]"


# JSON -----------------------------------------------------------------------------------------------------------------

Point = Tuple[float, float]
Side = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Loose(BaseModel):
    """Of the tools' files: what is read is checked, what else they say is theirs."""
    model_config = ConfigDict(strict=True, extra="ignore")


class _OwnShape(_Strict):
    polygon: Optional[List[Point]] = None
    box: Optional[Tuple[float, float, float, float]] = None
    circle: Optional[Tuple[float, float, float]] = None
    exclude: bool = False
    pictures: Annotated[str, Field(min_length=1)] = ALL

    @model_validator(mode="after")
    def _one(self):
        if sum(value is not None for value in (self.polygon, self.box, self.circle)) != 1:
            raise ValueError("expected one of polygon, box, circle")
        return self


class _Own(_Strict):
    unit: Literal["share", "pixels"]
    size: Optional[Tuple[Side, Side]] = None
    shapes: List[_OwnShape]


class _LabelMeShape(_Loose):
    label: str
    points: List[Point]
    shape_type: Literal["polygon", "rectangle", "circle"] = "polygon"


class _LabelMe(_Loose):
    shapes: List[_LabelMeShape]
    imageHeight: Side
    imageWidth: Side


class _CocoImage(_Loose):
    id: int
    file_name: str
    width: Side
    height: Side


class _CocoCategory(_Loose):
    id: int
    name: str


class _CocoAnnotation(_Loose):
    image_id: int
    category_id: int
    segmentation: List[List[float]] = []
    bbox: Optional[Tuple[float, float, float, float]] = None


class _Coco(_Loose):
    images: List[_CocoImage]
    annotations: List[_CocoAnnotation]
    categories: List[_CocoCategory]


def _json(contents):
    found = from_json(contents, allow_inf_nan=False)
    if not isinstance(found, dict):
        raise ValueError("expected an object: roi.json, LabelMe or COCO")
    if "annotations" in found:
        return _coco(_Coco.model_validate_json(contents)), True
    if "imageWidth" in found or "imagePath" in found:
        return _labelme(_LabelMe.model_validate_json(contents)), False
    return _own(_Own.model_validate_json(contents)), False


def _own(content):
    size = SHARE if content.unit == "share" else content.size
    if content.unit == "share" and content.size:
        raise ValueError("size goes with the unit pixels")
    shapes = []
    for shape in content.shapes:
        kind = next(kind for kind in ("polygon", "box", "circle") if getattr(shape, kind) is not None)
        numbers = getattr(shape, kind)
        flat = _flat(numbers) if kind == "polygon" else numbers
        shapes.append(Shape(kind, flat, shape.exclude, shape.pictures, size))
    return shapes


def _labelme(content):
    shapes = []
    for shape in content.shapes:
        kind, points = shape.shape_type, shape.points
        if kind != "polygon" and len(points) != 2:
            raise ValueError(f"{kind} with {len(points)} points, expected 2")
        if kind == "rectangle":
            kind, numbers = "box", _box(*points)
        elif kind == "circle":  # the centre and a point of its line
            numbers = (*points[0], math.dist(*points))
        else:
            numbers = _flat(points)
        shapes.append(Shape(kind, numbers, _excludes(shape.label), ALL, (content.imageWidth, content.imageHeight)))
    return shapes


def _coco(content):
    images = {image.id: image for image in content.images}
    labels = {category.id: category.name for category in content.categories}
    shapes = []
    for i, annotation in enumerate(content.annotations):
        image, label = images.get(annotation.image_id), labels.get(annotation.category_id)
        if image is None or label is None:
            raise ValueError(f"annotations[{i}]: no {'image' if image is None else 'category'} of its id")
        parts = [("polygon", tuple(part)) for part in annotation.segmentation]
        if not parts and annotation.bbox:
            left, top, width, height = annotation.bbox
            parts = [("box", (left, top, left + width, top + height))]
        if not parts or any(len(numbers) % 2 for kind, numbers in parts if kind == "polygon"):
            raise ValueError(f"annotations[{i}]: expected polygons of x, y, x, y ..., or a bbox")
        shapes += [Shape(kind, numbers, _excludes(label), _name(image.file_name), (image.width, image.height))
                   for kind, numbers in parts]
    return shapes


def _cvat(contents):
    return [Shape(kind, numbers, _excludes(label), _name(name), size)
            for kind, numbers, label, name, size in cvat.parse(contents)], True


def _flat(points):
    return tuple(number for point in points for number in point)


def _box(a, b):
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))


def _excludes(label):
    return label.strip().lower() == EXCLUDE


def _name(file_name):
    return file_name.replace("\\", "/").removeprefix("./")
