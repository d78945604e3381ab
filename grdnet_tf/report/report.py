"""What an evaluation leaves, all or nothing: report.json, report.html, predictions.csv, regions.csv, pictures/."""
import collections
import contextlib
import csv
import hashlib
import io
import os
import shutil

import cv2

from ..console import aligned
from ..errors import InputError
from ..evaluation.thresholds import Limits
from ..storage import aside, lock, sync, sync_tree, write_json, write_text, writing
from . import page, shots

REPORT, PAGE, PREDICTIONS, REGIONS = "report.json", "report.html", "predictions.csv", "regions.csv"
BEST = 6  # of each, the sheets that are kept for them
PICTURES = "pictures"
LONGEST = 255  # bytes of a file's name that file systems take
COLUMNS = (("image AUROC", "image_auroc"), ("image AP", "image_ap"), ("pixel AUROC", "pixel_auroc"),
           ("pixel AP", "pixel_ap"), ("AUPRO", "aupro"), ("false rejects", "false_reject_rate"), ("misses", "miss_rate"),
           ("look again", "found_look_rate"))


def check_target(folder: str) -> None:
    """InputError unless a report can be written to `folder`: missing, empty, or an earlier report."""
    restore(folder)
    if os.path.exists(folder) and (not os.path.isdir(folder)
                                   or os.listdir(folder) and not os.path.isfile(os.path.join(folder, REPORT))):
        raise InputError(f"{folder}: exists and is no earlier report; choose another --out")


def write(folder: str, evaluation, drawn) -> None:
    """Write everything beside `folder`, then put it in its place; an earlier report stays until then.

    `drawn`: (record, sheet (H, W, 3) uint8 RGB, what `shots.shot` made of it), as they are written.

    Raises: InputError if it cannot be written.
    """
    folder = os.path.abspath(folder)
    parent = os.path.dirname(folder)
    with writing(folder):
        os.makedirs(parent, exist_ok=True)
        with aside(parent) as fresh:
            embedded, names = {}, sheet_names(evaluation.rows, evaluation.report.get("data"))
            pictures = _write_pictures(fresh, _sheets(drawn, embedded), names)
            write_json(os.path.join(fresh, REPORT), evaluation.report)
            write_text(os.path.join(fresh, PAGE), page.build(evaluation, embedded))
            write_text(os.path.join(fresh, PREDICTIONS), predictions(evaluation, pictures))
            write_text(os.path.join(fresh, REGIONS), regions(evaluation.rows))
            sync_tree(fresh)
            _put_in_place(fresh, folder)


def restore(folder: str) -> None:
    """Put back the earlier report of `folder` where a command was killed between moving it away and replacing it.

    Every command that reads or writes a report calls this first. InputError if it cannot be put back.
    """
    folder = os.path.abspath(folder)
    kept = _beside(folder, "old")
    if os.path.isdir(kept):
        with writing(folder), _alone(folder):
            if not os.path.exists(folder):
                with contextlib.suppress(FileNotFoundError):  # it is in its place meanwhile, or done with
                    os.rename(kept, folder)
            elif os.path.isfile(os.path.join(folder, REPORT)):
                shutil.rmtree(kept, ignore_errors=True)


def predictions(evaluation, pictures) -> str:
    """One CSV row an image. `decision`: one of `thresholds.VERDICTS`, empty without a threshold."""
    thresholds = evaluation.report["thresholds"]
    limits, limits_roi = (Limits.of(thresholds, inside) for inside in (False, True))
    limits_roi = limits_roi if "image_roi" in thresholds else None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "defect", "score", "decision", "label_roi", "score_roi", "decision_roi",
                     "regions", "picture"])
    for row in evaluation.rows:
        writer.writerow([row.path, row.label, row.defect,
                         f"{row.score:.7g}", decide(row.score, limits), row.label_roi,
                         f"{row.score_roi:.7g}", decide(row.score_roi, limits_roi),
                         "" if row.n_regions is None else row.n_regions, pictures.get(row.path, "")])
    return text.getvalue()


