"""A page in headless Chromium."""
import html
import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def in_browser(tmp_path, text, actions, fragment=""):
    """The object that the JavaScript `actions` return, run at the end of the page; an error there fails the test."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH")
    watch = '<head><script>window.onerror = message => { document.title = "ERROR " + message; };</script>'
    act = ("<script>try { const result = (() => { " + actions + " })(), out = document.createElement('pre'); "
           "out.id = 'result'; out.textContent = JSON.stringify(result); document.body.append(out); } "
           "catch (error) { document.title = 'ERROR ' + error; }</script></body>")
    path = tmp_path / "report.html"
    path.write_text(text.replace("<head>", watch).replace("</body>", act), encoding="utf-8")
    done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                           f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"{path.as_uri()}{fragment}"],
                          capture_output=True, text=True, timeout=120, check=True)
    assert "<title>ERROR" not in done.stdout, re.search("<title>(.*?)</title>", done.stdout).group(1)
    return json.loads(html.unescape(re.search('<pre id="result">(.*?)</pre>', done.stdout, re.S).group(1)))
