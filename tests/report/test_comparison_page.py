"""The page of several runs: curves over each other, differences coloured, round ticks in every chart."""
import re

import numpy as np
import pytest

from grdnet_tf.report import charts, comparison, page

CURVE = {"fpr": [0, 0, 1], "tpr": [0, 1, 1], "precision": [1, 1, 0.5]}


def entry(name, auroc, missed, data="pill", curves=True):
    report = {key: 0.5 for key in comparison.KEYS}
    report.update(image_auroc=auroc, miss_rate=missed, false_reject_rate=0.1, false_look_rate=missed / 2, data=f"/disk/{data}",
                  curves={"": CURVE} if curves else {})
    return comparison.Entry(name, {"train.epochs": name}, report, f"/disk/{name}")


def cells(text):
    """{run: [cell as HTML]} of the first table."""
    body = re.search("<tbody>(.*?)</tbody>", text, re.S).group(1)
    rows = [re.findall("<td(.*?)</td>", row) for row in body.split("<tr>")[1:]]
    return {re.search(">([^<>]+)</a>", row[0]).group(1): row for row in rows}


def test_differences_are_coloured_by_whether_they_are_better():
    runs = [entry("a", 0.90, 0.20), entry("b", 0.95, 0.25), entry("c", 0.80, 0.10), entry("d", 0.99, 0.3, "nut")]
    found = cells(comparison.build(runs, "/disk"))
    missed, looked, auroc = ({name: row[i] for name, row in found.items()} for i in (5, 6, 7))
    assert "10.0%" in looked["a"] and "12.5% <small>+2.5" in looked["b"] and "--worse" in looked["b"]
    assert "0.900" in auroc["a"] and "tint" not in auroc["a"]  # the first run is what others differ from
    assert "+0.050" in auroc["b"] and "--better" in auroc["b"] and re.search(r"share:0\.3[23]", auroc["b"])
    assert "-0.100" in auroc["c"] and "--worse" in auroc["c"]
    assert "<b>0.990</b>" in auroc["d"] and "tint" not in auroc["d"]                # the first of its own data
    assert "25.0% <small>+5.0" in missed["b"] and "--worse" in missed["b"]           # more misses are worse
    assert "<b>10.0%</b>" in missed["c"] and "--better" in missed["c"]


def test_curves_of_one_data_folder_lie_over_each_other():
    runs = [entry("first", 0.9, 0.2), entry("second", 0.9, 0.2), entry("x", 0.9, 0.2, "nut"),
            entry("y", 0.9, 0.2, "nut", False)]
    text = comparison.build(runs, "/disk")
    titles = re.findall("<h3>(.*?)</h3>", text)
    assert titles == ["ROC: pill", "Precision and recall: pill", "ROC: nut", "Precision and recall: nut"]
    roc = re.search("<h3>ROC: pill</h3>(.*?)</svg>", text, re.S).group(1)
    assert re.findall('<polyline class="curve (run.)"', roc) == ["run0", "run1"] and ">second<" in roc
    assert "/disk/pill" not in text


@pytest.mark.parametrize("high, expected", [(1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.83, [0, 0.2, 0.4, 0.6, 0.8]),
                                            (0.02, [0, 0.005, 0.01, 0.015, 0.02]), (0.37, [i / 20 for i in range(8)])])
def test_ticks_are_round(high, expected):
    assert charts.ticks(high) == pytest.approx(expected)


def test_the_histogram_has_a_legend_and_ends_at_a_round_number():
    drawn = charts.score_histogram(np.array([0.11, 0.12]), np.array([0.57]), 0.3)
    assert charts.score_axis(np.array([0.11, 0.12]), np.array([0.57]), 0.3) == pytest.approx(0.6)
    for words in ("2 good, upwards", "1 defective, downwards", "threshold 0.3, stored", "tried here"):
        assert words in drawn
    assert re.findall(r'text-anchor="middle">([\d.]+)<', drawn) == ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]


def test_three_digits_and_never_a_perfect_figure_that_is_none():
    found = [page.number(value) for value in (None, 0.12345, 0.99951, 0.9999999, 1.0)]
    assert found == ["–", "0.123", "0.999", "0.999", "1.000"]
