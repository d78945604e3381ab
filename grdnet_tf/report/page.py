"""report.html: one file that holds the figures, the charts and the pictures of an evaluation, and needs no network."""
import datetime
import json
import math
import os
import shlex
from html import escape
from importlib import metadata

import numpy as np

from ..evaluation.thresholds import clopper_pearson
from . import charts, pictures

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, "report_page.html")
PARTS = {"style": "style.css", "script": "report_page.js", "sorting": "sort_tables.js"}
BYTES = 40e6  # of pictures in the page: some 200 of 512 x 512; the others are in the folder beside it
READINGS = {"": "Whole image", "_roi": "Inside the ROI", "_roi_unmasked": "Inside the ROI, ROI not given"}
FIGURES = (("image_auroc", "image AUROC"), ("image_ap", "image AP"), ("image_f1_max", "image F1 max"),
           ("pixel_auroc", "pixel AUROC"), ("pixel_ap", "pixel AP"), ("pixel_f1_max", "pixel F1 max"),
           ("aupro", "AUPRO, FPR ≤ 0.3"), ("aupro_05", "AUPRO, FPR ≤ 0.05"))
DECISIONS = {"wrong": "misses and false alarms", "miss": "misses", "alarm": "false alarms", "look": "look again",
             "right": "right decisions"}


def build(evaluation, embedded) -> str:
    """The page. `embedded`: {path of an image: what `shots.shot` made of it}."""
    report, rows = evaluation.report, evaluation.rows
    readings = [reading for reading in READINGS if not reading or report["n_defective_roi"] is not None]
    by_path = {row.path: row for row in rows}
    images = [_image(by_path[path], shot) for path, shot in embedded.items()]
    types = sorted({row.defect for row in rows})
    data = {"reading": readings[1] if len(readings) > 1 else "", "types": types, "images": images,
            "thresholds": {name: entry["value"] for name, entry in report["thresholds"].items()},
            "rows": [[row.score, row.score_roi, row.label, row.label_roi, types.index(row.defect)] for row in rows],
            "intervals": _intervals(rows), **colours(), "command": _command(report) or ""}
    return fill(TEMPLATE, {
        "title": f'GRD-Net evaluation: {escape(_last_part(report.get("run")))}', "facts": _facts(report),
        "outlines": '<b class="truth">ground truth</b>,', "types": "Type", "decisions": options(DECISIONS),
        "warnings": "".join(f'<p class="small">Warning: {escape(line)}</p>' for line in report["warnings"]),
        "switch": "".join(f'<button value="{reading}">{READINGS[reading]}</button>' for reading in readings)
        if len(readings) > 1 else "",
        "sections": "".join(_section(report, rows, reading) for reading in readings),
        "sizes": _sizes(report["sizes"]) + _disturbed(report.get("disturbed")),
        "shown": f"{len(images)} of {len(rows)} images, the worst." if len(images) < len(rows) else "",
        "data": in_script(data)})


def fill(template, values) -> str:
    """The text of a file with each {{name}} replaced by its value, once: what is filled in is not looked at again.

    Names of `PARTS` stand for files beside it, such as {{sorting}}, the script that makes tables sort.
    """
    def read(path):
        with open(path, encoding="utf-8") as stream:
            return stream.read()

    first, *parts = read(template).split("{{")
    values = dict(values, **{name: read(os.path.join(HERE, file)) for name, file in PARTS.items()})
    return first + "".join(values[name] + rest for name, rest in (part.split("}}", 1) for part in parts))


def threshold(histogram, command) -> str:
    """The histogram with the slider below it. `command`: what keeps the value that follows it, or None."""
    kept = ""
    if command is not None:
        kept = ('<p class="small command">Keep this threshold, from where the run\'s folder lies: '
                '<code data-live="command">–</code></p>')
    return fill(os.path.join(HERE, "threshold.html"), {"histogram": histogram, "command": kept})


