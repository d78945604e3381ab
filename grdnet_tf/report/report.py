"""What an evaluation leaves, all or nothing: report.json, report.html, predictions.csv, regions.csv, pictures/."""
import csv
import io
import os
import shutil
import tempfile

import cv2

from ..console import aligned
from ..errors import InputError
from ..storage import umask, write_file, write_json, write_text
from . import page, shots

REPORT, PAGE, PREDICTIONS, REGIONS = "report.json", "report.html", "predictions.csv", "regions.csv"
PICTURES = "pictures"
COLUMNS = (("image AUROC", "image_auroc"), ("image AP", "image_ap"), ("pixel AUROC", "pixel_auroc"),
           ("pixel AP", "pixel_ap"), ("AUPRO", "aupro"), ("accuracy", "accuracy"), ("misses", "miss_rate"))


def check_target(folder: str) -> None:
    """InputError unless a report can be written to `folder`: missing, empty, or an earlier report."""
    if os.path.exists(folder) and (not os.path.isdir(folder)
                                   or os.listdir(folder) and not os.path.isfile(os.path.join(folder, REPORT))):
        raise InputError(f"{folder}: exists and is no earlier report; choose another --out")


def write(folder: str, evaluation, drawn) -> None:
    """Write everything beside `folder`, then put it in its place; an earlier report stays until then.

    `drawn`: (record, sheet (H, W, 3) uint8 RGB, what `shots.shot` made of it), as they are written.

    Raises: InputError if it cannot be written.
    """
    folder = os.path.abspath(folder)
    try:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        aside = tempfile.mkdtemp(prefix=f".{os.path.basename(folder)}-", dir=os.path.dirname(folder))
        try:
            embedded = {}
            pictures = _write_pictures(aside, _sheets(drawn, embedded))
            write_json(os.path.join(aside, REPORT), evaluation.report)
            write_text(os.path.join(aside, PAGE), page.build(evaluation, embedded))
            write_text(os.path.join(aside, PREDICTIONS), predictions(evaluation, pictures))
            write_text(os.path.join(aside, REGIONS), regions(evaluation.rows))
            os.chmod(aside, 0o777 & ~umask())  # mkdtemp makes it private
            _put_in_place(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from None


def predictions(evaluation, pictures) -> str:
    """One CSV row an image. `decision`: rejected where the score exceeds its threshold, empty without a threshold."""
    thresholds = evaluation.report["thresholds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "defect", "score", "decision", "label_roi", "score_roi", "decision_roi",
                     "regions", "picture"])
    for row in evaluation.rows:
        writer.writerow([row.path, row.label, row.defect,
                         f"{row.score:.7g}", decide(row.score, thresholds.get("image")), row.label_roi,
                         f"{row.score_roi:.7g}", decide(row.score_roi, thresholds.get("image_roi")),
                         "" if row.n_regions is None else row.n_regions, pictures.get(row.path, "")])
    return text.getvalue()


def regions(rows) -> str:
    """One CSV row a found region, of each image the highest peaks first; pixels are those of the evaluated map."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "top", "left", "bottom", "right", "row", "column", "area", "diameter", "peak", "area_um2",
                     "diameter_um"])
    for row in rows:
        for region in row.regions:
            um = ["" if value is None else f"{value:.6g}" for value in (region.area_um2, region.diameter_um)]
            writer.writerow([row.path, *region.box, *(f"{value:.2f}" for value in region.centroid), region.area,
                             f"{region.diameter:.4g}", f"{region.peak:.6g}", *um])
    return text.getvalue()


def decide(score, threshold):
    if threshold is None:
        return ""
    return "rejected" if score > threshold["value"] else "accepted"


def most_telling(rows, records, limit, thresholds):
    """At most `limit` records, worst misses and worst false alarms first."""
    name, field = ("image_roi", "score_roi") if "image_roi" in thresholds else ("image", "score")
    level = thresholds.get(name, {}).get("value", 0.5)

    def wrongness(i):
        margin = getattr(rows[i], field) - level
        return -margin if rows[i].label_roi else margin

    return [records[i] for i in sorted(range(len(rows)), key=wrongness, reverse=True)[:limit]]


def table(report) -> str:
    """A few lines for the console: the whole, inside the ROI, and each type of defect."""
    suffix = "_roi" if report["n_defective_roi"] is not None else ""
    lines = [["", "images"] + [title for title, _ in COLUMNS]]
    lines += [_line("all", report, "")]
    if suffix:
        lines += [_line("all, inside the ROI", report, "_roi"),
                  _line("the same, ROI not given", report, "_roi_unmasked")]
    lines += [_line(name, part, suffix) for name, part in report["per_type"].items() if name != "good"]
    return aligned(lines)


def _line(name, values, suffix):
    numbers = [values.get(key + suffix) for _, key in COLUMNS]
    return [name, str(values["n_images"])] + ["-" if v is None else f"{v:.4f}" for v in numbers]


def _sheets(drawn, embedded):
    """(record, sheet) of each; fills `embedded`, {path of the image: its shot}, until the page has enough of them."""
    room = page.BYTES
    for record, sheet, shot in drawn:
        room -= shots.size(shot)
        if room >= 0 or not embedded:
            embedded[record.image] = shot
        yield record, sheet


def _write_pictures(folder, sheets):
    """{path of the image: path of its sheet within the report}"""
    written = {}
    for record, sheet in sheets:
        stem = os.path.splitext(os.path.basename(record.image))[0]
        name = os.path.join(PICTURES, record.defect, stem + ".jpg")
        os.makedirs(os.path.join(folder, PICTURES, record.defect), exist_ok=True)
        encoded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        write_file(os.path.join(folder, name), lambda stream, content=encoded: stream.write(content))
        written[record.image] = name
    return written


def _put_in_place(aside, folder):
    if not os.path.isdir(folder):
        os.rename(aside, folder)
        return
    old = aside + ".old"
    os.rename(folder, old)
    try:
        os.rename(aside, folder)
    except OSError:
        os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
