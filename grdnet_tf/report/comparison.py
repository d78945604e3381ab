"""Several evaluated runs side by side: one table on the console, one page, one JSON file."""
import os
from html import escape
from typing import List, NamedTuple

import numpy as np

from ..data import turning
from ..errors import InputError
from ..evaluation.thresholds import ACCEPTED, LOOK, REJECTED
from ..storage import read_json, write_json, write_text, writing
from . import charts, gallery, page
from .report import PAGE, REPORT, read_predictions, restore

TEMPLATE = os.path.join(page.HERE, "comparison_page.html")
JSON, HTML = "comparison.json", "comparison.html"
KEYS = ("image_auroc", "image_ap", "accuracy", "pixel_auroc", "pixel_ap", "aupro")
LINE = ("false_reject_rate", "miss_rate", "false_look_rate")  # what the line asks first: less is better
FULL = 0.1  # a difference that has the full colour
# What tells data and repetitions apart, and what changes no figure: not variants of the method.
NOT_SETTINGS = ("data.root", "train.seed", "train.image_every", "train.checkpoint_steps", "train.deterministic",
                "data.cache", "data.cache_gb", "data.parallel_calls", "origin.weights_sha256", "origin.updates")
PATHS = ("origin.parent", "noise.real", "noise.textures", "data.add_good")  # of which the last part says enough


class Entry(NamedTuple):
    """One run: its folder, its configuration as {"section.key": value}, its report and where that lies."""
    run: str
    settings: dict
    report: dict
    folder: str


def read(run, settings, folder=None) -> Entry:
    """The run's entry, out of RUN/evaluation. InputError if it has not been evaluated."""
    folder = folder or os.path.join(run, "evaluation")
    restore(folder)
    try:
        return Entry(run, settings, read_json(os.path.join(folder, REPORT)), folder)
    except ValueError:
        raise InputError(f"{os.path.join(folder, REPORT)}: damaged; run grdnet evaluate --run {run} again") from None
    except OSError:
        raise InputError(f"{run}: no report in {folder}; run grdnet evaluate --run {run} first") from None


def differing(entries: List[Entry]) -> List[str]:
    """The settings that differ between the runs that read them, but for those of `NOT_SETTINGS`; the method first."""
    keys = sorted({key for entry in entries for key in entry.settings}, key=lambda key: (key != "method", key))
    return [key for key in keys if key not in NOT_SETTINGS
            and len({repr(entry.settings[key]) for entry in entries if key in entry.settings}) > 1]


def suffix(entries) -> str:
    """The reading that is compared: inside the ROI, if every run has it."""
    return "_roi" if all(entry.report.get("n_defective_roi") is not None for entry in entries) else ""


def lines(entries) -> List[List[str]]:
    """Table of the runs, its heading first: name, data, seed, what differs, figures."""
    keys, reading = differing(entries), suffix(entries)
    rows = [["run", "data", "seed", *(key.split(".", 1)[-1] for key in keys), *(key + reading for key in KEYS)]]
    for entry in entries:
        rows.append([_name(entry), _data(entry), str(entry.settings.get("train.seed", "")),
                     *(_shown(key, entry.settings) for key in keys),
                     *(page.number(entry.report.get(key + reading)) for key in KEYS)])
    return rows


def pivot(entries) -> List[List[str]]:
    """Laid out as the paper's tables: a row for each data folder, a column for each variant, image (pixel) AUROC in %.

    Runs that differ by their seed alone share a cell: their mean, and their number if there are several.
    """
    keys, reading = differing(entries), suffix(entries)
    cells, variants, folders = {}, [], []
    for entry in entries:
        variant = ", ".join(f"{key.split('.', 1)[-1]} {_shown(key, entry.settings)}"
                            for key in keys if key in entry.settings) or "all alike"
        variants += [variant] if variant not in variants else []
        folders += [_data(entry)] if _data(entry) not in folders else []
        cells.setdefault((_data(entry), variant), []).append(entry.report)
    rows = [["data", *variants]]
    for folder in folders:
        rows.append([folder, *(_cell(cells.get((folder, variant), []), reading) for variant in variants)])
    return rows


