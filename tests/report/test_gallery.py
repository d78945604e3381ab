"""The pictures of a run in the page of several: which ones, in which order, what is said where some are missing."""
import base64
import html
import os
import re
import shutil
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from grdnet_tf.data.record import Record
from grdnet_tf.evaluation import figures
from grdnet_tf.evaluation.measure import Evaluation, Seen
from grdnet_tf.evaluation.thresholds import Limits
from grdnet_tf.report import comparison, gallery, page, pictures, report, shots

THRESHOLDS = {name: {"value": value, "method": "value", "n": 9, "above": 0, "false_reject_interval": None,
                     "fitted_on": "9 good images"} for name, value in (("image", 0.5), ("look", 0.4), ("pixel", 0.5))}
# (type, name, score, whether the map is high where the defect lies)
IMAGES = [("spot", "a.png", 0.70, True), ("spot", "b.png", 0.90, True), ("crack", "c.png", 0.95, False),
          ("crack", "d.png", 0.80, True), ("crack", "e.png", 0.60, True), ("spot", "f.png", 0.30, True),
          ("spot", "g.png", 0.10, True), ("spot", "h.png", 0.20, True), ("spot", "i.png", 0.45, True),
          ("good", "j.png", 0.05, True), ("good", "k.png", 0.55, True), ("good", "l.png", 0.25, True)]


def write(folder, images, drawn=None, thresholds=THRESHOLDS):
    """An evaluation of 32 x 32 pictures of which i has the grey level 40 + 10 i; `drawn`: names with a sheet."""
    rows, sheets, truth, beside = [], [], np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    truth[8:16, 8:16], beside[20:28, 20:28] = True, True
    limits = Limits.of(thresholds, False)
    for i, (defect, name, score, there) in enumerate(images):
        path, bad = f"/disk/d/test/{defect}/{name}", defect != "good"
        rows.append(figures.Row(path, defect, int(bad), int(bad), score, score))
        if drawn is None or name in drawn:
            amap = np.where(truth if there else beside, score, 0).astype(np.float32)
            image = np.full((32, 32, 1), (40 + 10 * i) / 255, np.float32)
            seen = Seen(Record(path, None, None, int(bad), defect), image, None, amap, None, truth & bad, score, score)
            sheet = pictures.draw_sheet(seen, amap, 0.5 if thresholds else None, 1, limits=limits)
            sheets.append((seen.record, sheet, shots.embed(sheet)))
    figure = dict(figures.summarise(rows, {}, thresholds, False, resamples=5), warnings=[], data="/disk/d")
    report.write(str(folder / "evaluation"), Evaluation(figure, rows), sheets)
    return comparison.read(str(folder), {})


def told(text):
    """{"finds", "misses", "alarms": ([(class, verdict, score, type, name)], the words below)} of one run's pictures."""
    found = {}
    for name, section in re.findall(r'<section class="(\w+)">(.*?)</section>', text, re.S):
        cards = re.findall(r'<figure class="seen (\w*)">.*?<span class="tag">(.*?)</span> · ([\d.]+)<br>(.*?)<br>(.*?)'
                           '</figcaption>', section)
        found[name] = cards, re.search('<p class="soft small">(.*?)</p>', section).group(1)
    return found


def test_the_best_and_the_worst_in_their_order(tmp_path):
    entry = write(tmp_path / "run", IMAGES)
    found = told(comparison.build([entry], str(tmp_path)))
    # c.png has the highest score, but its map is high beside the crack: no find that anyone would show.
    assert found["finds"] == ([("right", "rejected", "0.9", "spot", "b.png"),
                               ("right", "rejected", "0.8", "crack", "d.png"),
                               ("right", "rejected", "0.7", "spot", "a.png")],
                              "Passed over: 1 rejected, but not marked on the defect.")
    assert found["misses"] == ([("miss", "accepted", "0.1", "spot", "g.png"),
                                ("miss", "accepted", "0.2", "spot", "h.png"),
                                ("miss", "accepted", "0.3", "spot", "f.png")], "")
    assert found["alarms"] == ([("alarm", "rejected", "0.55", "good", "k.png"),
                                ("right", "accepted", "0.25", "good", "l.png")], "")


