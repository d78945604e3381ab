"""roi.html: it needs no network, and a region is drawn in it with clicks (headless Chromium; skipped without one)."""
import base64
import fnmatch
import html
import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from grdnet_tf.data import drawings, roi
from grdnet_tf.data.drawings import Shape
from grdnet_tf.data.records import Record
from grdnet_tf.report import roi_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NASTY = "a</script><b>&"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Root, three good pictures and a test picture of a nasty name, 100 high and 200 wide."""
    root = tmp_path_factory.mktemp("product")
    found = []
    for i, name in enumerate(("train/good/0", "train/good/1", "train/good/2", f"test/spot/{NASTY.replace('/', '_')}")):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((100, 200, 3), 60 * i, np.uint8))
        found.append(Record(str(path), None, None, int(i == 3), name.split("/")[1]))
    return str(root), found[:3], found[3:]


def embedded(page, key):
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S).group(1))
    return data if key is None else data[key]


def test_page_holds_the_pictures_and_needs_no_network(records):
    page = roi_page.build(*records, [Shape("box", (0, 0, 0.5, 1), True, "test/*")])
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page) and "@import" not in page and "{{" not in page
    data = embedded(page, None)
    assert [p["name"] for p in data["pictures"]] == ["train/good/0.png", "train/good/1.png", "train/good/2.png",
                                                     "test/spot/a<_script><b>&.png"]
    assert {(p["width"], p["height"]) for p in data["pictures"]} == {(200, 100)}
    assert data["shapes"] == [{"kind": "box", "numbers": [0, 0, 0.5, 1], "exclude": True, "pictures": "test/*"}]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data["mean"].split(",")[1]), np.uint8), 1)
    assert picture.shape == (400, 800, 3) and abs(picture.mean() - 60) < 2  # the mean of 0, 60 and 120


def test_sheet_is_dark_outside_and_has_an_outline(records):
    region = roi.Region("x", (Shape("box", (0, 0, 0.5, 1)),))
    sheet = roi_page.sheet([record._replace(roi=region) for record in records[1][2:]])  # of grey 120
    tile = sheet[sheet.shape[0] // 2]
    assert sheet.shape == (248, 248, 3) and (sheet[0] == 255).all()
    assert (tile[60] == 120).all() and (tile[200] == 40).all() and (tile[4 + 119] == (40, 90, 255)).all()


# In the browser -------------------------------------------------------------------------------------------------------

HELPERS = """
const tool = name => document.querySelector(`.tools [value=${name}]`).click();
const send = (kind, x, y) => {  // x, y in shares, at what lies there
  const box = stage.querySelector('image').getBoundingClientRect();
  const clientX = box.left + x * box.width, clientY = box.top + y * box.height;
  const target = document.elementFromPoint(clientX, clientY);
  if (!stage.contains(target)) throw new Error(`${x}, ${y} hits ${target && target.outerHTML.slice(0, 80)}`);
  const kinds = kind === 'dblclick' ? MouseEvent : PointerEvent;
  target.dispatchEvent(new kinds(kind, {clientX, clientY, bubbles: true, cancelable: true, pointerId: 1}));
};
const click = (x, y) => { send('pointerdown', x, y); send('pointerup', x, y); };
const drag = (x, y, u, v) => { send('pointerdown', x, y); send('pointermove', (x + u) / 2, (y + v) / 2);
                               send('pointermove', u, v); send('pointerup', u, v); };
const key = name => document.dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true}));
const said = () => $('text').value && JSON.parse($('text').value).shapes;
"""


def in_browser(tmp_path, text, actions):
    """The object that the JavaScript `actions` return, run at the end of the page; an error there fails the test."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH")
    watch = '<head><script>window.onerror = message => { document.title = "ERROR " + message; };</script>'
    act = ("<script>try { const result = (() => { " + HELPERS + actions + " })(), out = document.createElement('pre'); "
           "out.id = 'result'; out.textContent = JSON.stringify(result); document.body.append(out); } "
           "catch (error) { document.title = 'ERROR ' + error; }</script></body>")
    path = tmp_path / "roi.html"
    path.write_text(text.replace("<head>", watch).replace("</body>", act), encoding="utf-8")
    done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                           "--window-size=1400,1100", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
                           path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "<title>ERROR" not in done.stdout, re.search("<title>(.*?)</title>", done.stdout).group(1)
    return json.loads(html.unescape(re.search('<pre id="result">(.*?)</pre>', done.stdout, re.S).group(1)))


