"""report.html: one file that holds the figures, the charts and the pictures of an evaluation, and needs no network."""
import base64
import json
import os
from html import escape

import cv2
import numpy as np

from . import charts

TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report_page.html")
PICTURES = 300  # in the page at most, some 80 kB each; the others are in the folder beside it
READINGS = {"": "whole image", "_roi": "inside the ROI", "_roi_unmasked": "inside the ROI, ROI not given to the network"}
FIGURES = (("image_auroc", "image AUROC"), ("image_ap", "image AP"), ("image_f1_max", "image F1 max"),
           ("accuracy", "accuracy"), ("miss_rate", "missed defects"), ("false_reject_rate", "false rejects"),
           ("pixel_auroc", "pixel AUROC"), ("pixel_ap", "pixel AP"), ("aupro", "AUPRO 0.3"), ("aupro_05", "AUPRO 0.05"))


def build(evaluation, sheets) -> str:
    """The page. `sheets`: {path of an image: its sheet as `embed` makes it}."""
    report, rows = evaluation.report, evaluation.rows
    readings = [reading for reading in READINGS if not reading or report["n_defective_roi"] is not None]
    first = "_roi" if "_roi" in readings else ""
    by_path = {row.path: row for row in rows}
    images = [_image(by_path[path], *sheet) for path, sheet in sheets.items()]
    data = {"reading": first, "types": sorted({row.defect for row in rows}), "images": images,
            "thresholds": {name: entry["value"] for name, entry in report["thresholds"].items()}}
    filled = {
        "title": escape(os.path.basename(report.get("run", ""))), "facts": _facts(report),
        "warnings": "".join(f'<p class="small">Warning: {escape(line)}</p>' for line in report["warnings"]),
        "switch": "".join(f'<button value="{reading}">{READINGS[reading]}</button>' for reading in readings)
        if len(readings) > 1 else "",
        "sections": "".join(_section(report, rows, reading) for reading in readings),
        "types": _types(report, first), "sizes": _sizes(report["sizes"]),
        "shown": f"{len(images)} of {len(rows)} images, the worst." if len(images) < len(rows) else "",
        # "<" cannot end the script element early; json.dumps alone would let a file name do that
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c")}
    with open(TEMPLATE, encoding="utf-8") as stream:
        parts = stream.read().split("{{")
    page = parts[0]
    for part in parts[1:]:
        name, rest = part.split("}}", 1)
        page += filled[name] + rest
    return page


def embed(sheet):
    """(data URI, shape of the sheet's last column) of a sheet (H, W, 3) uint8 RGB."""
    encoded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode(), f"{sheet.shape[1] / 4:g} / {sheet.shape[0]}"


def _image(row, picture, shape):
    return {"name": f"{row.defect}/{os.path.basename(row.path)}", "type": row.defect, "label": row.label,
            "label_roi": row.label_roi, "score": row.score, "score_roi": row.score_roi, "n_regions": row.n_regions,
            "picture": picture, "shape": shape}


def _facts(report):
    lines = [f"run <code>{escape(str(report.get('run', '')))}</code> · data <code>{escape(str(report.get('data', '')))}</code>"
             f" · split {escape(str(report.get('split', '')))} · {report['n_images']} images, {report['n_defective']} defective"]
    for name, entry in report["thresholds"].items():
        interval = entry["false_reject_interval"]
        promise = (f"; {entry['above']} of {entry['n']} good above it, so the false-reject rate lies between "
                   f"{interval[0]:.1%} and {interval[1]:.1%} (95 %)") if interval else ""
        lines.append(f"{name.replace('_', ' ')} threshold {entry['value']:.5g} by {escape(entry['method'])} "
                     f"on {escape(entry['fitted_on'])}{promise}")
    if not report["thresholds"]:
        lines.append(escape(report["absent"].get("threshold", "")))
    return "<br>".join(lines)


def _section(report, rows, reading):
    cards = []
    for key, title in FIGURES:
        value, interval = report[key + reading], report["intervals"].get(key + reading)
        if value is None:
            note = escape(report["absent"][key + reading])
        else:
            note = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        cards.append(_figure(title, value, note))
    if reading == "_roi_unmasked":
        rate = report["outside_roi_alarm_rate"]
        cards.append(_figure("alarms on defects outside", rate, escape(report["absent"].get("outside_roi_alarm_rate", ""))))
    curves, judged = report["curves"].get(reading), [row.judged(reading) for row in rows]
    good, bad = (np.array([score for score, label in judged if label == wanted]) for wanted in (0, 1))
    shown = []
    if curves:
        share = len(bad) / len(judged)
        shown = [("ROC", charts.curve(curves["fpr"], curves["tpr"], "false-reject rate", "found defects", (0, 1))),
                 ("Precision and recall", charts.curve(curves["tpr"], curves["precision"], "recall", "precision",
                                                       (share, share)))]
    shown.append(("Scores", charts.score_histogram(good, bad, report["threshold" + reading])))
    types = [(name, part["image_auroc" + reading], _note(part, reading)) for name, part in report["per_type"].items()
             if name != "good"]
    drawn = "".join(f'<div class="chart"><h3>{title}</h3>{chart}</div>' for title, chart in shown)
    if types:
        drawn += f'<div class="chart wide"><h3>Image AUROC by type</h3>{charts.bars(types)}</div>'
    return (f'<section data-reading="{reading}"><h2>{READINGS[reading].capitalize()}</h2><div class="row">{"".join(cards)}</div>'
            f'<div class="row" style="margin-top:12px">{drawn}</div></section>')


def _figure(title, value, note):
    shown = "–" if value is None else f"{value:.4f}"
    return f'<div class="figure"><span class="small">{title}</span><b>{shown}</b><span class="soft small">{note}</span></div>'


def _note(part, reading):
    missed = part["miss_rate" + reading]
    value = part["image_auroc" + reading]
    text = "–" if value is None else f"{value:.3f}"
    return text if missed is None else f"{text}, {missed:.0%} missed"


def _types(report, reading):
    keys = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "false_reject_rate", "miss_rate")
    heads = ["type", "images", *(key.replace("_", " ") for key in keys)]
    body = []
    for name, part in report["per_type"].items():
        numbers = [part[key + reading] for key in keys]
        cells = [escape(name), str(part["n_images"]), *("–" if n is None else f"{n:.4f}" for n in numbers)]
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return ("<thead><tr>" + "".join(f'<th data-sort="">{head}</th>' for head in heads) + "</tr></thead><tbody>"
            + "".join(body) + "</tbody>")


def _sizes(sizes):
    if not sizes:
        return ""
    unit = "µm" if sizes["unit"] == "um" else "px"
    rows = []
    for part in sizes["classes"]:
        name = f"{part['from']:g} to {part['to']:g} {unit}" if part["to"] is not None else f"{part['from']:g} {unit} and more"
        rows.append((name, part["found"] / part["n"] if part["n"] else None, f"{part['found']} of {part['n']}"))
    ends = [f"{words} {sizes[key]:.3g} {unit}" for key, words in
            (("smallest_found", "smallest found:"), ("largest_missed", "largest missed:")) if sizes[key] is not None]
    return (f'<h2>By size of defect</h2><p class="soft small">Diameter of the circle of the same area; found: a found region '
            f'touches it. {", ".join(ends)}.</p><div class="row"><div class="chart wide">{charts.bars(rows)}</div></div>')
