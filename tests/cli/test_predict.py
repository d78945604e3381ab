"""predict.py end to end in this process: a tiny run, its SavedModel and ONNX file; every kind of input."""
import csv
import io
import json
import os
import shutil
import signal
import threading
import time

import cv2
import numpy as np
import pytest
from browser import in_browser

import grdnet_tf
import predict
from grdnet_tf.data.records import list_mvtec
from grdnet_tf.evaluation import calibration
from grdnet_tf.evaluation.predict import Predictor
from grdnet_tf.model.scoring import anomaly_score
from grdnet_tf.model.weights import network_arrays
from grdnet_tf.serving import export
from grdnet_tf.serving.convert import onnx
from grdnet_tf.storage import fingerprint
from grdnet_tf.training.building import load_run


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A run of our own, whose thresholds are ours."""
    return shutil.copytree(trained, str(tmp_path_factory.mktemp("own") / "tiny"))


@pytest.fixture(scope="module")
def scored(run, small_demo):
    """{path: score} of the test pictures as an evaluation has them; the run keeps a threshold that rejects a half."""
    config, model = load_run(run)
    records = list_mvtec(small_demo, "test")
    found = {seen.record.image: seen.score for seen in Predictor(model).scan(records)}
    middle = float(np.median(list(found.values())))
    entry = {"value": middle, "method": f"value:{middle}", "n": 3, "above": 0, "false_reject_interval": None,
             "fitted_on": "a test"}
    calibration.keep(run, {"image": entry, "pixel": entry}, fingerprint(network_arrays(model)), "")
    return found


@pytest.fixture(scope="module")
def models(trained, exported, tmp_path_factory):
    """A run, its SavedModel, and an ONNX file of it that lies alone, as at a station."""
    path, newest = str(tmp_path_factory.mktemp("alone") / "model.onnx"), os.path.join(exported, "vials", "2")
    with open(os.path.join(newest, "manifest.json"), encoding="utf-8") as stream:
        told = json.load(stream)
    onnx.write(newest, path, told={key: told[key] for key in export.TOLD})
    return {"run": trained, "saved model": os.path.join(exported, "vials"), "onnx": path}


def lines(out):
    with open(os.path.join(out, "predictions.jsonl"), encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def rows(out):
    with open(os.path.join(out, "predictions.csv"), encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def judged(run, small_demo, scored, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("judged") / "out")
    assert predict.main(["--run", run, os.path.join(small_demo, "test"), "--out", out, "--batch", "3"]) == 3
    return out


def test_a_folder_of_pictures_is_judged_as_an_evaluation_does(judged, scored):
    found = lines(judged)
    assert [entry["path"] for entry in found] == sorted(scored)
    for entry in found:
        assert entry["score"] == pytest.approx(scored[entry["path"]], abs=1e-6) and entry["size"] == [64, 64]
        assert entry["verdict"] == ("rejected" if entry["score"] > entry["threshold"] else "accepted")
        assert entry["verdict"] == "rejected" or entry["regions"] == []
    verdicts = [entry["verdict"] for entry in found]
    assert set(verdicts) == {"accepted", "rejected"}
    assert [(row["path"], row["verdict"]) for row in rows(judged)] == [(one["path"], one["verdict"]) for one in found]


def test_regions_lie_in_the_files_own_pixels_and_pictures_have_its_size(judged):
    found = [entry for entry in lines(judged) if entry["regions"]]
    assert found
    for entry in found:
        overlay, values = (cv2.imread(os.path.join(judged, entry[name]), -1) for name in ("overlay", "map"))
        assert overlay.shape == (64, 64, 3) and values.shape == (64, 64) and values.dtype == np.uint16
        for region in entry["regions"]:
            box = region["box"]
            assert 0 <= box["top"] < box["bottom"] <= 64 and 0 <= box["left"] < box["right"] <= 64
            inside = values[box["top"]:box["bottom"], box["left"]:box["right"]] / 65535
            assert 0.8 * region["peak"] < inside.max() < region["peak"] + 0.01  # enlarging takes off of a peak
            assert region["peak"] > entry["threshold"]
    accepted = [entry for entry in lines(judged) if entry["verdict"] == "accepted"]
    assert all(entry["overlay"] is None and entry["map"] is None for entry in accepted)


def test_the_page_counts_and_its_threshold_moves_them(judged, tmp_path):
    text = open(os.path.join(judged, "index.html"), encoding="utf-8").read()
    assert "{{" not in text and os.path.dirname(judged) not in text
    rejected = sum(entry["verdict"] == "rejected" for entry in lines(judged))
    found = in_browser(tmp_path, text, """
        const said = name => document.querySelector(`[data-live="${name}"]`).textContent, first = said("rejected");
        const tags = [...document.querySelectorAll(".shot .tag")].map(tag => tag.textContent);
        const level = document.querySelector(".level");
        level.value = "0"; level.dispatchEvent(new Event("change"));
        $("show").value = "accept"; $("show").dispatchEvent(new Event("change"));
        return {first, tags, all: said("rejected"), accepted: document.querySelectorAll(".shot").length};""")
    assert found["first"] == str(rejected) and found["tags"].count("rejected") == rejected
    assert found["all"] == "16" and found["accepted"] == 0


def test_run_saved_model_and_onnx_give_the_same_numbers(models, small_demo):
    detectors = {name: grdnet_tf.load(path) for name, path in models.items()}
    assert len({tuple(one.good_scores) for one in detectors.values()}) == 1 and len(detectors["onnx"].good_scores) == 3
    found = {name: one.predict(os.path.join(small_demo, "test")) for name, one in detectors.items()}
    for name, results in found.items():
        assert len(results) == 16
        for one, other in zip(results, found["run"]):
            assert abs(one.score - other.score) < 1e-4 and one.threshold == other.threshold, name
            assert np.abs(one.anomaly_map - other.anomaly_map).max() < 1e-4, name
            if abs(other.score - other.threshold) > 1e-4:
                assert one.verdict == other.verdict


def test_a_model_that_is_none_ends_with_one_line(tmp_path, capsys):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    (tmp_path / "empty").mkdir()
    picture = str(tmp_path / "a.png")
    cv2.imwrite(picture, np.zeros((8, 8, 3), np.uint8))
    for path, words in ((tmp_path / "broken.onnx", "no ONNX file"), (tmp_path / "empty", "neither a run"),
                        (tmp_path / "missing.onnx", "no such file")):
        assert predict.main(["--model", str(path), picture]) == 2
        error = capsys.readouterr().err
        assert words in error and str(path) in error and error.count("\n") == 1


def test_arrays_of_any_type_give_what_the_file_gives(run, small_demo):
    detector = grdnet_tf.load(run)
    path = list_mvtec(small_demo, "test")[0].image
    one, = detector.predict(path)
    pixels = one.image
    for array in (pixels, pixels / 255, pixels.astype(np.uint16) * 257, (pixels / 255).astype(np.float32)):
        again, = detector.predict(array)
        assert again.path == "array#0" and again.score == pytest.approx(one.score, abs=2e-3)
    stacked = detector.predict([path, pixels, path]) + detector.predict(np.stack([pixels] * 2))
    assert [result.score for result in stacked] == pytest.approx([one.score] * 5, abs=1e-6)  # sums of another order
    assert one.anomaly_map.shape == (64, 64) and one.overlay.shape == (64, 64, 3) and one.verdict in repr(one)
    with pytest.raises(grdnet_tf.InputError, match="outside"):
        detector.predict(pixels.astype(np.float32))


def test_results_show_themselves(run, small_demo, monkeypatch):
    from PIL import Image

    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda self, title=None: shown.append((self.size, title)))
    one, = grdnet_tf.load(run).predict(list_mvtec(small_demo, "test")[0].image)
    one.show()
    assert shown == [((128, 64), one.path)]
    assert cv2.imdecode(np.frombuffer(one._repr_png_(), np.uint8), 1).shape == (64, 64, 3)


def test_a_video_is_judged_frame_by_frame(run, small_demo, tmp_path):
    path, frames = str(tmp_path / "line.avi"), [cv2.imread(one.image) for one in list_mvtec(small_demo, "test")[:7]]
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 64))
    for frame in frames:
        writer.write(frame)
    writer.release()
    out = str(tmp_path / "out")
    assert predict.main(["--run", run, path, "--out", out, "--every", "2", "--pictures", "all"]) in (0, 3)
    found = lines(out)
    assert [entry["path"] for entry in found] == [f"{path}#{number}" for number in (0, 2, 4, 6)]
    reader = cv2.VideoCapture(path)
    read = [cv2.cvtColor(reader.read()[1], cv2.COLOR_BGR2RGB) for _ in range(7)]
    again = grdnet_tf.load(run).predict([read[i] for i in (0, 2, 4, 6)])
    assert [entry["score"] for entry in found] == pytest.approx([one.score for one in again], abs=1e-6)
    assert all(cv2.imread(os.path.join(out, entry["overlay"])).shape == (64, 64, 3) for entry in found)


def test_what_is_no_video_and_no_camera_is_named(run, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    for word, words in ((str(tmp_path / "a.mp4"), "no video"), ("camera:x", "expected camera: and a number"),
                        ("camera:97", "no such camera")):
        assert predict.main(["--run", run, word, "--quiet"]) == 2
        assert words in capsys.readouterr().err.splitlines()[-1]


def test_paths_on_standard_input_and_bad_files_are_rows(run, small_demo, tmp_path, monkeypatch, capsys):
    good = list_mvtec(small_demo, "test")[3].image
    bad = str(tmp_path / "bad.png")
    open(bad, "wb").write(open(good, "rb").read()[:300])
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{good}\n{bad}\n\n{tmp_path}/gone.png\n{good}\n"))
    assert predict.main(["--run", run, "--json"]) == 3
    shown = capsys.readouterr()
    found = [json.loads(line) for line in shown.out.splitlines()]
    assert [entry["path"] for entry in found] == [good, bad, f"{tmp_path}/gone.png", good]
    assert [entry["verdict"] == "unreadable" for entry in found] == [False, True, True, False]
    assert found[1]["reason"] and found[1]["score"] is None and "No such file" in found[2]["reason"]
    assert "4 pictures" in shown.err and "2 unreadable" in shown.err


def test_quiet_and_plain_lines_and_the_exit_status(run, small_demo, scored, capsys):
    good, bad = min(scored, key=scored.get), max(scored, key=scored.get)
    assert predict.main(["--run", run, good, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert predict.main(["--run", run, good, bad]) == 3
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["accepted", "rejected"]
    assert shown.err.startswith("2 pictures: 1 accepted, 1 rejected")


def test_a_region_of_interest_for_all_pictures(models, small_demo, tmp_path):
    roi = tmp_path / "roi.json"
    roi.write_text(json.dumps({"unit": "share", "shapes": [{"box": [0, 0, 0.5, 1]}]}))
    folder = os.path.join(small_demo, "test")
    whole = grdnet_tf.load(models["run"]).predict(folder)
    for name in ("run", "saved model"):
        inside = grdnet_tf.load(models[name], roi=str(roi)).predict(folder)
        for one, other in zip(inside, whole):
            left = np.where(np.arange(48) < 24, other.small_map, 0)
            assert np.abs(one.small_map - left).max() < 1e-4
            assert one.score == pytest.approx(float(anomaly_score(left[None, ..., None], 5)[0]), abs=1e-4)
            assert all(region.box[3] <= 32 for region in one.regions)


@pytest.mark.parametrize("words, expected", [
    (["missing.png"], "no such file or folder"), (["nothing*.png"], "no file has such a name"),
    (["--watch", "missing", "--out", "o"], "expected one folder"), (["--append", "."], "--append needs --out"),
    (["--idle", "1", "."], "--idle goes with --watch"), (["--batch", "0", "."], "--batch 0"),
    (["--out", "other", "a.png"], "exists and holds no earlier"), (["--watch", ".", "--out", "."], "--out .: lies in ."),
    (["--out", "other/../new", "a.png", "."], "lies in ., and the pictures drawn there would be judged as well")])
def test_wrong_input_ends_with_one_line(words, expected, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    assert predict.main(["--run", run, *words]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1 and (tmp_path / "other" / "mine.txt").exists()


def test_append_goes_on_after_a_kill_in_the_middle_of_a_line(run, small_demo, judged, tmp_path):
    names = [one.image for one in list_mvtec(small_demo, "test")]
    out = str(tmp_path / "out")
    arguments = ["--run", run, "--out", out, "--append", "--pictures", "none"]
    predict.main([*arguments, *names[:4]])
    path = os.path.join(out, "predictions.jsonl")
    whole = open(path, "rb").read()
    open(path, "wb").write(whole[:-30])  # the fourth line is torn
    predict.main([*arguments, *names[2:6]])
    assert [entry["path"] for entry in lines(out)] == names[:6] == [row["path"] for row in rows(out)]
    predict.main(["--run", run, "--out", out, "--pictures", "none", names[0]])  # without it: from the start
    assert [entry["path"] for entry in lines(out)] == names[:1]


def test_watch_judges_each_picture_once_and_survives_a_restart(run, small_demo, tmp_path):
    folder, out = tmp_path / "in" / "line1", str(tmp_path / "out")
    folder.mkdir(parents=True)
    contents = [open(one.image, "rb").read() for one in list_mvtec(small_demo, "test")[:3]]
    arguments = ["--run", run, "--watch", str(tmp_path / "in"), "--out", out, "--quiet"]

    def camera():
        time.sleep(1.0)
        for number, content in enumerate(contents):
            with open(folder / f"{number}.png", "wb") as stream:  # half of it, a pause, the rest
                stream.write(content[:len(content) // 2])
                stream.flush()
                time.sleep(0.8)
                stream.write(content[len(content) // 2:])

    (thread := threading.Thread(target=camera)).start()
    status = predict.main([*arguments, "--idle", "3"])
    thread.join()
    found = lines(out)
    assert sorted(entry["name"] for entry in found) == [f"line1/{number}.png" for number in range(3)]
    assert all(entry["verdict"] in ("accepted", "rejected") for entry in found)
    assert status == (3 if any(entry["verdict"] == "rejected" for entry in found) else 0)
    (folder / "0.png").write_bytes(contents[1])  # another picture under the same name

    def stop():  # the service, once it has seen that
        for _ in range(400):
            with open(os.path.join(out, "predictions.jsonl"), "rb") as stream:
                if stream.read().count(b"\n") == 4:
                    break
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of what a script starts in the background
    status, _ = predict.main(arguments), signal.signal(signal.SIGINT, before)
    assert status in (0, 3)
    thread.join()
    assert [entry["name"] for entry in lines(out)[3:]] == ["line1/0.png"] and len(rows(out)) == 4
