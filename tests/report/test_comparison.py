"""Runs side by side: what differs is found, seeds are averaged, runs judged on other pictures are named."""
import json
import os

import pytest
from browser import in_browser

import evaluate
from grdnet_tf import config as configuration
from grdnet_tf.cli.main import main
from grdnet_tf.errors import InputError
from grdnet_tf.report import comparison
from grdnet_tf.training import run_folder


def make(folder, image, pixel, *options, n_images=10, reading=""):
    """A run folder with its configuration and a report, as evaluate.py leaves it."""
    config = configuration.load_config(None, ["data.root=/data/pill", *options])
    run_folder.create_run(str(folder), config)
    figures = {key + suffix: 0.5 for key in comparison.KEYS for suffix in ("", "_roi")}
    figures.update({"image_auroc" + reading: image, "pixel_auroc" + reading: pixel})
    report = dict(figures, data=config.data.root, split="test", roi="auto", tiles=None, n_images=n_images,
                  n_defective=5, n_defective_roi=4 if reading else None)
    os.makedirs(folder / "evaluation")
    json.dump(report, open(folder / "evaluation" / "report.json", "w", encoding="utf-8"))
    return str(folder)


@pytest.fixture
def four(tmp_path):
    return [make(tmp_path / "a", 0.90, 0.80, "train.epochs=10", "train.seed=0"),
            make(tmp_path / "b", 0.94, 0.90, "train.epochs=10", "train.seed=1", "data.cache=none"),
            make(tmp_path / "c", 0.99, None, "train.epochs=35", "train.seed=0"),
            make(tmp_path / "d", 0.70, 0.60, "train.epochs=35", "data.root=/data/nut")]


