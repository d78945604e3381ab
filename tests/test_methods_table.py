"""The table of methods: a row has what the run's report and summary say; what is no finished run is one line."""
import json
import os

import pytest
from small_runs import make_run

from benchmarks import methods
from grdnet_tf.cli import evaluate
from grdnet_tf.storage import write_json
from grdnet_tf.training import run_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A demo set with a region, 3 good and 10 other test pictures, drawn at the size of the network."""
    from grdnet_tf.demo.dataset import write_demo

    return write_demo(str(tmp_path_factory.mktemp("demo") / "vials"), train=8, test_good=3, per_defect=2, distractors=2,
                      size=(64, 64))


def finished(folder, data, **more):
    """A run as if it had been trained with seed 7: initial weights, a summary of these numbers and `more`."""
    make_run(folder, data, "train.seed=7")
    write_json(os.path.join(folder, run_folder.SUMMARY), {"epochs": 1, "minutes": 1.504, "peak_rss_mb": 812.3, **more})
    return str(folder)


def row(capsys):
    """{title: cell} of a printed table of one row."""
    titles, line, cells = capsys.readouterr().out.splitlines()
    assert set(line) == set("|-")
    return dict(zip(*([cell.strip() for cell in text.strip("|").split(" | ")] for text in (titles, cells))))


def report_of(run):
    with open(os.path.join(run, "evaluation", "report.json"), encoding="utf-8") as stream:
        return json.load(stream)


def test_a_run_without_a_report_is_evaluated_and_its_row_has_the_reports_numbers(tmp_path, data, capsys):
    run, out = finished(tmp_path / "run", data), str(tmp_path / "table.json")
    assert methods.main([run, "--no-times", "--out", out]) == 0
    found, report = row(capsys), report_of(run)
    assert found == {"data": "vials", "method": "grdnet", "seed": "7", "reading": "inside the ROI",
                     "image AUROC": f"{report['image_auroc_roi']:.3f}", "AUPRO 0.3": f"{report['aupro_roi']:.3f}",
                     "pixel AUROC": f"{report['pixel_auroc_roi']:.3f}", "misses": f"{report['miss_rate_roi']:.3f}",
                     "false rejects": f"{report['false_reject_rate_roi']:.3f}",
                     "good to look at": f"{report['false_look_rate_roi']:.3f}",
                     "s to train": "90", "peak MB": "812"}  # 1.504 minutes are 90.24 s
    with open(out, encoding="utf-8") as stream:
        kept, = json.load(stream)["runs"]
    assert kept["image_auroc"] == report["image_auroc_roi"] and kept["seconds_to_train"] == pytest.approx(90.24)


def test_a_report_that_is_there_is_read_as_it_is(tmp_path, data, capsys):
    run, out = finished(tmp_path / "run", data, processor_seconds=61.7), str(tmp_path / "table.md")
    assert evaluate.main(["--run", run, "--roi", "none", "--thresholds", "value:1,quantile:0.999,none",
                          "--pictures", "0", "--quiet"]) == 0
    capsys.readouterr()
    assert methods.main([run, "--no-times", "--out", out]) == 0
    printed = capsys.readouterr()
    assert f"{run}: rejects by value:1, not by the default max_normal" in printed.err
    with open(out, encoding="utf-8") as stream:
        assert stream.read() == printed.out
    assert "| whole picture |" in printed.out
    assert "| 0.000 | 0.000 | 1.000 | 90 (62) |" in printed.out  # no score is above 1: all is accepted


def test_a_report_older_than_the_weights_is_made_anew(tmp_path, data, capsys):
    run = finished(tmp_path / "run", data)
    assert evaluate.main(["--run", run, "--roi", "none", "--pictures", "0", "--quiet"]) == 0
    os.utime(run_folder.weights(run), (os.path.getmtime(os.path.join(run, "evaluation", "report.json")) + 9,) * 2)
    assert methods.main([run, "--no-times"]) == 0
    assert row(capsys)["reading"] == "inside the ROI" and report_of(run)["n_defective_roi"] == 8


@pytest.mark.parametrize("words, said", [
    (["nowhere"], "error: nowhere: no run here (config.yaml is missing)\n"),
    (["begun"], "error: begun: no finished run (summary.json is missing or damaged)\n"),
    (["--out", "table.txt"], "error: --out table.txt: expected a name that ends in .md or .json\n")])
def test_what_is_no_finished_run_is_one_line_before_anything_is_evaluated(tmp_path, data, capsys, monkeypatch, words,
                                                                          said):
    monkeypatch.chdir(tmp_path)
    finished("run", data)
    make_run("begun", data)
    assert methods.main(["run", *words, "--no-times"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", said)
    assert not os.path.exists(os.path.join("run", "evaluation"))


@pytest.mark.slow
def test_the_milliseconds_are_those_of_three_forms(tmp_path, data, capsys, monkeypatch):
    monkeypatch.setattr(methods, "ROUNDS", 1)
    monkeypatch.setattr(methods, "CALLS", 2)
    found = methods.times(finished(tmp_path / "run", data))
    assert capsys.readouterr().err == "" and list(found) == ["Keras", "SavedModel", "ONNX"]
    assert all(0 < form["p50_ms"] < 60_000 and form["cpu_ms"] > 0 for form in found.values())


def test_a_run_that_cannot_be_timed_is_a_line_and_no_number(tmp_path, data, capsys):
    run = finished(tmp_path / "run", data)
    with open(run_folder.weights(run), "wb") as stream:
        stream.write(b"no weights")
    assert methods.times(run) == {}
    warning, = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {run}: not timed: error: {run_folder.weights(run)}")