def test_a_region_is_drawn_with_clicks_and_read_back(records, tmp_path):
    found = in_browser(tmp_path, roi_page.build(*records, []), """
        const none = [said(), $('save').disabled, $('list').textContent];
        click(.1, .2); click(.9, .2); click(.9, .8); click(.5, .9); click(.1, .2);      // closed at its first point
        tool('box'); tool('exclude'); drag(.7, .6, .6, .4);                            // from its lower right corner
        tool('circle'); drag(.2, .5, .25, .5);
        let link = null; const real = HTMLAnchorElement.prototype.click;
        HTMLAnchorElement.prototype.click = function () { link = [this.download, this.href.slice(0, 5)]; };
        $('save').click(); HTMLAnchorElement.prototype.click = real;
        return {none, link, text: $('text').value, masks: document.querySelectorAll('#others mask').length,
                list: [...document.querySelectorAll('#list li')].map(e => e.textContent)};""")
    assert found["none"] == ["", True, "None yet: every pixel counts."] and found["link"] == ["roi.json", "blob:"]
    assert found["masks"] == 4 and [line.split("for")[0] for line in found["list"]] == [
        "includepolygonexcludedelete", "excludeboxincludedelete", "excludecircleincludedelete"]
    (tmp_path / "roi.json").write_text(found["text"])
    drawing = drawings.read(str(tmp_path / "roi.json"))
    expected = [("polygon", (.1, .2, .9, .2, .9, .8, .5, .9), False), ("box", (.6, .4, .7, .6), True),
                ("circle", (.2, .5, .05), True)]
    for shape, (kind, numbers, exclude) in zip(drawing.shapes, expected):
        assert (shape.kind, shape.exclude, shape.pictures) == (kind, exclude, "*")
        assert shape.numbers == pytest.approx(numbers, abs=0.002), kind
    region = roi.raster(roi.Region("x", drawing.shapes), (100, 200))
    assert region[30, 100] and not region[50, 130] and not region[50, 40] and not region[10, 100]


def test_points_and_shapes_move_and_every_step_is_undone(records, tmp_path):
    shapes = [Shape("polygon", (.1, .1, .5, .1, .5, .5, .1, .5)), Shape("circle", (.8, .5, .1), True)]
    found = in_browser(tmp_path, roi_page.build(*records, shapes), """
        const all = [said()], step = () => all.push(said());
        click(.3, .3); drag(.5, .5, .6, .6); step();              // 1: a corner
        drag(.3, .1, .3, .05); step();                            // 2: a point between two
        send('dblclick', .6, .6); step();                         // 3: a point less
        drag(.2, .3, .25, .35); step();                           // 4: the whole polygon
        click(.8, .5); drag(.9, .5, .95, .5); step();             // 5: the radius
        document.querySelectorAll('#list li')[1].querySelectorAll('button')[0].click(); step();  // 6: include
        key('Delete'); step();                                    // 7
        for (let i = 0; i < 7; i++) { $('undo').click(); step(); }
        return {all, undo: $('undo').disabled};""")["all"]
    polygon = [step[0]["polygon"] for step in found]
    close = lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=0.003)
    close(polygon[1], [[.1, .1], [.5, .1], [.6, .6], [.1, .5]])
    close(polygon[2], [[.1, .1], [.3, .05], [.5, .1], [.6, .6], [.1, .5]])
    close(polygon[3], [[.1, .1], [.3, .05], [.5, .1], [.1, .5]])
    close(polygon[4], np.array(polygon[3]) + 0.05)
    close(found[5][1]["circle"], [.8, .5, .15])
    assert "exclude" in found[5][1] and "exclude" not in found[6][1] and len(found[7]) == 1
    assert found[8:] == found[6::-1]


def test_drawing_can_be_given_up(records, tmp_path):
    found = in_browser(tmp_path, roi_page.build(*records, []), """
        click(.1, .2); click(.9, .2); click(.9, .8); key('Escape'); const given = said();
        click(.1, .2); click(.9, .2); click(.5, .5); $('undo').click(); click(.9, .8); key('Enter');
        const done = said();
        tool('box'); click(.1, .9); const nothing = said();
        return {given, done, nothing};""")
    assert found["given"] == "" and found["nothing"] == found["done"]
    np.testing.assert_allclose(found["done"][0]["polygon"], [[.1, .2], [.9, .2], [.9, .8]], atol=0.002)


def test_views_and_patterns_on_other_pictures(records, tmp_path):
    page = roi_page.build(*records, [Shape("box", (0, 0, 0.5, 1))])
    found = in_browser(tmp_path, page, """
        const back = () => stage.querySelector('image').getAttribute('href'), none = () =>
          [...document.querySelectorAll('#others .none')].map(e => e.textContent);
        const first = back() === data.pictures[0].picture;
        tool('mean'); const mean = back() === data.mean; tool('spread'); const spread = back() === data.spread;
        document.querySelectorAll('#others button')[2].click(); const third = back() === data.pictures[2].picture;
        const before = none(), input = document.querySelector('#list input');
        input.value = 'train/good/[01].png'; input.dispatchEvent(new Event('change'));
        return {seen: [first, mean, spread, third], before, after: none(), pattern: said()[0].pictures};""")
    assert found["seen"] == [True] * 4 and found["before"] == [] and found["pattern"] == "train/good/[01].png"
    assert found["after"] == ["train/good/2.png: no shape", "test/spot/a<_script><b>&.png: no shape"]


def test_patterns_mean_what_python_means(records, tmp_path):
    names = ["train/good/0.png", "test/a.b/10.png", "test/a-b/1[0].png", "x(1)+{2}.png", "!.png", "a\\b", "]", "^1"]
    patterns = ["*", "train/*", "*/?0.png", "*.png", "*[0-5].png", "test/a[!.]b/*", "*1[[]0].png", "x(1)+{2}.png",
                "[!a-z]*", "a\\b", "[", "[]", "[^]1", "?", ""]
    found = in_browser(tmp_path, roi_page.build(*records, []), f"""
        return {json.dumps(patterns)}.map(pattern => {json.dumps(names)}.map(name => matches(name, pattern)));""")
    assert found == [[fnmatch.fnmatchcase(name, pattern) for name in names] for pattern in patterns]
