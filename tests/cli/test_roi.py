"""grdnet roi as a user runs it: the page, a proposal, a sheet; and what ends in one line."""
import json
import os
import shutil

import cv2
import numpy as np
import pytest

from grdnet_tf.cli.main import main
from grdnet_tf.data import roi
from grdnet_tf.data.records import list_mvtec


def product(root, place, count=16):
    """`count` pictures, 60 high and 90 wide, of a grey ellipse on grainy ground; `place(i)` is its centre and angle."""
    folder = root / "train" / "good"
    folder.mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng(i)
        image = cv2.resize(rng.normal(100, 25, (20, 30)).astype(np.float32), (90, 60)) + rng.normal(0, 3, (60, 90))
        part = np.zeros((60, 90), np.uint8)
        (x, y), angle = place(i)
        cv2.ellipse(part, (x, y), (30, 12), angle, 0, 360, 1, -1)
        image[part > 0] = 190 + rng.normal(0, 3, (60, 90))[part > 0]
        cv2.imwrite(str(folder / f"{i:02d}.png"), np.clip(image, 0, 255).astype(np.uint8))
    return str(root), part


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return product(tmp_path_factory.mktemp("still"), lambda i: ((40, 30), 10))


@pytest.fixture
def data(still, tmp_path):
    shutil.copytree(still[0], tmp_path / "data")
    return str(tmp_path / "data"), still[1]


def test_the_product_is_proposed_previewed_and_never_overwritten(data, capsys, tmp_path):
    root, part = data
    sheet = tmp_path / "sheet.png"
    assert main(["roi", root, "--propose", "--preview", str(sheet)]) == 0
    record = list_mvtec(root, "train")[0]
    region = roi.read_roi(record.roi, part.shape)
    assert (region & part).sum() / (region | part).sum() > 0.9
    assert len(record.roi.shapes) == 1 and len(record.roi.shapes[0].numbers) < 2 * 40  # few enough to move by hand
    assert cv2.imread(str(sheet)).shape == (4 * 248, 5 * 248, 3)  # 16 pictures in rows of 5
    text = open(os.path.join(root, "roi.json"), encoding="utf-8").read()
    capsys.readouterr()
    assert main(["roi", root, "--propose"]) == 2
    assert capsys.readouterr().err == f"error: {root}/roi.json: is there already; --force replaces it\n"
    with open(os.path.join(root, "roi.json"), "w", encoding="utf-8") as stream:
        stream.write('{"unit": "share", "shapes": [{"box": [0, 0, 1, 1]}]}')
    assert main(["roi", root, "--propose", "--force", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert open(os.path.join(root, "roi.json"), encoding="utf-8").read() == text


@pytest.mark.parametrize("place, count, words", [
    (lambda i: ((45, 30), 180 * i / 16), 16, "do not agree on where the product lies"),
    (lambda i: ((40, 30), 10), 7, "7 good pictures, at least 8"),
    (lambda i: ((33 + i * 7 % 24, 15 + 30 * (i % 2)), 90 * (i % 3)), 16, "do not agree")],
    ids=["turns", "few", "moves"])
def test_where_nothing_can_be_proposed_it_says_why(tmp_path, capsys, place, count, words):
    root, _ = product(tmp_path / "data", place, count)
    assert main(["roi", root, "--propose"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"stopped: no region can be proposed for {root}: ") and words in said
    assert said.count("\n") == 1 and not os.path.exists(os.path.join(root, "roi.json"))


def test_a_product_that_fills_the_picture_needs_none(tmp_path, capsys):
    folder = tmp_path / "train" / "good"
    folder.mkdir(parents=True)
    y, x = np.mgrid[:60, :90]
    for i in range(10):
        image = 120 + 60 * np.sin(x / 3) * np.sin(y / 3) + np.random.default_rng(i).normal(0, 3, (60, 90))
        cv2.imwrite(str(folder / f"{i}.png"), image.astype(np.uint8))
    assert main(["roi", str(tmp_path), "--propose"]) == 1
    assert "fill the picture" in capsys.readouterr().err


def test_the_page_goes_on_with_what_is_there(data, tmp_path, capsys):
    root, _ = data
    with open(os.path.join(root, "roi.json"), "w", encoding="utf-8") as stream:
        stream.write('{"unit": "pixels", "shapes": [{"circle": [45, 30, 9], "exclude": true}]}')
    page = tmp_path / "page.html"
    assert main(["roi", root, "--out", str(page)]) == 0
    data = json.loads(page.read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0])
    assert data["shapes"] == [{"kind": "circle", "numbers": [0.5, 0.5, 0.1], "exclude": True, "pictures": "*"}]
    assert len(data["pictures"]) == 16 and capsys.readouterr().err == ""
    os.remove(os.path.join(root, "roi.json"))
    shutil.copytree(os.path.join(root, "train"), os.path.join(root, "roi", "train"))
    assert main(["roi", root, "--out", str(page)]) == 0
    assert "holds ROIs, which come before" in capsys.readouterr().err


@pytest.mark.parametrize("words, message", [
    (["no/such", "--propose"], "no/such: folder not found"), (["DIR", "--preview", "a.gif"], "expected a file .png"),
    (["DIR", "--preview", "a.png"], "no ROI for the good pictures"),
    (["DIR", "--force"], "--force goes with --propose"),
    (["DIR", "--propose", "--out", "a.html"], "--out is the page's"),
    (["DIR", "--out", "no/such/a.html"], "cannot write")])
def test_wrong_words_end_in_one_line(data, capsys, words, message):
    assert main(["roi", *(data[0] if word == "DIR" else word for word in words)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and said.count("\n") == 1


def test_a_damaged_picture_is_named(data, capsys, tmp_path):
    path = os.path.join(data[0], "train", "good", "03.png")
    with open(path, "wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
    for more in (["--propose"], ["--out", str(tmp_path / "a.html")]):
        assert main(["roi", data[0], *more]) == 2
        assert capsys.readouterr().err.startswith(f"error: {path}: ")
