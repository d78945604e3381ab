"""Drawn regions of interest: which pixels they are, which pictures they are for, what training gets of them."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest
from skimage.draw import polygon2mask

from grdnet_tf.data import drawings, roi
from grdnet_tf.data.check import check
from grdnet_tf.data.drawings import Shape
from grdnet_tf.data.records import inspect, list_mvtec
from grdnet_tf.data.selection import test_records as records_of
from grdnet_tf.errors import InputError
from grdnet_tf.options import Data

SIZE = {"imageHeight": 60, "imageWidth": 80}
LABELME = dict(SIZE, shapes=[{"label": "product", "points": [[10.5, 5], [70, 5], [40, 55.25]], "shape_type": "polygon"},
                             {"label": "exclude", "points": [[50, 30], [20, 10]], "shape_type": "rectangle"}])
PART = {"category_id": 1, "segmentation": [[10, 5, 50, 5, 50, 25, 10, 25], [60, 30, 70, 30, 70, 40]]}
COCO = {"categories": [{"id": 1, "name": "product"}],
        "images": [{"id": 7, "file_name": "good/000.png", "width": 80, "height": 60},
                   {"id": 8, "file_name": "good/001.png", "width": 80, "height": 60}],
        "annotations": [dict(PART, image_id=7), dict(PART, image_id=8)]}
CVAT = ('<annotations><image id="0" name="a.png" width="80" height="60"><box label="a" xtl="20" ytl="10" xbr="50" '
        'ybr="30"/></image></annotations>')

COLOUR = Data(channels="3")


def own(*shapes, **rest):
    return json.dumps({"unit": "share", "shapes": list(shapes), **rest})


def written(folder, content, name="roi.json"):
    path = os.path.join(str(folder), name)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def data(tmp_path):
    """Two good pictures to train on, one good and one defective to test with, 60 high and 80 wide."""
    for name in ("train/good/000", "train/good/001", "test/good/002", "test/spot/003"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(len(name)).integers(0, 255, (60, 80, 3), np.uint8))
    return tmp_path


def pixels(folder, size, *shapes, **rest):
    """(H, W) of a roi.json with these shapes."""
    return roi.raster(roi.Region("x", drawings.read(written(folder, own(*shapes, **rest))).shapes), size)


# Pixels ---------------------------------------------------------------------------------------------------------------


def test_a_pixel_is_inside_if_its_centre_is(tmp_path):
    found = pixels(tmp_path, (3, 5), {"box": [0.8, 0.5, 3.6, 2]}, unit="pixels")
    # Centres at 0.5, 1.5 ...: columns 1 to 3 (1.5, 2.5, 3.5), rows 0 (0.5 lies on the line, which counts) and 1.
    assert found.tolist() == [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert found.dtype == np.uint8
    quarter = pixels(tmp_path, (4, 8), {"box": [0, 0, 0.5, 0.5]})
    assert quarter.sum() == 8 and quarter[:2, :4].all()


def test_polygons_equal_two_independent_libraries(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = rng.uniform(-0.2, 1.2, (rng.integers(3, 9), 2)).round(4)
        found = pixels(tmp_path, (37, 53), {"polygon": points.tolist()})
        corners = points * (53, 37)
        assert (found == polygon2mask((37, 53), corners[:, ::-1] - 0.5)).all()
        if len(points) == 3:  # OpenCV needs a line that does not cross itself
            line = (corners * 1000).astype(np.int64).astype(np.float32) / 1000
            inside = [[cv2.pointPolygonTest(line, (x + 0.5, y + 0.5), True) for x in range(53)] for y in range(37)]
            clear = np.abs(inside) > 0.01
            assert (found[clear] == (np.array(inside) > 0)[clear]).all()


def test_a_circle_in_shares_stays_round_and_scales(tmp_path):
    for height, width in ((60, 80), (240, 320), (50, 120)):
        y, x = np.mgrid[:height, :width] + 0.5
        expected = np.hypot(x - 0.5 * width, y - 0.4 * height) < 0.21 * width
        assert (pixels(tmp_path, (height, width), {"circle": [0.5, 0.4, 0.21]}) == expected).all()


def test_the_last_shape_lies_on_top(tmp_path):
    left, right, middle = {"box": [0, 0, 0.5, 1]}, {"box": [0.5, 0, 1, 1]}, {"box": [0.25, 0, 0.75, 1]}
    row = (1, 8)
    assert pixels(tmp_path, row, left, dict(middle, exclude=True))[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert pixels(tmp_path, row, left, dict(middle, exclude=True), right)[0].tolist() == [1, 1, 0, 0, 1, 1, 1, 1]
    assert pixels(tmp_path, row, dict(middle, exclude=True))[0].tolist() == [1, 1, 0, 0, 0, 0, 1, 1]  # begins whole


# Which picture --------------------------------------------------------------------------------------------------------


def test_a_pattern_chooses_and_the_rest_is_everywhere(data):
    written(data, own({"box": [0, 0, 0.5, 1], "pictures": "train/*"},
                      {"circle": [0.5, 0.5, 0.1], "pictures": "*/spot/*"}))
    first, second = list_mvtec(str(data), "train")
    assert roi.read_roi(first.roi, (60, 80)).sum() == 60 * 40 and second.roi == first.roi
    good, spot = list_mvtec(str(data), "test")
    assert good.roi is None and spot.roi.shapes[0].kind == "circle"
    assert inspect([first, second]).channels == 3
    rows = {row[0]: row[-1] for row in check(str(data)).facts}
    assert rows["train/good"] == "50% to 50%" and rows["test/good"] == "-"


def test_coco_names_pictures_by_their_last_folders(data):
    written(data, COCO)
    assert all(record.roi.shapes[0].numbers[0] == 10 for record in list_mvtec(str(data), "train"))
    assert list_mvtec(str(data), "test")[0].roi is None
    shapes = roi.in_shares(roi.find(str(data)), str(data), (60, 80))
    assert [shape.pictures for shape in shapes] == ["train/good/000.png"] * 2 + ["train/good/001.png"] * 2
    assert shapes[0].numbers == (0.125, 5 / 60, 0.625, 5 / 60, 0.625, 25 / 60, 0.125, 25 / 60)
    shutil.copy(data / "train" / "good" / "000.png", data / "test" / "good" / "000.png")
    with pytest.raises(InputError, match="good/000.png is train/good/000.png and test/good/000.png"):
        list_mvtec(str(data), "train")


@pytest.mark.parametrize("content, words", [
    (own({"box": [0, 0, 1, 1], "pictures": "trian/*"}), "shapes for 'trian/\\*', but no picture"),
    (own({"box": [0, 0, 1, 1], "pictures": "*/000.png"}), "no shape is for .*001.png"),
    (dict(COCO, images=[dict(COCO["images"][0], file_name="x.png"), COCO["images"][1]]), "x.png is no picture")])
def test_a_slip_of_the_pen_is_told(data, content, words):
    written(data, content)
    with pytest.raises(InputError, match=words):
        list_mvtec(str(data), "train")


def test_own_files_of_a_folder_come_first(data):
    written(data, own({"box": [0, 0, 0.5, 1]}))
    (data / "roi" / "train" / "good").mkdir(parents=True)
    for name in ("000", "001"):
        written(data / "roi" / "train" / "good", LABELME, f"{name}.json")
    records = list_mvtec(str(data), "train")
    assert records[1].roi.path.endswith("001.json") and len(records[1].roi.shapes) == 2
    assert list_mvtec(str(data), "test")[0].roi.shapes[0].numbers == (0, 0, 0.5, 1)
    os.remove(data / "roi" / "train" / "good" / "001.json")
    with pytest.raises(InputError, match="001.png: no ROI of its own"):
        list_mvtec(str(data), "train")


def test_two_drawings_are_one_too_many(data):
    written(data, own({"box": [0, 0, 0.5, 1]}))
    written(data, CVAT, "roi.xml")
    with pytest.raises(InputError, match="roi.xml: there is roi.json as well"):
        list_mvtec(str(data), "train")


@pytest.mark.parametrize("content, words", [
    (dict(LABELME, imageWidth=81), "drawn on 81 x 60 pixels, a picture has 80 x 60"),
    (own({"box": [200, 0, 300, 50]}, unit="pixels"), "ROI is empty")])
def test_inspection_refuses_what_does_not_fit(data, content, words):
    path = written(data, content)
    with pytest.raises(InputError, match=words) as error:
        inspect(list_mvtec(str(data), "train"))
    assert str(error.value).startswith(path)


def test_one_drawing_for_all_by_the_flag(data, tmp_path_factory):
    path = written(tmp_path_factory.mktemp("elsewhere"), own({"box": [0, 0, 0.5, 1]}))
    cv2.imwrite(str(data / "mask.png"), np.full((60, 80), 255, np.uint8))
    (data / "ground_truth" / "spot").mkdir(parents=True)
    shutil.move(data / "mask.png", data / "ground_truth" / "spot" / "003_mask.png")
    assert [record.roi.path for record in records_of(str(data), "test", COLOUR, path)] == [path, path]
    other = written(os.path.dirname(path), own({"box": [0, 0, 0.5, 1], "pictures": "train/*"}), "b.json")
    with pytest.raises(InputError, match="no shape in it is for"):
        records_of(str(data), "test", COLOUR, other)


# What training and evaluation get -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(small_demo, tmp_path_factory):
    """Two copies of the demo set: with roi.json, and with ROI pictures of the same region."""
    drawn, painted = (str(tmp_path_factory.mktemp("demo") / name) for name in ("drawn", "painted"))
    for root in (drawn, painted):
        shutil.copytree(small_demo, root)
        shutil.rmtree(os.path.join(root, "roi"))
    written(drawn, own({"polygon": [[0.1, 0.2], [0.93, 0.3], [0.8, 0.9]]},
                       {"circle": [0.6, 0.5, 0.11], "exclude": True}))
    corners = np.array([[0.1, 0.2], [0.93, 0.3], [0.8, 0.9]]) * 64 - 0.5
    y, x = np.mgrid[:64, :64] + 0.5
    region = polygon2mask((64, 64), corners[:, ::-1]) & (np.hypot(x - 0.6 * 64, y - 32) >= 0.11 * 64)
    for split in ("train", "test"):
        for record in list_mvtec(painted, split):
            path = os.path.join(painted, "roi", os.path.relpath(record.image, painted))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            cv2.imwrite(path, region.astype(np.uint8) * 255)
    return drawn, painted


@pytest.mark.parametrize("cache, size", [("ram", (48, 40)), ("none", (64, 64))])
def test_batches_equal_those_of_roi_pictures(both, cache, size):
    from grdnet_tf.data.pipeline import TrainingStream, evaluation_dataset, held_out_dataset
    from grdnet_tf.options import Data

    settings = dict(channels=3, depth=8, batch_size=4, seed=1)
    found = []
    for root in both:
        train, test = (inspect(list_mvtec(root, split)).records for split in ("train", "test"))
        options = Data(image_size=size, cache=cache, rotation=0.5, parallel_calls=1)
        found.append([*TrainingStream(train, options, **settings).batches().take(2),
                      *held_out_dataset(train, options, **settings),
                      *evaluation_dataset(test, image_size=size, channels=3, batch_size=8,
                                         parallel_calls=1)])
    assert len(found[0]) == len(found[1]) == 2 + 3 + 2
    for ours, theirs in zip(*found):
        assert set(ours) == set(theirs)
        for key in ours:
            np.testing.assert_array_equal(ours[key], theirs[key], key)
        assert 0.1 < float(np.mean(ours["roi"])) < 0.5


def test_pictures_with_and_without_a_drawing_go_together(both):
    from grdnet_tf.data.pipeline import evaluation_dataset

    first, second = list_mvtec(both[0], "test")[:2]
    painted = list_mvtec(both[1], "test")[0]
    batch = next(iter(evaluation_dataset([first, second._replace(roi=None), painted], image_size=32, channels=3,
                                         batch_size=3)))
    rois = batch["roi"].numpy()
    assert (rois[0] == rois[2]).all() and rois[1].all() and not rois[0].all()


def test_a_picture_that_changed_since_is_named(both, tmp_path):
    from grdnet_tf.data.pipeline import TrainingStream
    from grdnet_tf.options import Data

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9, 3), np.uint8))
    region = roi.Region("some/roi.json", (Shape("box", (0, 0, 5, 5), size=(64, 64)),))
    record = list_mvtec(both[0], "train")[0]._replace(image=str(tmp_path / "a.png"), roi=region)
    stream = TrainingStream([record], Data(image_size=(16, 16), cache="ram"), channels=3, depth=8, batch_size=1, seed=0)
    with pytest.raises(InputError, match="some/roi.json: the ROI is drawn on 64 x 64 pixels, a picture has 9 x 9"):
        stream.batches()