def test_the_panels_are_the_outlined_picture_and_its_map(tmp_path):
    entry = write(tmp_path / "run", IMAGES)
    text = comparison.build([entry], str(tmp_path))
    images = re.findall('shape:(.*?);.*?<img src="data:image/jpeg;base64,(.*?)" alt="(.*?)"><svg viewBox="(.*?)" .*?>'
                        '(.*?)</svg>', text)
    assert [image[2] for image in images[:2]] == ["spot, b.png: the picture, outlined",
                                                  "spot, b.png: the anomaly map over it, the truth outlined"]
    assert len(images) == 2 * 8 and {(shape, box) for shape, _, _, box, _ in images} == {("256 / 256", "0 0 256 256")}
    image, warm = (cv2.imdecode(np.frombuffer(base64.b64decode(image[1]), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
                   for image in images[:2])
    assert np.abs(image.astype(int) - 50).max() <= 6  # picture 1: 40 + 10; JPEG twice
    assert warm[90, 90, 0] > warm[200, 200, 0] + 60   # above the threshold: warm
    lines = [re.findall('of-(.*?)" d="(.*?)"', image[4]) for image in images]
    assert [[kind for kind, path in one if path] for one in (*lines[:2], *lines[6:8], *lines[12:14])] == [
        ["found", "truth"], ["truth"],  # a find, its map
        ["truth"], ["truth"],           # a miss: nothing is found
        ["found"], []]                  # a false alarm
    for _, path in lines[0]:  # 8 times the size: 64 to 128
        corners = np.array(re.findall(r"([\d.]+),([\d.]+)", path), float)
        np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[64, 64], [128, 128]], atol=1)


def test_a_picture_to_be_looked_at_again_is_neither_found_nor_missed(tmp_path):
    entry = write(tmp_path / "run", [image for image in IMAGES if image[1] in ("i.png", "j.png")])
    found = told(comparison.build([entry], str(tmp_path)))
    assert found["finds"] == ([], "No defective picture was rejected.")
    assert found["misses"] == ([("look", "look again", "0.45", "spot", "i.png")],
                               "No defect was accepted; these come nearest.")
    assert found["alarms"] == ([("right", "accepted", "0.05", "good", "j.png")],
                               "No good picture was rejected; these come nearest.")


def test_no_picture_stands_twice(tmp_path):
    entry = write(tmp_path / "run", [image for image in IMAGES if image[1] in "a.png b.png"])
    found = told(comparison.build([entry], str(tmp_path)))
    assert [card[-1] for card in found["finds"][0]] == ["b.png", "a.png"]
    assert found["misses"] == ([], "There is no other defective picture.")
    assert found["alarms"] == ([], "There is no good picture.")


def test_without_a_threshold_the_scores_alone_are_shown(tmp_path):
    entry = write(tmp_path / "run", IMAGES, thresholds={})
    found = told(comparison.build([entry], str(tmp_path)))
    assert found["finds"][0][0] == ("", "no threshold", "0.95", "crack", "c.png")
    assert found["misses"][0][0] == ("", "no threshold", "0.1", "spot", "g.png")
    assert {words for _, words in found.values()} == {""}


def test_inside_the_region_a_defect_outside_counts_as_good(tmp_path):
    os.makedirs(tmp_path / "evaluation")
    (tmp_path / "evaluation" / "predictions.csv").write_text(
        "path,label,defect,score,decision,label_roi,score_roi,decision_roi,regions,picture\n"
        "d/dirt/1.png,1,dirt,0.9,rejected,0,0.1,accepted,0,pictures/dirt/1.jpg\n")
    folder = str(tmp_path / "evaluation")
    assert gallery.read(str(tmp_path), "") == []  # no such file there
    assert gallery.read(folder, "") == [("d/dirt/1.png", "dirt", 1, 0.9, "rejected", "pictures/dirt/1.jpg")]
    assert gallery.read(folder, "_roi") == [("d/dirt/1.png", "dirt", 0, 0.1, "accepted", "pictures/dirt/1.jpg")]