def test_table_page_and_json(four, tmp_path, capsys):
    out = tmp_path / "out"
    assert evaluate.main(["--compare", *four, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "data", "seed", "epochs", *comparison.KEYS]
    assert lines[2].split()[:5] == ["b", "pill", "1", "10", "0.940"]
    assert lines[3].split()[7] == "–"
    content = json.load(open(out / "comparison.json", encoding="utf-8"))
    assert content["differing"] == ["train.epochs"] and content["warnings"] == []
    assert [run["figures"]["image_auroc"] for run in content["runs"]] == [0.9, 0.94, 0.99, 0.7]
    text = open(out / "comparison.html", encoding="utf-8").read()
    assert "<b>0.990</b>" in text and "<b>0.940</b>" not in text and "{{" not in text
    assert 'href="../a/evaluation/report.html"' in text


def test_pivot_averages_over_seeds(four):
    entries = [comparison.read(run, {"data.root": "x", "train.epochs": epochs, "train.seed": seed})
               for run, epochs, seed in zip(four, (10, 10, 35, 35), (0, 1, 0, 0))]
    assert comparison.pivot(entries) == [["data", "epochs 10", "epochs 35"],
                                         ["pill", "92.0 (85.0), 2 runs", "99.0 (–)"],  # (90 + 94) / 2, (80 + 90) / 2
                                         ["nut", "–", "70.0 (60.0)"]]


def test_a_setting_that_a_method_does_not_read_tells_its_run_from_no_other(tmp_path, capsys):
    runs = [make(tmp_path / "few", 0.9, 0.8, "method=padim", "features.ridge=0.1"),
            make(tmp_path / "many", 0.9, 0.8, "method=padim", "features.ridge=0.2"),
            make(tmp_path / "steps", 0.7, 0.6, "train.epochs=10", "loss.l1=3")]
    assert main(["compare", *runs, "--out", str(tmp_path / "page")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][3:5] == ["method", "ridge"] and "epochs" not in lines[0] and "l1" not in lines[0]
    assert [line[3:5] for line in lines[1:4]] == [["padim", "0.1"], ["padim", "0.2"], ["grdnet", "–"]]


def test_roi_figures_are_compared_if_all_have_them(tmp_path):
    both = [make(tmp_path / name, 0.9, 0.8, reading="_roi") for name in "ab"]
    entries = [comparison.read(run, {}) for run in both]
    assert comparison.lines(entries)[0][-6] == "image_auroc_roi" and comparison.lines(entries)[1][-6] == "0.900"
    mixed = entries + [comparison.read(make(tmp_path / "c", 0.7, 0.6), {})]
    assert comparison.lines(mixed)[0][-6] == "image_auroc"


def test_parent_and_child_and_the_verdicts_that_changed(tmp_path, capsys, monkeypatch):
    parent = make(tmp_path / "parent", 0.9, 0.8)
    child = make(tmp_path / "child", 0.91, 0.8, f"origin.parent={parent}", "origin.weights_sha256=abc",
                 "data.add_good=[/data/lot]")
    verdicts = {"parent": "rejected accepted rejected accepted", "child": "accepted rejected rejected accepted"}
    for run, words in verdicts.items():
        rows = [f"/data/pill/{i},{i // 3},{word},," for i, word in enumerate(words.split())]
        head = "path,label,decision,label_roi,decision_roi"
        (tmp_path / run / "evaluation" / "predictions.csv").write_text("\n".join([head, *rows]))
    monkeypatch.chdir(tmp_path)
    assert main(["compare", parent, child]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[3:5] == ["add_good", "parent"]
    assert lines[2].split()[:5] == ["child", "pill", "0", "lot", "parent"]
    assert "child against parent: good rejected 2 -> 2 of 3, 1 no more, 1 newly" in lines
    assert "child against parent: defects missed 1 -> 1 of 1, 0 no more, 0 newly" in lines
    assert not any("look at again" in line for line in lines)  # nothing is
    assert "<p>child against parent: good rejected" in (tmp_path / "comparison" / "comparison.html").read_text()


def test_what_is_to_be_looked_at_again_is_no_free_gain(tmp_path):
    """Else a run that leaves everything to a person would look like one without a mistake."""
    runs = [make(tmp_path / name, 0.9, 0.8) for name in ("old", "new")]
    for run, words in zip(runs, ("rejected accepted accepted", "look look look")):
        rows = [f"/data/pill/{i},{int(i > 1)},{word},," for i, word in enumerate(words.split())]
        with open(os.path.join(run, "evaluation", "predictions.csv"), "w") as stream:
            stream.write("\n".join(["path,label,decision,label_roi,decision_roi", *rows]))
    assert comparison.verdicts([comparison.read(run, {}) for run in runs]) == [
        f"new against old: {what}" for what in (
            "good rejected 1 -> 0 of 2, 1 no more, 0 newly", "defects missed 1 -> 0 of 1, 1 no more, 0 newly",
            "good to look at again 0 -> 2 of 2, 0 no more, 2 newly",
            "defects to look at again 0 -> 1 of 1, 0 no more, 1 newly")]


def test_other_pictures_are_named(tmp_path, capsys):
    both = [make(tmp_path / "a", 0.9, 0.8), make(tmp_path / "b", 0.9, 0.8, n_images=11)]
    assert evaluate.main(["--compare", *both, "--out", str(tmp_path / "out")]) == 0
    assert f"warning: {both[1]}: n_images is 11, but 10 in {both[0]}" in capsys.readouterr().err


def test_a_run_that_was_not_evaluated_is_named(tmp_path, capsys):
    run_folder.create_run(str(tmp_path / "a"), configuration.load_config())
    assert evaluate.main(["--compare", str(tmp_path / "a")]) == 2
    assert "run grdnet evaluate --run" in capsys.readouterr().err
    with pytest.raises(InputError, match="no run here"):
        run_folder.read_config(str(tmp_path / "nothing"))
    with pytest.raises(SystemExit):
        evaluate.main(["--compare", "a", "--run", "b"])


def test_a_damaged_report_is_not_called_missing(tmp_path, capsys):
    run = make(tmp_path / "a", 0.9, 0.8)
    report = os.path.join(run, "evaluation", "report.json")
    with open(report, "w", encoding="utf-8") as stream:
        stream.write("{")
    assert evaluate.main(["--compare", run]) == 2
    assert f"{report}: damaged" in capsys.readouterr().err


def test_the_page_sorts_in_a_browser(four, tmp_path):
    entries = [comparison.read(run, {"train.epochs": 10}) for run in four]
    found = in_browser(tmp_path, comparison.build(entries, str(tmp_path)), """
        const table = document.querySelector('.scroll table');
        const column = [...table.querySelectorAll('th')].find(head => head.textContent.includes('image auroc'));
        const names = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
        const before = names(); column.click(); const down = names();
        column.click(); return {before, down, up: names()};""")
    assert found == {"before": ["a", "b", "c", "d"], "down": ["c", "b", "a", "d"], "up": ["d", "a", "b", "c"]}