def in_script(data) -> str:
    """JSON for a script element: "<" is escaped, or a file name could end the element."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def table(heads, lines) -> str:
    """A table that sorts itself at a click on a heading; the cells are HTML, or (HTML, attributes of the cell)."""
    head = "".join(f'<th data-sort="" tabindex="0">{escape(text)}</th>' for text in heads)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in line) + "</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def colours() -> dict:
    """What the page's script colours maps with."""
    return {"scale": [part.round(3).tolist() for part in (pictures.BELOW, pictures.ABOVE)], "middle": pictures.MIDDLE}


def versions() -> list:
    """["grdnet_tf 0.1.0", "tensorflow 2.15.1"], as far as they are installed."""
    found = []
    for name in ("grdnet_tf", "tensorflow"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:  # run from a checkout
            continue
    return found


def number(value) -> str:
    """Three digits; what is less than 1 never reads 1."""
    if value is None:
        return "–"
    return f"{math.floor(1000 * value) / 1000 if 0.9995 <= value < 1 else value:.3f}"


def options(names) -> str:
    """{value: text} as options of a choice."""
    return "".join(f'<option value="{value}">{text}</option>' for value, text in names.items())


def _cell(cell):
    content, attributes = (cell, "") if isinstance(cell, str) else cell
    return f"<td{attributes}>{content}</td>"


def _last_part(path):
    return os.path.basename(os.path.normpath(str(path))) if path else ""


def _image(row, shot):
    return {"name": f"{row.defect}/{os.path.basename(row.path)}", "type": row.defect, "label": row.label,
            "label_roi": row.label_roi, "score": row.score, "score_roi": row.score_roi, "n_regions": row.n_regions,
            **shot}


def _intervals(rows):
    """{n: [low, high]} of 95 % for k = 0 ... n seen, for every n of good or of defective images in some reading."""
    found = {}
    for label in ("label", "label_roi"):
        defective = sum(getattr(row, label) for row in rows)
        for n in {defective, len(rows) - defective} - {0}:
            found[n] = [part.round(4).tolist() for part in clopper_pearson(np.arange(n + 1), n)]
    return found


def _facts(report):
    """Run, data and versions by name: a page that is passed on tells of nobody's disk."""
    data, split = (escape(str(text)) for text in (_last_part(report.get("data")), report.get("split", "")))
    return " · ".join([f"data <code>{data}</code>", f"split {split}", f"{report['n_images']} images, "
                       f"{report['n_defective']} defective", f"{datetime.date.today():%Y-%m-%d}", *versions()])


def _command(report):
    """"grdnet calibrate ... --set ", which the value follows; it works where the run's folder lies.

    None of an evaluation under other settings than the station's: its thresholds are not kept.
    """
    if report.get("station") is None:
        return None
    run = shlex.quote(_last_part(report.get("run")) or "RUN")
    return f"grdnet calibrate --run {run} --set "


def _section(report, rows, reading):
    """What the line asks, the threshold to move, figures, charts and the table of types in one reading."""
    curves, judged = report["curves"].get(reading), [row.judged(reading) for row in rows]
    good, bad = (np.array([score for score, label in judged if label == wanted]) for wanted in (0, 1))
    level, shown = report["threshold" + reading], []
    if curves:
        share = len(bad) / len(judged)
        shown = [("ROC", charts.curve(curves["fpr"], curves["tpr"], "false-reject rate", "found defects", (0, 1))),
                 ("Precision and recall", charts.curve(curves["tpr"], curves["precision"], "recall", "precision",
                                                       (share, share)))]
    drawn = "".join(f'<div class="chart"><h3>{title}</h3>{chart}</div>' for title, chart in shown)
    types = [(name, part["image_auroc" + reading], number(part["image_auroc" + reading]))
             for name, part in report["per_type"].items() if name != "good"]
    if types:
        drawn += f'<div class="chart wide"><h3>Image AUROC by type</h3>{charts.bars(types)}</div>'
    return fill(os.path.join(HERE, "report_section.html"), {
        "reading": reading, "name": READINGS[reading], "good": str(len(good)), "bad": str(len(bad)),
        "high": f"{charts.score_axis(good, bad, level):.9g}",
        "threshold": threshold(charts.score_histogram(good, bad, level, report["look" + reading]), _command(report)),
        "stored": _stored(report, reading), "figures": _figures(report, reading), "charts": drawn,
        "types": _types(report, reading)})


def _stored(report, reading):
    """Where the stored threshold comes from, and what it promises."""
    end = "_roi" if reading == "_roi" else ""
    if "image" + end not in report["thresholds"]:
        return escape(report["absent"].get("threshold", ""))
    return " ".join(_promise(words, report["thresholds"][name + end]) for name, words in
                    (("image", "Rejected above"), ("look", "Looked at again above")) if name + end in report["thresholds"])


def _promise(words, entry):
    """Where one threshold comes from, and the share of further good parts above it."""
    interval = entry["false_reject_interval"]
    promise = (f"; {entry['above']} of {entry['n']} good are above it, so {interval[0]:.1%} to {interval[1]:.1%} of "
               "the good parts to come will be (95 %)") if interval else ""
    return f"{words} {entry['value']:.4g}, by {escape(entry['method'])} on {escape(entry['fitted_on'])}{promise}."


def _figures(report, reading):
    absent, lines = report["absent"], []
    for key, title in FIGURES:
        interval = report["intervals"].get(key + reading)
        note = f"95 %: {number(interval[0])} to {number(interval[1])}" if interval else absent.get(key + reading, "")
        lines.append((title, report[key + reading], note))
    if reading == "_roi_unmasked":
        key = "outside_roi_alarm_rate"
        lines.append(("alarms on defects outside", report[key], absent.get(key, "")))
    return "".join(f'<div class="figure"><span class="small">{title}</span> <b>{number(value)}</b> '
                   f'<span class="soft small">{escape(note)}</span></div>' for title, value, note in lines)


def _types(report, reading):
    keys, titles = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro"), dict(FIGURES)
    lines = [[escape(name), str(part["n_images"]), ("–", f' data-type="{escape(name)}"'),
              *(number(part[key + reading]) for key in keys)] for name, part in report["per_type"].items()]
    return table(["type", "images", "wrong", *(titles[key] for key in keys)], lines)


def _disturbed(effects):
    if not effects:
        return ""
    lines = [[escape(one["what"]), number(one["image_auroc"]),
              "–" if one["change"] is None else f'{one["change"]:+.3f}',
              *("–" if one[key] is None else f"{one[key]:.1%}" for key in ("false_rejects", "misses"))]
             for one in effects]
    return ('<h2>Under disturbance</h2><p class="soft small">The same pictures, changed before the network sees them; the '
            'threshold stays the stored one.</p>'
            + table(["disturbed by", "image AUROC", "change", "false rejects", "misses"], lines))


def _sizes(sizes):
    if not sizes:
        return ""
    unit = "µm" if sizes["unit"] == "um" else "px"
    rows = []
    for part in sizes["classes"]:
        end = f"{unit} and more" if part["to"] is None else f"to {part['to']:g} {unit}"
        name = f"{part['from']:g} {end}"
        rows.append((name, part["found"] / part["n"] if part["n"] else None, f"{part['found']} of {part['n']}"))
    ends = [f"{words}: {sizes[key]:,.{0 if sizes[key] >= 100 else 1}f} {unit}" for key, words in
            (("smallest_found", "smallest found"), ("largest_missed", "largest missed")) if sizes[key] is not None]
    return ('<h2>By size of defect</h2><p class="soft small">Diameter of the circle of the same area; found: a found '
            f'region touches it{"".join(f"; {end}" for end in ends)}.</p><div class="row">'
            f'<div class="chart wide">{charts.bars(rows)}'
            '</div></div>')
