"""report.html: what it holds, and that it works in a real browser (headless Chromium; skipped where there is none)."""
import html
import json
import re

import numpy as np
import pytest
from browser import in_browser

from grdnet_tf.evaluation import figures
from grdnet_tf.evaluation.histogram import PixelHistogram
from grdnet_tf.evaluation.measure import Evaluation
from grdnet_tf.evaluation.regions import Defect
from grdnet_tf.report import charts, page, shots

NASTY = "a</script><b>&\"'"  # a file name may hold anything
THRESHOLDS = {name: {"value": value, "method": "max_normal", "n": 9, "above": 0, "false_reject_interval": interval,
                     "fitted_on": "9 good images"}
              for name, value, interval in (("image", 0.5, (0.0, 0.3363)), ("image_roi", 0.4, (0.0, 0.3363)),
                                            ("pixel", 0.9, None), ("pixel_roi", 0.9, None))}


def small_evaluation(roi=True):
    """Six images with known decisions; with the ROI, "dirt" counts as good."""
    defects = (Defect(3.0, None, False), Defect(9.0, None, True))
    rows = [figures.Row("d/good/1.png", "good", 0, 0, 0.10, 0.10),
            figures.Row("d/good/2.png", "good", 0, 0, 0.70, 0.30),
            figures.Row("d/spot/3.png", "spot", 1, 1, 0.90, 0.90, 2, (), defects),
            figures.Row("d/spot/4.png", "spot", 1, 1, 0.20, 0.20, 0),
            figures.Row("d/dirt/5.png", "dirt", 1, 0, 0.80, 0.05),
            figures.Row(f"d/dirt/{NASTY}.png", "dirt", 1, 0, 0.45, 0.35)]
    histograms = {}
    for i, row in enumerate(rows):
        histogram = histograms.setdefault(row.defect, PixelHistogram())
        truth = np.zeros((8, 8), int)
        truth[2:4, 2:4] = row.label
        inside = truth * row.label_roi
        histogram.add(np.full((8, 8), row.score, np.float32), truth, None if i % 2 else np.ones((8, 8)), truth, inside)
    report = figures.summarise(rows, histograms, THRESHOLDS, roi, resamples=20)
    return Evaluation(dict(report, warnings=["look out <b>"], run="runs/one", data="d", split="test"), rows)


def build(evaluation):
    drawn = {row.path: shots.embed(np.full((40, 80, 3), 20 * i, np.uint8)) for i, row in enumerate(evaluation.rows)}
    return page.build(evaluation, drawn)


def test_page_is_complete_and_needs_no_network():
    text = build(small_evaluation())
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text) and "{{" not in text
    assert "@import" not in text and not re.search(r"url\((?!#|\$\{image.picture\})", text)
    for words in ("Inside the ROI", "Whole image", "9 good images", "0.0% to 33.6%", "By size of defect", "1 of 1"):
        assert words in text, words
    assert "grdnet calibrate" not in text  # it is not said that these settings are the station's
    assert "look out &lt;b&gt;" in text and "look out <b>" not in text


def test_data_cannot_end_its_script_element():
    text = build(small_evaluation())
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1)
    images = json.loads(data)["images"]
    assert len(images) == 6 and images[-1]["name"].endswith("<b>&\"'.png")
    assert images[0]["picture"].startswith("data:image/jpeg;base64,") and images[0]["shape"] == "80 / 40"


def test_one_class_and_no_thresholds_still_make_a_page():
    rows = [figures.Row("d/good/1.png", "good", 0, 0, 0.1, 0.1)]
    report = figures.summarise(rows, {}, {}, False, resamples=5)
    text = build(Evaluation(dict(report, warnings=[]), rows))
    assert "no defective images" in text and html.escape(figures.NO_THRESHOLD) in text


def test_charts_put_points_where_they_belong():
    drawn = charts.curve([0, 0.5, 1], [0, 1, 1], "x", "y")
    points = re.search(r'points="(.*?)"', drawn).group(1).split()
    (x0, y0), (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in points)
    assert x1 - x0 == pytest.approx(x2 - x1) and y1 == y2 < y0  # SVG counts rows downwards
    bars = charts.bars([("a <b>", 0.5, "half"), ("c", None, "–"), ("d", 1.0, "all")])
    widths = [float(w) for w in re.findall(r'class="bar" style="width:([\d.]+)%', bars)]
    assert widths == [50.0, 0.0, 100.0] and "a &lt;b&gt;" in bars
    histogram = charts.score_histogram(np.array([0.1, 0.1, 0.2]), np.array([0.9]), 0.5, bins=10)
    assert len(re.findall('class="good"', histogram)) == 2 and "threshold 0.5" in histogram
    assert "good: 2 images" in histogram


