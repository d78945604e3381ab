"""Pictures of a report: the map's colours, red outlines, what is embedded of a file."""
import base64

import cv2
import numpy as np
import pytest

from grdnet_tf.data.records import Record
from grdnet_tf.evaluation.measure import Seen
from grdnet_tf.evaluation.thresholds import Limits
from grdnet_tf.report import page, pictures, report, shots


def decoded(uri):
    kind, _, content = uri.partition(";base64,")
    return kind, cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED)


def test_the_picture_is_seen_below_the_threshold_and_turns_warm_above_it():
    grey = np.full((1, 4, 3), 128, np.uint8)
    found = pictures.heat(grey, np.array([[0.0, 0.29, 0.31, 1.0]]), 0.3).astype(int)
    assert (found[0, 0] == 128).all()                       # nothing lies over a silent map
    assert np.abs(found[0, 1] - 128).max() < 50             # just below: pale
    assert found[0, 1, 0] < found[0, 1, 2] + 128            # and no warm tone
    red, green, blue = found[0, 2]
    assert red > 180 and green > 150 and blue < 100         # just above: yellow
    red, green, blue = found[0, 3]
    assert red > green + 60 and red > blue + 60             # the highest: red


def test_colours_follow_the_threshold():
    grey = np.full((1, 1, 3), 128, np.uint8)
    low, high = (pictures.heat(grey, np.array([[0.4]]), level)[0, 0].astype(int) for level in (0.3, 0.5))
    assert low[0] > low[2] + 60 and high[0] < low[0]
    assert (pictures.heat(grey, np.array([[0.4]]), None)[0, 0] == high).all()  # without one: the middle


def seen(score):
    amap = np.full((32, 32), 0.01, np.float32)
    amap[4:8, 4:8] = score
    picture = np.full((32, 32, 1), 0.5, np.float32)
    return Seen(None, picture, picture, amap, None, None, score, score)


@pytest.mark.parametrize("score, red", [(0.9, True), (0.6, False)])
def test_a_sheet_has_red_outlines_only_where_the_image_is_rejected(score, red):
    one = seen(score)
    sheet = pictures.draw_sheet(one, one.anomaly_map, threshold=0.5, pool=1, side=64, limits=Limits(0.7, 0.7))
    overlay = sheet[22:86, 3 * 68 + 2:4 * 68 - 2]  # the last panel of the first row, below its title
    assert (overlay == pictures.RED).all(axis=-1).any() == red


@pytest.mark.parametrize("score, told", [(0.6, False), (0.8, True)])
def test_the_score_decides_what_a_sheet_shows_not_the_maps_maximum(score, told):
    """They differ with PatchCore, GANomaly and a least area."""
    one = seen(0.7)._replace(score=score, score_roi=score)
    sheet = pictures.draw_sheet(one, one.anomaly_map, threshold=0.5, pool=1, side=64, limits=Limits(0.7, 0.7))
    assert (pictures.panels(sheet)["overlay"] == pictures.RED).all(axis=-1).any() == told


def test_the_outline_of_a_pixel_goes_round_it():
    region = np.zeros((4, 6), bool)
    region[1, 3] = True
    points = [tuple(map(float, point.split(","))) for point in shots.outline(region)[1:-1].split("L")]
    assert set(points) == {(3.0, 1.5), (4.0, 1.5), (3.5, 1.0), (3.5, 2.0)}  # x, y; the pixel spans 3 to 4 and 1 to 2
    assert shots.outline(np.ones((4, 6), bool)) == "" == shots.outline(np.zeros((4, 6), bool))


def test_what_is_white_in_a_file_of_12_bit_is_white_in_the_page(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20), 4095, np.uint16))
    assert shots.own_picture(str(tmp_path / "a.png"), 4095).min() == 255
    assert shots.own_picture(str(tmp_path / "a.png")).max() == 16


def test_a_file_is_embedded_with_its_own_pixels(tmp_path):
    pixels = np.full((300, 200, 3), 40, np.uint8)
    pixels[150:153, 100:103] = (255, 0, 0)  # a red defect of 3 x 3 pixels
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    one = seen(0.9)._replace(record=Record(str(tmp_path / "a.png"), None, None, 0, "good"))
    made = shots.shot(one, one.anomaly_map, 0.5)
    kind, picture = decoded(made["picture"])
    assert kind == "data:image/jpeg" and picture.shape == (300, 200, 3) and made["shape"] == "200 / 300"
    blue, green, red = picture[151, 101]
    assert red > 200 and blue < 60 and green < 60  # neither its brightness nor its colour is lost
    kind, grey = decoded(made["raw"])
    assert kind == "data:image/png" and grey.shape == (32, 32)
    assert grey[5, 5] == round(255 * 0.9 ** 0.5) and grey[20, 20] == round(255 * 0.1)  # the square root of the value
    assert made["box"] == "0 0 32 32" and made["outlines"]["found"].startswith("M") and "roi" not in made["outlines"]


def test_large_and_deep_files_are_reduced(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((2048, 512), 40000, np.uint16))
    picture = shots.own_picture(str(tmp_path / "a.png"))
    assert picture.shape == (1024, 256, 3) and picture.dtype == np.uint8 and (picture == 40000 >> 8).all()


def test_a_small_peak_of_a_large_map_is_kept():
    amap = np.zeros((1100, 900), np.float32)
    amap[700, 450] = 1.0
    assert decoded(shots.embed(np.zeros((8, 8, 3), np.uint8), raw=amap)["raw"])[1].max() == 255


def test_the_page_takes_as_many_pictures_as_it_has_room_for(monkeypatch):
    one = shots.embed(np.zeros((8, 8, 3), np.uint8))
    drawn = [(Record(str(i), None, None, 0, "good"), None, one) for i in range(5)]
    monkeypatch.setattr(page, "BYTES", 2.5 * shots.size(one))
    embedded = {}
    assert len(list(report._sheets(drawn, embedded))) == 5 and list(embedded) == ["0", "1"]