# Missing pictures -----------------------------------------------------------------------------------------------------


def test_a_run_without_pictures_says_so(tmp_path):
    entries = [write(tmp_path / "none", IMAGES, drawn=()), write(tmp_path / "all", IMAGES)]
    text = comparison.build(entries, str(tmp_path))
    none, every = text.split('<h3 class="of-run">')[1:]
    assert ">none</a>" in none and "This evaluation holds no pictures." in none and "<figure" not in none
    assert none.count("--pictures N") == 1 and len(told(every)["finds"][0]) == 3
    os.remove(tmp_path / "none" / "evaluation" / "predictions.csv")
    assert "This evaluation has no scores of single pictures." in comparison.build(entries[:1], str(tmp_path))


def test_what_was_not_drawn_is_counted(tmp_path):
    entry = write(tmp_path / "run", IMAGES, drawn=("d.png", "e.png", "h.png"))
    found = told(comparison.build([entry], str(tmp_path)))
    assert [card[-1] for card in found["finds"][0]] == ["d.png", "e.png"]
    # Rejected are c, b, d, a and e: c, b and a have no sheet.
    assert found["finds"][1].startswith("Passed over: 3 without a sheet; ")
    assert [card[-1] for card in found["misses"][0]] == ["h.png"]
    assert found["alarms"][0] == [] and found["alarms"][1].startswith("Passed over: 3 without a sheet; ")


@pytest.mark.parametrize("damage", ["gone", "empty", "no picture", "no sheet"])
def test_a_sheet_that_cannot_be_used_counts_as_not_drawn(tmp_path, damage):
    entry = write(tmp_path / "run", IMAGES)
    path = tmp_path / "run" / "evaluation" / "pictures" / "spot" / "b.jpg"
    path.unlink()
    if damage == "no sheet":
        cv2.imwrite(str(path), np.zeros((61, 62, 3), np.uint8))
    elif damage != "gone":
        path.write_bytes(b"" if damage == "empty" else b"spot")
    found = told(comparison.build([entry], str(tmp_path)))
    assert [card[-1] for card in found["finds"][0]] == ["d.png", "a.png", "e.png"]
    assert found["finds"][1].startswith("Passed over: 1 without a sheet; ")


def test_the_page_has_an_end(tmp_path, monkeypatch):
    entries = [write(tmp_path / name, IMAGES) for name in ("a", "b")]
    monkeypatch.setattr(page, "BYTES", 1.5 * len(gallery.row(entries[0].folder, "", str(tmp_path))))
    first, second = comparison.build(entries, str(tmp_path)).split('<h3 class="of-run">')[1:]
    assert "<figure" in first and "<figure" not in second and "no room for more pictures" in second


# Names ----------------------------------------------------------------------------------------------------------------


def test_names_are_text_and_links_lead_to_the_sheet(tmp_path):
    defect, name = "<i>&\"'", "50%#1?<b>.png"
    entry = write(tmp_path / "run", [(defect, name, 0.9, True)])
    out = tmp_path / "the page"
    comparison.write(str(out), [entry])
    text = (out / "comparison.html").read_text(encoding="utf-8")
    (card,), _ = told(text)["finds"]
    assert [html.unescape(part) for part in card[-2:]] == [defect, name]
    assert "<i>" not in text.split("<h2>Pictures")[1] and "<b>.png" not in text
    alt = html.unescape(re.search('alt="(.*?)"', text).group(1))
    assert alt == f"{defect}, {name}: the picture, outlined"
    link = html.unescape(re.search('<figure.*?href="(.*?)"', text).group(1))
    assert not set(link) & set("#?<>\"' ") and os.path.isfile(out / unquote(link))
    shutil.rmtree(tmp_path / "run")  # the page holds its pictures itself
    assert not re.search(r'<img src="(?!data:)', text)