def warnings(entries) -> List[str]:
    """What makes the numbers incomparable: runs on one data folder that were not judged on the same pictures."""
    found = []
    for entry in entries:
        first = next(other for other in entries if _data(other) == _data(entry))
        for key in ("split", "roi", "n_images", "n_defective", "tiles"):
            ours, theirs = entry.report.get(key), first.report.get(key)
            if ours != theirs:
                found.append(f"{entry.run}: {key} is {ours}, but {theirs} in {first.run}")
    return found


def verdicts(entries) -> List[str]:
    """Of how many pictures the verdict is another than in the first run on the same data: a line a run and label."""
    found = []
    for entry in entries:
        first = next(other for other in entries if _data(other) == _data(entry))
        ours, theirs = (_decisions(one, suffix(entries)) for one in (entry, first))
        if first is entry:
            continue
        for label, wrong, what in (("0", REJECTED, "good rejected"), ("1", ACCEPTED, "defects missed"),
                                   ("0", LOOK, "good to look at again"), ("1", LOOK, "defects to look at again")):
            shared = [path for path in ours if path in theirs and ours[path][0] == label]
            before, now = ({path for path in shared if those[path][1] == wrong} for those in (theirs, ours))
            if shared and (wrong != LOOK or before or now):
                found.append(f"{_name(entry)} against {_name(first)}: {what} {len(before)} -> {len(now)} of "
                             f"{len(shared)}, {len(before - now)} no more, {len(now - before)} newly")
    return found


def _decisions(entry, reading):
    """{path below the data folder: (label, decision)}; {} where they are not there."""
    root = entry.report.get("data") or ""
    try:
        return {os.path.relpath(row["path"], root): (row["label" + reading], row["decision" + reading])
                for row in read_predictions(entry.folder) if row["decision" + reading]}
    except (ValueError, KeyError):
        return {}


def write(folder, entries) -> None:
    """comparison.html and comparison.json. InputError if they cannot be written."""
    folder = os.path.abspath(folder)
    with writing(folder):
        os.makedirs(folder, exist_ok=True)
    names = [key + reading for reading in ("", "_roi", "_roi_unmasked") for key in KEYS]
    write_json(os.path.join(folder, JSON), {"differing": differing(entries), "warnings": warnings(entries), "runs": [
        {"run": entry.run, "data": entry.report.get("data"), "settings": entry.settings,
         "figures": {name: entry.report.get(name) for name in names}} for entry in entries]})
    write_text(os.path.join(folder, HTML), build(entries, folder))


def build(entries, folder) -> str:
    """The page; the names of runs link to their reports, relative to `folder`."""
    rows, grid, reading = lines(entries), pivot(entries), suffix(entries)
    first = len(rows[0]) - len(KEYS)
    heads = [*rows[0][:first], "good rejected", "defects missed", "good looked at again",
             *(key.replace("_", " ") for key in KEYS)]
    body = [[escape(cell) for cell in row[:first]] for row in rows[1:]]
    for row, entry in zip(body, entries):
        row[0] = _link(entry, folder)
    for key in (*LINE, *KEYS):
        for row, cell in zip(body, _figures(entries, key, reading)):
            row.append(cell)
    return page.fill(TEMPLATE, {
        "warnings": "".join(f'<p class="small">Warning: {escape(line)}</p>' for line in warnings(entries)),
        "reading": page.READINGS[reading].lower().replace("roi", "ROI"), "runs": page.table(heads, body),
        "curves": _curves(entries, reading),
        "verdicts": "".join(f"<p>{escape(line)}</p>" for line in verdicts(entries)),
        "grid": page.table(grid[0], [[escape(cell) for cell in row] for row in grid[1:]]),
        "pictures": _pictures(entries, reading, folder)})


def _link(entry, folder):
    """The run's name, which leads to its report."""
    link = os.path.relpath(os.path.join(entry.folder, PAGE), folder).replace(os.sep, "/")
    return f'<a href="{escape(link)}">{escape(_name(entry))}</a>'


