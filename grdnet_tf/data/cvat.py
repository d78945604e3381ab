"""Which shapes does a file of CVAT hold ("CVAT for images 1.1")? Polygons, boxes and ellipses, turned or not."""
from __future__ import annotations

import math
from typing import List, Tuple
from xml.etree import ElementTree

_CORNERS = 64  # of an ellipse


class _Tree(ElementTree.TreeBuilder):
    """Refuses a document type: the entities that it defines may grow without end, or name other files."""

    def doctype(self, name, pubid, system):
        raise ValueError("has a DOCTYPE, expected CVAT for images without one")


def parse(contents: bytes) -> List[Tuple]:
    """[(kind, numbers, label, name of the picture, (width, height))] of every shape, a picture's layers upwards.

    Kinds and numbers as in `drawings.Shape`. Raises ValueError: one line.
    """
    parser = ElementTree.XMLParser(target=_Tree())
    try:
        parser.feed(contents)
        root = parser.close()
    except (ElementTree.ParseError, LookupError) as error:  # the second: an encoding that there is not
        raise ValueError(f"not XML: {error}") from None
    images = [image for image in root if image.tag == "image"]
    if root.tag != "annotations" or not images:
        raise ValueError("expected <annotations> with <image>: CVAT for images")
    shapes = []
    for image in images:
        size = (int(_number(image, "width", 1)), int(_number(image, "height", 1)))
        drawn = [element for element in image if element.tag != "tag"]  # which is of the whole picture
        for element in sorted(drawn, key=lambda element: _number(element, "z_order", default="0")):
            kind, numbers = _shape(element)
            shapes.append((kind, numbers, _text(element, "label"), _text(image, "name"), size))
    return shapes


def _shape(element):
    if element.tag == "polygon":
        points = [pair.split(",") for pair in _text(element, "points").split(";")]
        if any(len(point) != 2 for point in points):
            raise ValueError("<polygon points>: expected x,y;x,y ...")
        return "polygon", tuple(float(number) for point in points for number in point)
    if element.tag == "box":
        left, top, right, bottom = (_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        if not _number(element, "rotation", default="0"):
            return "box", (left, top, right, bottom)
        return "polygon", _turned(element, [(left, top), (right, top), (right, bottom), (left, bottom)],
                                  (left + right) / 2, (top + bottom) / 2)
    if element.tag == "ellipse":
        x, y = _number(element, "cx"), _number(element, "cy")
        across, down = _number(element, "rx", 0), _number(element, "ry", 0)
        if across == down:
            return "circle", (x, y, across)
        angles = [2 * math.pi * i / _CORNERS for i in range(_CORNERS)]
        return "polygon", _turned(element, [(x + across * math.cos(angle), y + down * math.sin(angle))
                                            for angle in angles], x, y)
    raise ValueError(f"<{element.tag}>: expected <polygon>, <box> or <ellipse>")


def _turned(element, points, x, y):
    """Flat numbers of the points, turned about (x, y) by the element's `rotation` in degrees, clockwise as it looks."""
    angle = math.radians(_number(element, "rotation", default="0"))
    cos, sin = math.cos(angle), math.sin(angle)
    return tuple(number for px, py in points
                 for number in (x + cos * (px - x) - sin * (py - y), y + sin * (px - x) + cos * (py - y)))


def _text(element, key, default=None):
    found = element.get(key, default)
    if found is None:
        raise ValueError(f"<{element.tag}>: {key} is missing")
    return found


def _number(element, key, least=-math.inf, default=None):
    text = _text(element, key, default)
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found >= least):
        raise ValueError(f"<{element.tag} {key}={text!r}>: expected a number")
    return found
