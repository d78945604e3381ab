"""report.html: one file that holds the figures, the charts and the pictures of an evaluation, and needs no network."""
import base64
import json
import os
from html import escape

import cv2
import numpy as np

from . import charts

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, "report_page.html")
PICTURES = 300  # in the page at most, some 60 kB each; the others are in the folder beside it
READINGS = {"": "Whole image", "_roi": "Inside the ROI", "_roi_unmasked": "Inside the ROI, ROI not given"}
FIGURES = (("image_auroc", "image AUROC"), ("image_ap", "image AP"), ("image_f1_max", "image F1 max"),
           ("accuracy", "accuracy"), ("miss_rate", "missed defects"), ("false_reject_rate", "false rejects"),
           ("pixel_auroc", "pixel AUROC"), ("pixel_ap", "pixel AP"), ("pixel_f1_max", "pixel F1 max"),
           ("aupro", "AUPRO, FPR ≤ 0.3"), ("aupro_05", "AUPRO, FPR ≤ 0.05"))


def build(evaluation, sheets) -> str:
    """The page. `sheets`: {path of an image: its sheet as `embed` makes it}."""
    report, rows = evaluation.report, evaluation.rows
    readings = [reading for reading in READINGS if not reading or report["n_defective_roi"] is not None]
    by_path = {row.path: row for row in rows}
    images = [_image(by_path[path], *sheet) for path, sheet in sheets.items()]
    data = {"reading": readings[1] if len(readings) > 1 else "", "types": sorted({row.defect for row in rows}),
            "thresholds": {name: entry["value"] for name, entry in report["thresholds"].items()}, "images": images}
    return fill(TEMPLATE, {
        "title": escape(os.path.basename(report.get("run", ""))), "facts": _facts(report),
        "warnings": "".join(f'<p class="small">Warning: {escape(line)}</p>' for line in report["warnings"]),
        "switch": "".join(f'<button value="{reading}">{READINGS[reading]}</button>' for reading in readings)
        if len(readings) > 1 else "",
        "sections": "".join(_section(report, rows, reading) for reading in readings), "sizes": _sizes(report["sizes"]),
        "shown": f"{len(images)} of {len(rows)} images, the worst." if len(images) < len(rows) else "",
        "data": in_script(data)})


def fill(template, values) -> str:
    """The text of a file with each {{name}} replaced by its value, once: what is filled in is not looked at again.

    {{sorting}} is the script that makes tables sort.
    """
    texts = []
    for path in (template, os.path.join(HERE, "sort_tables.js")):
        with open(path, encoding="utf-8") as stream:
            texts.append(stream.read())
    first, *parts = texts[0].split("{{")
    values = dict(values, sorting=texts[1])
    return first + "".join(values[name] + rest for name, rest in (part.split("}}", 1) for part in parts))


def in_script(data) -> str:
    """JSON for a script element: "<" is escaped, or a file name could end the element."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def embed(sheet):
    """(data URI, shape of the sheet's last column) of a sheet (H, W, 3) uint8 RGB."""
    encoded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode(), f"{sheet.shape[1] / 4:g} / {sheet.shape[0]}"


def table(heads, lines) -> str:
    """A table that sorts itself at a click on a heading; the cells are HTML."""
    head = "".join(f'<th data-sort="">{escape(text)}</th>' for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def number(value) -> str:
    return "–" if value is None else f"{value:.4f}"


def _image(row, picture, shape):
    return {"name": f"{row.defect}/{os.path.basename(row.path)}", "type": row.defect, "label": row.label,
            "label_roi": row.label_roi, "score": row.score, "score_roi": row.score_roi, "n_regions": row.n_regions,
            "picture": picture, "shape": shape}


def _facts(report):
    run, data, split = (escape(str(report.get(name, ""))) for name in ("run", "data", "split"))
    lines = [f"run <code>{run}</code> · data <code>{data}</code> · split {split} · {report['n_images']} images, "
             f"{report['n_defective']} defective"]
    for name, entry in report["thresholds"].items():
        interval = entry["false_reject_interval"]
        promise = (f"; {entry['above']} of {entry['n']} good are above it, so the false-reject rate lies between "
                   f"{interval[0]:.1%} and {interval[1]:.1%} (95 %)") if interval else ""
        lines.append(f"{name.replace('_roi', ' (ROI)')} threshold {entry['value']:.5g} by {escape(entry['method'])} "
                     f"on {escape(entry['fitted_on'])}{promise}")
    if not report["thresholds"]:
        lines.append(escape(report["absent"].get("threshold", "")))
    return "<br>".join(lines)


def _section(report, rows, reading):
    """Figures, charts and the table of types in one reading."""
    absent = report["absent"]
    cards = []
    for key, title in FIGURES:
        interval = report["intervals"].get(key + reading)
        note = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else absent.get(key + reading, "")
        cards.append(_card(title, report[key + reading], note))
    if reading == "_roi_unmasked":
        key = "outside_roi_alarm_rate"
        cards.append(_card("alarms on defects outside", report[key], absent.get(key, "")))
    curves, judged = report["curves"].get(reading), [row.judged(reading) for row in rows]
    good, bad = (np.array([score for score, label in judged if label == wanted]) for wanted in (0, 1))
    shown = []
    if curves:
        share = len(bad) / len(judged)
        shown = [("ROC", charts.curve(curves["fpr"], curves["tpr"], "false-reject rate", "found defects", (0, 1))),
                 ("Precision and recall", charts.curve(curves["tpr"], curves["precision"], "recall", "precision",
                                                       (share, share)))]
    shown.append(("Scores", charts.score_histogram(good, bad, report["threshold" + reading])))
    drawn = "".join(f'<div class="chart"><h3>{title}</h3>{chart}</div>' for title, chart in shown)
    types = [(name, part["image_auroc" + reading], _note(part, reading)) for name, part in report["per_type"].items()
             if name != "good"]
    if types:
        drawn += f'<div class="chart wide"><h3>Image AUROC by type</h3>{charts.bars(types)}</div>'
    return (f'<section data-reading="{reading}"><h2>{READINGS[reading]}</h2><div class="row">{"".join(cards)}</div>'
            f'<div class="row" style="margin-top:12px">{drawn}</div><h2>By type of defect</h2>'
            '<p class="soft small">Each type against the good images. Click a heading to sort.</p>'
            f'{_types(report, reading)}</section>')


def _card(title, value, note):
    return (f'<div class="figure"><span class="small">{title}</span><b>{number(value)}</b>'
            f'<span class="soft small">{escape(note)}</span></div>')


def _note(part, reading):
    value, missed = part["image_auroc" + reading], part["miss_rate" + reading]
    text = "–" if value is None else f"{value:.3f}"
    return text if missed is None else f"{text}, {missed:.0%} missed"


def _types(report, reading):
    keys = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "false_reject_rate", "miss_rate")
    lines = [[escape(name), str(part["n_images"]), *(number(part[key + reading]) for key in keys)]
             for name, part in report["per_type"].items()]
    return table(["type", "images", *(key.replace("_", " ") for key in keys)], lines)


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
            f'region touches it. {"; ".join(ends)}.</p><div class="row"><div class="chart wide">{charts.bars(rows)}'
            '</div></div>')
