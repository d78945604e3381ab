"""Which shapes a file holds: roi.json, a sample of LabelMe, of COCO and of CVAT, and what is refused in one line."""
import json
import os

import numpy as np
import pytest

from grdnet_tf.data import drawings, roi
from grdnet_tf.data.drawings import Shape
from grdnet_tf.errors import InputError

LABELME = {"version": "5.4.1", "flags": {}, "imagePath": "000.png", "imageData": None, "imageHeight": 60,
           "imageWidth": 80, "shapes": [
               {"label": "product", "points": [[10.5, 5], [70, 5], [40, 55.25]], "group_id": None,
                "shape_type": "polygon", "flags": {}},
               {"label": "Exclude", "points": [[50, 30], [20, 10]], "shape_type": "rectangle", "flags": {}},
               {"label": "hole", "points": [[40, 20], [43, 24]], "shape_type": "circle", "flags": {}}]}
COCO = {"info": {}, "licenses": [], "categories": [{"id": 1, "name": "product"}, {"id": 2, "name": "exclude"}],
        "images": [{"id": 7, "file_name": "good/000.png", "width": 80, "height": 60, "license": 1},
                   {"id": 8, "file_name": "good/001.png", "width": 80, "height": 60}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 800.0, "bbox": [10, 5, 40, 20],
             "segmentation": [[10, 5, 50, 5, 50, 25, 10, 25], [60, 30, 70, 30, 70, 40]]},
            {"id": 2, "image_id": 8, "category_id": 2, "iscrowd": 0, "area": 800.0, "bbox": [10, 5, 40, 20],
             "segmentation": []}]}
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><id>3</id></job></meta>
  <image id="0" name="000.png" width="80" height="60">
    <box label="exclude" source="manual" occluded="0" xtl="20" ytl="10" xbr="50" ybr="30" z_order="1"></box>
    <polygon label="product" source="manual" points="10.50,5.00;70.00,5.00;40.00,55.25" z_order="0"></polygon>
    <ellipse label="product" cx="40" cy="20" rx="5" ry="5" z_order="2"/>
    <tag label="product" source="manual"></tag>
  </image>
  <image id="1" name="001.png" width="80" height="60"></image>