def _pictures(entries, reading, folder):
    """A row of pictures a run, as long as the page has room for them."""
    parts, room = [], page.BYTES
    for entry in entries:
        levels = [(words, entry.report.get(key + reading)) for words, key in
                  (("rejected above", "threshold"), ("looked at again above", "look"))]
        facts = [escape(_data(entry)), *(f"{words} {level:.4g}" for words, level in levels if level is not None)]
        row = gallery.row(entry.folder, reading, folder)
        room -= len(row)
        if room < 0:
            row = '<p class="soft small">The page has no room for more pictures; compare fewer runs.</p>'
        parts.append(f'<h3 class="of-run">{_link(entry, folder)} '
                     f'<span class="soft small">{" · ".join(facts)}</span></h3>{row}')
    return "".join(parts)


def _figures(entries, key, reading):
    """A cell a run: the value, the best bold, and how far it is from the first run on the same data, in colour."""
    values, less = [entry.report.get(key + reading) for entry in entries], key in LINE
    known = [value for value in values if value is not None]
    best, cells = (min if less else max)(known) if known else None, []
    for entry, value in zip(entries, values):
        text = (f"{value:.1%}" if value is not None else "–") if less else page.number(value)
        text = f"<b>{text}</b>" if value is not None and value == best else text
        first = next(other for other in entries if _data(other) == _data(entry))
        start = first.report.get(key + reading)
        difference = None if first is entry or value is None or start is None else value - start
        if not difference:
            cells.append(text)
            continue
        words = f"{100 * difference:+.1f}" if less else f"{difference:+.3f}"
        tint, share = "better" if (difference < 0) == less else "worse", min(abs(difference) / FULL, 1)
        cells.append((f"{text} <small>{words}</small>",
                      f' class="difference" style="--tint:var(--{tint}); --share:{0.1 + 0.45 * share:.2f}"'))
    return cells


def _curves(entries, reading):
    """ROC and precision over recall of the runs over each other, a pair of charts a data folder."""
    parts = []
    for folder in dict.fromkeys(map(_data, entries)):
        found = [(_name(entry), (entry.report.get("curves") or {}).get(reading)) for entry in entries
                 if _data(entry) == folder]
        found = [(name, curve) for name, curve in found if curve]
        if not found:
            continue
        for title, x, y, labels, chance in (
                ("ROC", "fpr", "tpr", ("false-reject rate", "found defects"), (0, 1)),
                ("Precision and recall", "tpr", "precision", ("recall", "precision"), None)):
            chart = charts.curves([(name, curve[x], curve[y]) for name, curve in found], *labels, chance)
            parts.append(f'<div class="chart"><h3>{title}: {escape(folder)}</h3>{chart}</div>')
    return "".join(parts)


def _cell(reports, reading):
    """Mean image (pixel) AUROC in % of the reports that have them."""
    parts = []
    for key in ("image_auroc", "pixel_auroc"):
        values = [report[key + reading] for report in reports if report.get(key + reading) is not None]
        parts.append(f"{100 * np.mean(values):.1f}" if values else "–")
    if not reports:
        return "–"
    return f"{parts[0]} ({parts[1]})" + (f", {len(reports)} runs" if len(reports) > 1 else "")


def _name(entry):
    return os.path.basename(os.path.normpath(entry.run))


def _data(entry):
    root = entry.settings.get("data.root") or ""
    return os.path.basename(os.path.normpath(entry.report.get("data") or turning.source(root) or root))


def _shown(key, settings):
    """A setting in a cell; "–" where the run's method does not read it."""
    value = settings.get(key, "–")
    if key in PATHS and value:
        names = [os.path.basename(os.path.normpath(path)) for path in ([value] if isinstance(value, str) else value)]
        value = names[0] if isinstance(value, str) else names
    if isinstance(value, (list, tuple)):
        return "-".join(map(str, value))
    if isinstance(value, dict):
        return " ".join(f"{key}:{number:g}" for key, number in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