# In the browser -------------------------------------------------------------------------------------------------------


HELPERS = """
const names = () => [...document.querySelectorAll('.shot .words')].map(e => e.lastChild.textContent);
const tags = () => [...document.querySelectorAll('.shot .tag')].map(e => e.textContent);
const set = (id, value) => {
  const e = document.getElementById(id); e.value = value; e.dispatchEvent(new Event('change')); };
const press = text => [...document.querySelectorAll('button')].find(b => b.textContent === text).click();
const shown = () => [...document.querySelectorAll('section')].filter(s => !s.hidden).map(s => s.dataset.reading);
"""


def test_readings_filters_and_order(tmp_path):
    found = in_browser(tmp_path, build(small_evaluation()), HELPERS + """
        const all = {names: names(), tags: tags(), shown: shown()};
        press('Whole image');
        const whole = {names: names(), tags: tags(), shown: shown()};
        set('show', 'miss'); const misses = names();
        set('show', 'wrong'); const wrong = names();
        set('show', 'all'); set('type', 'spot'); const spots = names();
        set('sort', 'low'); const low = names();
        set('type', 'all'); set('sort', 'high'); const high = names();
        return {all, whole, misses, wrong, spots, low, high, count: document.getElementById('count').textContent,
                hash: location.hash};""")
    nasty = f"dirt/{NASTY.split('/')[-1]}.png"
    # Inside the ROI, threshold 0.4: only spot/4 (0.2) is wrong; then by score minus threshold, reversed if defective.
    assert found["all"]["names"] == ["spot/4.png", nasty, "good/2.png", "good/1.png", "dirt/5.png", "spot/3.png"]
    assert found["all"]["tags"] == ["missed", "accepted", "accepted", "accepted", "accepted", "found"]
    assert found["all"]["shown"] == ["_roi"] and found["whole"]["shown"] == [""]
    # The whole image, threshold 0.5: misses spot/4 (by 0.3) and the nasty one (by 0.05), false alarm good/2 (by 0.2).
    assert found["whole"]["names"][:3] == ["spot/4.png", "good/2.png", nasty]
    assert found["whole"]["tags"] == ["missed", "false alarm", "missed", "found", "accepted", "found"]
    assert found["misses"] == ["spot/4.png", nasty] and found["wrong"] == ["spot/4.png", "good/2.png", nasty]
    assert found["spots"] == ["spot/4.png", "spot/3.png"] == found["low"]
    assert found["high"][:2] == ["spot/3.png", "dirt/5.png"] and found["count"] == "6 of 6 pictures"
    assert "sort=high" in found["hash"]


def test_enlarging_and_going_on(tmp_path):
    found = in_browser(tmp_path, build(small_evaluation()), HELPERS + """
        const dialog = document.getElementById('large'), caption = document.getElementById('caption');
        const before = dialog.open;
        document.querySelectorAll('.shot')[4].click();
        const first = caption.textContent, same = dialog.querySelector('img').src === data.images[4].picture;
        press('→'); const second = caption.textContent;
        document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'})); const end = caption.textContent;
        document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'})); const back = caption.textContent;
        const open = dialog.open; press('close');
        return {before, first, same, second, end, back, open, after: dialog.open,
                wide: document.querySelector('.shot img').naturalWidth};""")
    assert (found["before"], found["open"], found["after"]) == (False, True, False)
    assert found["first"] == "dirt/5.png · accepted · score 0.0500" and found["same"]
    assert found["second"] == found["end"] == "spot/3.png · found · score 0.900 · 2 regions"
    assert found["back"] == found["first"]


def test_a_link_opens_the_view_and_the_table_sorts(tmp_path):
    found = in_browser(tmp_path, build(small_evaluation()), HELPERS + """
        const table = document.querySelector('section:not([hidden]) .scroll table');
        const column = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
        const head = [...table.querySelectorAll('th')];
        head[3].click(); const down = column();
        head[3].click(); const up = column();
        head[0].click(); head[0].click(); const byName = column();
        return {names: names(), shown: shown(), type: document.getElementById('type').value, down, up, byName};
        """, "#type=spot&show=miss&reading=_roi_unmasked&sort=name")
    assert found["names"] == ["spot/4.png"] and found["type"] == "spot" and found["shown"] == ["_roi_unmasked"]
    assert found["byName"] == ["dirt", "good", "spot"]
    assert found["down"][0] == found["up"][-1] == "spot"  # the only type with an AUROC; "–" is no number