def read_predictions(folder) -> list:
    """What `predictions` wrote, a {column: text} an image; [] where it is not there or cannot be read."""
    try:
        with open(os.path.join(folder, PREDICTIONS), encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error):
        return []


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


def decide(score, limits):
    return "" if limits is None else limits.verdict(score)


def most_telling(rows, records, limit, thresholds):
    """At most `limit` records, worst misses and worst false alarms first; a few places are kept for the best finds and
    the highest scores of good pictures, so that a comparison can show them."""
    name, field = ("image_roi", "score_roi") if "image_roi" in thresholds else ("image", "score")
    level = thresholds.get(name, {}).get("value", 0.5)

    def wrongness(i):
        margin = getattr(rows[i], field) - level
        return -margin if rows[i].label_roi else margin

    order = sorted(range(len(rows)), key=wrongness, reverse=True)
    good, bad = ([i for i in order if bool(rows[i].label_roi) == label] for label in (False, True))
    kept = [i for i in (*bad[::-1][:BEST], *good[:BEST]) if i not in order[:limit]][:limit // 4]
    chosen = {*order[:limit - len(kept)], *kept}
    return [records[i] for i in order if i in chosen]


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


def sheet_names(rows, root=None) -> dict:
    """{path of a picture: path of its sheet within the report}, "/" between its parts: pictures/<defect>/<stem>.jpg.

    A part of a digest of the path, from the data folder `root` on, is added where two would have one name (000.png and
    000.bmp; capitals do not count, as they do not on Windows), and where the name would be too long.
    """
    plain = {row.path: f"{PICTURES}/{row.defect}/{_stem(row.path)}.jpg" for row in rows}
    count = collections.Counter(name.casefold() for name in plain.values())
    names = {}
    for row in rows:
        name = plain[row.path]
        if count[name.casefold()] > 1 or len(os.fsencode(os.path.basename(name))) > LONGEST:
            relative = os.path.relpath(row.path, root) if root else row.path
            end = f"-{hashlib.sha256(os.fsencode(relative.replace(os.sep, '/'))).hexdigest()[:12]}.jpg"
            short = os.fsencode(_stem(row.path))[:LONGEST - len(end)].decode("utf-8", "ignore")
            name = f"{PICTURES}/{row.defect}/{short}{end}"
        names[row.path] = name
    return names


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _sheets(drawn, embedded):
    """(record, sheet) of each; fills `embedded`, {path of the image: its shot}, until the page has enough of them."""
    room = page.BYTES
    for record, sheet, shot in drawn:
        room -= shots.size(shot)
        if room >= 0 or not embedded:
            embedded[record.image] = shot
        yield record, sheet


def _write_pictures(folder, sheets, names):
    """{path of the image: path of its sheet within the report}."""
    written = {}
    for record, sheet in sheets:
        path = os.path.join(folder, names[record.image])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as stream:  # "x": no two pictures share a sheet
            stream.write(cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        written[record.image] = names[record.image]
    return written


def _put_in_place(fresh, folder):
    """Rename `fresh` to `folder`. A kill in between leaves what stood there for `restore`."""
    kept = _beside(folder, "old")
    restore(folder)
    with _alone(folder):
        if os.path.isdir(folder):
            os.rename(folder, kept)
        try:
            os.rename(fresh, folder)
        except OSError:
            if os.path.isdir(kept):
                os.rename(kept, folder)
            raise
        sync(os.path.dirname(folder))
        shutil.rmtree(kept, ignore_errors=True)


def _beside(folder, ending):
    """A hidden name beside `folder` that is always the same, and short."""
    digest = hashlib.sha256(os.fsencode(os.path.basename(folder))).hexdigest()[:16]
    return os.path.join(os.path.dirname(folder), f".grdnet-{digest}.{ending}")


def _alone(folder):
    return lock(_beside(folder, "lock"), wait=60.0)
