"""The threshold in report.html, moved by real keys and clicks in a headless Chromium (skipped where there is none)."""
import base64
import json
import os
import re
import select
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from grdnet_tf.evaluation import figures
from grdnet_tf.evaluation.histogram import PixelHistogram
from grdnet_tf.evaluation.measure import Evaluation
from grdnet_tf.report import page, shots

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The browser reads commands from file descriptor 3 and answers on 4.
START = ("import fcntl, os, sys\nr, w = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3])\n"
         "os.dup2(r, 3); os.dup2(w, 4); os.execv(sys.argv[3], sys.argv[3:])")


class Browser:
    """A page in Chromium, over the DevTools protocol: `say` commands, `value` of JavaScript, keys and clicks."""

    def __init__(self, folder):
        theirs_in, self.out = os.pipe()
        self.read, theirs_out = os.pipe()
        self.buffer, self.number, self.session, self.errors = b"", 0, None, []
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
                   "--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={folder}"]
        self.process = subprocess.Popen([sys.executable, "-c", START, str(theirs_in), str(theirs_out), *command],
                                        pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)

    def open(self, url, width=1400):
        self.session, self.errors = None, []
        target = self.say("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.say("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.say("Page.enable")
        self.say("Runtime.enable")
        self.say("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
        self.say("Page.navigate", url=url)
        while self._answer().get("method") != "Page.loadEventFired":
            pass

    def say(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._answer()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, code):
        found = self.say("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def key(self, name, code, times=1):
        for _ in range(times):
            for kind in ("rawKeyDown", "keyUp"):
                self.say("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def click(self, selector):
        x, y = self.value("""(() => { const e = document.querySelector(%s); e.scrollIntoView({block: 'center'});
            const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"""
                          % json.dumps(selector))
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.say("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screen(self):
        """(H, W, 3) uint8 RGB of what is seen."""
        encoded = base64.b64decode(self.say("Page.captureScreenshot", format="png")["data"])
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)

    def _answer(self):
        while b"\0" not in self.buffer:
            assert select.select([self.read], [], [], 60)[0], "the browser does not answer"
            part = os.read(self.read, 1 << 20)
            assert part, "the browser has ended"
            self.buffer += part
        first, _, self.buffer = self.buffer.partition(b"\0")
        answer = json.loads(first)
        if answer.get("method") == "Runtime.exceptionThrown":
            self.errors.append(answer["params"]["exceptionDetails"])
        return answer

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.read)


def evaluation(**more):
    """Four good and four defective images; at the stored threshold of 0.5 one good is rejected, two are missed."""
    scores = [("good", 0.1), ("good", 0.2), ("good", 0.3), ("good", 0.6), ("spot", 0.25), ("spot", 0.48), ("spot", 0.7),
              ("spot", 0.8)]
    rows, histogram = [], PixelHistogram()
    for i, (name, score) in enumerate(scores):
        bad = int(name != "good")
        rows.append(figures.Row(f"/secret/disk/{name}/{i}.png", name, bad, bad, score, score, 3))
    entry = {"method": "max_normal", "n": 9, "above": 0, "false_reject_interval": (0.0, 0.3363),
             "fitted_on": "9 good images"}
    thresholds = {"image": dict(entry, value=0.5), "pixel": dict(entry, value=0.9, method="quantile:0.99"),
                  **{name: dict(entry, value=value, above=2) for name, value in more.items()}}
    report = figures.summarise(rows, {"good": histogram}, thresholds, False, resamples=20)
    report.update(warnings=[], run="/secret/disk/runs/line 3", data="/secret/disk/parts", split="test",
                  station={"min_area": 1})
    return Evaluation(report, rows)


def shot(score):
    """White, 80 x 80; the map is `score` in the middle and 0 elsewhere; one region found there."""
    amap = np.zeros((20, 20), np.float32)
    amap[5:15, 5:15] = score
    white = np.full((80, 80, 3), 255, np.uint8)
    return shots.embed(white, amap * 0.5, amap, white, {"roi": None, "truth": amap > 1, "found": amap > 0})


@pytest.fixture(scope="module")
def text():
    made = evaluation()
    return page.build(made, {row.path: shot(row.score) for row in made.rows})


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH")
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture
def browser(chromium, text, tmp_path):
    """The browser with a fresh report.html; an error of its script fails the test."""
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    chromium.open((tmp_path / "report.html").as_uri())
    yield chromium
    assert chromium.errors == []


LIVE = """Object.fromEntries([...document.querySelectorAll('[data-live]')].map(e => [e.dataset.live, e.textContent]))"""
TAGS = """Object.fromEntries([...document.querySelectorAll('.shot')].map(e =>
          [e.querySelector('.words').lastChild.textContent, e.querySelector('.tag').textContent]))"""
LINE = "document.querySelector('g.tried').getAttribute('transform')"


def test_the_page_leads_with_what_the_line_asks(browser):
    live = browser.value(LIVE)
    assert (live["rejected"], live["missed"]) == ("1", "2")
    assert live["rejected-share"] == "25.0 %" and live["rejected-interval"] == "(95 %: 0.6 to 80.6 %)"  # 1 of 4, exact
    assert live["missed-share"] == "50.0 %" and live["missed-interval"] == "(95 %: 6.8 to 93.2 %)"      # 2 of 4
    assert [live[name] for name in ("good-accepted", "good-rejected", "bad-accepted", "bad-rejected")] == list("3122")
    assert live["accuracy"] == "62.5 %" and live["state"] == "this is the stored one"
    order = browser.value("['.claims', '.slider', '.figures', '#gallery'].map(s => document.querySelector(s)"
                          ".getBoundingClientRect().top)")
    assert order == sorted(order)


def test_between_two_thresholds_a_person_looks_again(chromium, tmp_path):
    made = evaluation(look=0.27)  # one good (0.3) and one defective (0.48) lie between it and 0.5
    text = page.build(made, {row.path: shot(row.score) for row in made.rows})
    assert "Looked at again above 0.27, by max_normal on 9 good images; 2 of 9" in text and "look again from 0.27" in text
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    chromium.open((tmp_path / "report.html").as_uri())
    live, tags = chromium.value(LIVE), chromium.value(TAGS)
    names = ("good-accepted", "good-look", "good-rejected", "bad-accepted", "bad-look", "bad-rejected")
    assert [live[name] for name in names] == list("211112") and (live["rejected"], live["missed"]) == ("1", "1")
    assert tags["spot/5.png"] == tags["good/2.png"] == "look again" and tags["spot/4.png"] == "missed"
    outline = "getComputedStyle([...document.querySelectorAll('.shot')].find(e => e.textContent.includes('%s'))" \
              ".querySelector('.of-found')).display"
    assert chromium.value(outline % "spot/5") == "inline" and chromium.value(outline % "spot/4") == "none"
    chromium.value("document.querySelector('.slider').focus()")
    chromium.key("Home", 36)  # everything is above 0: nothing is left to look at
    live = chromium.value(LIVE)
    assert [live[name] for name in names] == list("004004") and chromium.errors == []


def test_arrow_keys_move_counts_line_gallery_and_command(browser):
    browser.value("document.querySelector('.slider').focus()")
    browser.key("ArrowLeft", 37, times=30)  # a step is a thousandth of the axis, which ends at 1: from 0.5 to 0.47
    live, tags = browser.value(LIVE), browser.value(TAGS)
    assert (live["rejected"], live["missed"]) == ("1", "1") and live["state"] == "stored: 0.5"
    assert tags["spot/5.png"] == "found" and tags["spot/4.png"] == "missed" and tags["good/3.png"] == "false alarm"
    assert live["command"] == "grdnet calibrate --run 'line 3' --set 0.47"
    shift = float(re.fullmatch(r"translate\((.*?) 0\)", browser.value(LINE)).group(1))
    assert shift == pytest.approx(44 + 0.47 * 634)  # the axis runs from 44 to 678
    wrong = browser.value("[...document.querySelectorAll('td[data-type]')].map(e => e.textContent)")
    assert wrong == ["25.0 % (1 of 4)", "25.0 % (1 of 4)"]
    spoken = browser.value("document.querySelector('.slider').getAttribute('aria-valuetext')")
    assert spoken == "0.47: 1 of 4 good rejected, 1 of 4 defective missed"
    browser.key("Home", 36)
    assert browser.value(LIVE)["rejected"] == "4"  # everything is above 0
    browser.click(".restore")
    assert browser.value(LIVE)["rejected"] == "1" and browser.value(LIVE)["state"] == "this is the stored one"


def test_the_slider_stands_under_its_line_and_nothing_else_moves(browser):
    places = """(() => { const e = document.querySelector('.slider'), s = e.getBoundingClientRect(),
        v = e.value / 1000, l = document.querySelector('.tried-line').getBoundingClientRect();
        return [s.left + 8 + v * (s.width - 16), l.left + l.width / 2]; })()"""
    boxes = """['.claims', '.figures', '#gallery', '.confusion', '.command'].map(s => {
        const b = document.querySelector(s).getBoundingClientRect(); return [b.left, b.top + scrollY, b.width]; })"""
    before = browser.value(boxes)
    browser.click(".slider")  # in its middle
    browser.key("PageUp", 33)
    thumb, line = browser.value(places)
    assert thumb == pytest.approx(line, abs=1.5)
    assert browser.value(boxes) == before


def test_a_typed_threshold_filters_live_and_can_be_linked_to(browser):
    browser.value("(() => { const e = document.getElementById('show'); e.value = 'miss'; "
                  "e.dispatchEvent(new Event('change')); document.querySelector('input.level').select(); })()")
    browser.value("document.querySelector('input.level').focus()")
    browser.say("Input.insertText", text="0.75")
    browser.key("Enter", 13)
    browser.say("Input.dispatchKeyEvent", type="char", text="\r")
    assert sorted(browser.value(TAGS)) == ["spot/4.png", "spot/5.png", "spot/6.png"]
    assert "level=0.75" in browser.value("location.hash")


def test_red_outlines_only_where_the_verdict_is_red(browser):
    shown = """Object.fromEntries([...document.querySelectorAll('.shot')].map(e => [
               e.querySelector('.words').lastChild.textContent,
               getComputedStyle(e.querySelector('.of-found')).display !== 'none']))"""
    first = browser.value(shown)
    assert {name for name, red in first.items() if red} == {"good/3.png", "spot/6.png", "spot/7.png"}  # above 0.5
    browser.value("document.querySelector('.slider').focus()")
    browser.key("End", 35)
    assert not any(browser.value(shown).values())


def middle(browser, name):
    """The colour beside the middle of a picture in the gallery."""
    x, y = browser.value("""(() => { const e = [...document.querySelectorAll('.shot')].find(s => s
        .querySelector('.words').lastChild.textContent === %s).querySelector('.stage'); e.scrollIntoView({block: 'center'});
        const b = e.getBoundingClientRect(); return [b.x + b.width * 0.45, b.y + b.height * 0.45]; })()"""
                         % json.dumps(name))
    return browser.screen()[round(y), round(x)]


def test_the_map_is_pale_below_the_threshold_and_warm_above_it(browser):
    red, green, blue = middle(browser, "spot/7.png")  # 0.8: yellow to red, the white picture shines through
    assert red > 200 and red > blue + 60 and blue > 20
    red, green, blue = middle(browser, "good/1.png")  # 0.2 of 0.5: hardly there
    assert min(red, green, blue) > 225
    browser.value("document.querySelector('.slider').focus()")
    browser.key("End", 35)
    red, green, blue = middle(browser, "spot/7.png")  # the threshold is 1: pale too, and not warm
    assert min(red, green, blue) > 150 and green >= red
    browser.value("(() => { const e = document.getElementById('map'); e.value = 'none'; "
                  "e.dispatchEvent(new Event('change')); })()")
    assert min(middle(browser, "spot/7.png")) > 250


def test_the_loupe_follows_the_pointer(browser):
    browser.click(".shot")
    assert browser.value("document.getElementById('loupe').hidden")
    browser.click("#large .stage")
    left, width, size = browser.value("""(() => { const e = document.getElementById('loupe'),
        l = e.getBoundingClientRect(), s = document.querySelector('#large .stage').getBoundingClientRect();
        return [l.left + l.width / 2 - s.left, s.width, getComputedStyle(e).backgroundSize]; })()""")
    assert left == pytest.approx(width / 2, abs=2)
    assert float(size.split("px")[0]) >= 3 * width  # three times as large as beside it, or more
    browser.click("#close")
    assert not browser.value("document.getElementById('large').open")


def test_the_page_tells_of_nobodys_disk_and_is_one_file(text):
    assert "/secret" not in text and "{{" not in text
    assert "line 3" in text and "parts" in text
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", text) and "@import" not in text


def test_without_a_threshold_one_can_still_be_tried_on_a_phone(chromium, tmp_path):
    rows = evaluation().rows
    report = dict(figures.summarise(rows, {}, {}, False, resamples=5), warnings=[])
    made = page.build(Evaluation(report, rows), {rows[0].path: shot(0.1)})
    (tmp_path / "report.html").write_text(made, encoding="utf-8")
    chromium.open((tmp_path / "report.html").as_uri(), width=400)
    assert chromium.value(LIVE)["rejected"] == "–" and chromium.value(LIVE)["state"] == "none is stored"
    chromium.value("document.querySelector('.slider').focus()")
    chromium.key("Home", 36)
    assert chromium.value(LIVE)["rejected"] == "4" and chromium.errors == []
    assert chromium.value("innerWidth === 400 && document.documentElement.scrollWidth <= 400")  # nothing sticks out