</annotations>"""
PIXELS = (80, 60)


def own(*shapes, **rest):
    return json.dumps({"unit": "share", "shapes": list(shapes), **rest})


def written(folder, content, name="roi.json"):
    path = os.path.join(str(folder), name)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(content if isinstance(content, str) else json.dumps(content))
    return path


def coco(**changed):
    """The sample with its first annotation changed, and alone."""
    return dict(COCO, annotations=[dict(COCO["annotations"][0], **changed)])


def test_labelme(tmp_path):
    assert drawings.read(written(tmp_path, LABELME)) == drawings.Drawing(os.path.join(tmp_path, "roi.json"), (
        Shape("polygon", (10.5, 5, 70, 5, 40, 55.25), False, "*", PIXELS),
        Shape("box", (20, 10, 50, 30), True, "*", PIXELS), Shape("circle", (40, 20, 5), False, "*", PIXELS)))


def test_coco(tmp_path):
    found = drawings.read(written(tmp_path, COCO))
    assert found.named and found.shapes == (
        Shape("polygon", (10, 5, 50, 5, 50, 25, 10, 25), False, "good/000.png", PIXELS),
        Shape("polygon", (60, 30, 70, 30, 70, 40), False, "good/000.png", PIXELS),
        Shape("box", (10, 5, 50, 25), True, "good/001.png", PIXELS))
    alone = dict(COCO, annotations=COCO["annotations"][:1])
    found = drawings.read(written(tmp_path, alone))
    assert not found.named and {shape.pictures for shape in found.shapes} == {"*"}  # one picture: for all


def test_cvat_in_the_order_of_its_layers(tmp_path):
    found = drawings.read(written(tmp_path, CVAT, "roi.xml"))
    assert not found.named and found.shapes == (
        Shape("polygon", (10.5, 5, 70, 5, 40, 55.25), False, "*", PIXELS),
        Shape("box", (20, 10, 50, 30), True, "*", PIXELS), Shape("circle", (40, 20, 5), False, "*", PIXELS))


def test_cvat_turned_boxes_and_ellipses(tmp_path):
    drawn = ('<annotations><image id="0" name="a" width="80" height="60"><box label="a" xtl="20" ytl="20" xbr="60" '
             'ybr="40" rotation="90"/></image></annotations>')
    box = roi.raster(roi.Region("x", drawings.read(written(tmp_path, drawn, "a.xml")).shapes), (60, 80))
    assert box.sum() == 800 and box[10:50, 30:50].all()  # 40 x 20 about (40, 30), a quarter turn
    drawn = drawn.replace("<box", '<ellipse cx="40" cy="30" rx="10" ry="20"')
    ellipse = roi.raster(roi.Region("x", drawings.read(written(tmp_path, drawn, "a.xml")).shapes), (60, 80))
    assert ellipse.sum() == pytest.approx(np.pi * 200, rel=0.02) and ellipse[30, 21:59].all() and not ellipse[15, 40]


MALFORMED = {
    "no JSON": ("{", "EOF"),
    "a list": ("[]", "expected an object"),
    "no unit": ('{"shapes": []}', "unit: Field required"),
    "no shapes": (own(), "no shape in it"),
    "unknown key": (own({"box": [0, 0, 1, 1], "include": True}), "shapes[0].include"),
    "two kinds": (own({"box": [0, 0, 1, 1], "circle": [0, 0, 1]}), "one of polygon, box, circle"),
    "a word": (own({"circle": [0, 0, "1"]}), "shapes[0].circle[2]"),
    "not a number": ('{"unit": "share", "shapes": [{"circle": [0, 0, NaN]}]}', "expected value"),
    "two points": (own({"polygon": [[0, 0], [1, 1]]}), "3 points or more"),
    "upside down": (own({"box": [1, 0, 0, 1]}), "left, top, right, bottom"),
    "pixels as shares": (own({"box": [0, 0, 300, 200]}), "shares of the picture"),
    "radius": (own({"circle": [0.5, 0.5, 0]}), "radius"),
    "size of shares": (own({"box": [0, 0, 1, 1]}, size=[4, 4]), "size goes with the unit pixels"),
    "labelme line": (dict(LABELME, shapes=[dict(LABELME["shapes"][0], shape_type="line")]), "shapes[0].shape_type"),
    "labelme circle": (dict(LABELME, shapes=[dict(LABELME["shapes"][2], points=[[1, 2]])]), "circle with 1 points"),
    "coco run lengths": (coco(segmentation={"counts": [1], "size": [2]}), "annotations[0].segmentation"),
    "coco odd": (coco(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "annotations[0]: expected polygons"),
    "coco no image": (dict(COCO, images=COCO["images"][1:]), "annotations[0]: no image of its id"),
    "xml": ("<annotations>", "no element found"),
    "xml encoding": ('<?xml version="1.0" encoding="morse"?><annotations/>', "not XML: unknown encoding"),
    "xml other": ("<svg/>", "CVAT for images"),
    "xml line": (CVAT.replace("polygon", "polyline"), "<polyline>: expected"),
    "xml number": (CVAT.replace('xtl="20"', 'xtl="nan"'), "<box xtl='nan'>: expected a number"),
    "xml points": (CVAT.replace("10.50,5.00;", "10.50;"), "x,y;x,y"),
    "xml no label": (CVAT.replace('label="exclude"', ""), "<box>: label is missing"),
    "xml entities": ('<!DOCTYPE a [<!ENTITY b "' + "c" * 99 + '"><!ENTITY d "' + "&b;" * 99 + '">]><annotations>&d;'
                     "</annotations>", "has a DOCTYPE"),
}


@pytest.mark.parametrize("content, words", MALFORMED.values(), ids=list(MALFORMED))
def test_malformed_is_one_line_with_the_file(tmp_path, content, words):
    path = written(tmp_path, content, "a.xml" if isinstance(content, str) and content.startswith("<") else "a.json")
    with pytest.raises(InputError) as error:
        drawings.read(path)
    assert str(error.value).startswith(f"{path}: ") and words in str(error.value), error.value
    assert "\n" not in str(error.value)


def test_what_is_written_is_read_back(tmp_path):
    shapes = (Shape("polygon", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)), Shape("box", (0, 0, 1, 1), True, "test/*"),
              Shape("circle", (0.5, 0.5, 0.25)))
    assert drawings.read(written(tmp_path, drawings.to_text(shapes))).shapes == shapes
