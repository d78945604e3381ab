"""The pictures of one evaluated run in the page of several: its best finds, its worst misses, its worst false alarms.

They are cut out of the sheets that the evaluation drew; nothing is predicted again.
"""
import os
from html import escape
from typing import List, NamedTuple, Optional
from urllib.parse import quote

import cv2
import numpy as np

from ..evaluation.thresholds import ACCEPTED, LOOK, REJECTED
from . import pictures, shots
from .report import read_predictions

FINDS, MISSES, ALARMS = 3, 3, 2
WORDS = {REJECTED: "rejected", LOOK: "look again", ACCEPTED: "accepted", "": "no threshold"}
GOOD = {"": "good pictures", "_roi": "pictures without a defect inside the ROI"}
HALF = 127  # of the white in a sheet, which JPEG blurs
NOTHING = '<p class="soft small">{} <code>grdnet evaluate --pictures N</code> draws them.</p>'


class Judged(NamedTuple):
    """A row of predictions.csv in one reading; `picture`: its sheet within the folder, "" if there is none."""
    path: str
    defect: str
    label: int
    score: float
    decision: str
    picture: str


class Group(NamedTuple):
    """Pictures and their panels; passed over before: how many have no sheet, how many are not marked there."""
    shown: list
    without: int
    astray: int


def row(folder, reading, out) -> str:
    """HTML of one run's pictures, and in words what is missing; sheets are linked to, relative to the folder `out`.

    Args:
      folder: of the evaluation.
      reading: "" or "_roi".
    """
    judged = read(folder, reading)
    if not judged:
        return NOTHING.format("This evaluation has no scores of single pictures.")
    if not any(one.picture for one in judged):
        return NOTHING.format("This evaluation holds no pictures.")
    known = any(one.decision for one in judged)
    bad, good = ([one for one in judged if one.label == label] for label in (1, 0))
    rejected = [one for one in bad if one.decision == REJECTED] if known else bad
    finds = first(_falling(rejected), FINDS, folder, located if known else None)
    others = [one for one in bad if one not in [find for find, _ in finds.shown]]
    misses = first(_falling(others)[::-1], MISSES, folder)
    alarms = first(_falling(good), ALARMS, folder)
    groups = [
        ("Best finds: the highest scores of defects that were rejected and marked where they lie", finds, "finds",
         "" if rejected else "No defective picture was rejected." if bad else "There is no defective picture."),
        ("Worst misses: the lowest scores of defects", misses, "misses", _near(
            others, ACCEPTED, known, f"There is no {'other ' if bad else ''}defective picture.",
            "No defect was accepted; these come nearest.")),
        (f"Worst false alarms: the highest scores of {GOOD[reading]}", alarms, "alarms", _near(
            good, REJECTED, known, "There is no good picture.", "No good picture was rejected; these come nearest."))]
    return '<div class="told">' + "".join(
        f'<section class="{name}"><h4>{title}</h4>'
        f'<p class="soft small">{" ".join(filter(None, [words, *_missing(group)]))}</p><div class="cards">'
        + "".join(_card(one, panels, folder, out) for one, panels in group.shown) + "</div></section>"
        for title, group, name, words in groups) + "</div>"


def read(folder, reading) -> List[Judged]:
    """The rows of predictions.csv; [] where there are none, or where they lack a column."""
    try:
        return [Judged(line["path"], line["defect"], int(line["label" + reading]), float(line["score" + reading]),
                       line["decision" + reading], line["picture"]) for line in read_predictions(folder)]
    except (KeyError, TypeError, ValueError):
        return []


def first(candidates, count, folder, fits=None) -> Group:
    """The first `count` candidates that have a sheet, whose panels `fits` if that is given."""
    shown, without, astray = [], 0, 0
    for one in candidates:
        if len(shown) == count:
            break
        panels = sheet(os.path.join(folder, *one.picture.split("/"))) if one.picture else None
        if panels is None:
            without += 1
        elif fits and not fits(panels):
            astray += 1
        else:
            shown.append((one, panels))
    return Group(shown, without, astray)


def sheet(path) -> Optional[dict]:
    """`pictures.panels` of a file; None where it is gone or no sheet."""
    try:
        with open(path, "rb") as stream:
            contents = np.frombuffer(stream.read(), np.uint8)
    except OSError:
        return None
    pixels = cv2.imdecode(contents, cv2.IMREAD_COLOR) if contents.size else None
    return None if pixels is None else pictures.panels(pixels[..., ::-1])


def located(panels) -> bool:
    """Whether a found region touches the ground truth; True where that is not known."""
    truth, found = (panels[name].max(axis=2) > HALF for name in ("truth", "regions"))
    return not truth.any() or bool((truth & found).any())


def _falling(judged):
    """The highest score first."""
    return sorted(judged, key=lambda one: one.score, reverse=True)


def _near(judged, wrong, known, none, nearest):
    """The words where no decision is the wrong one."""
    if not judged:
        return none
    return nearest if known and not any(one.decision == wrong for one in judged) else ""


def _missing(group):
    """What would have stood there, in words."""
    words = []
    if group.without:
        words.append(f"Passed over: {group.without} without a sheet; <code>grdnet evaluate --pictures N</code> draws more.")
    if group.astray:
        words.append(f"Passed over: {group.astray} rejected, but not marked on the defect.")
    return words


def _card(one, panels, folder, out):
    wrong = {(1, ACCEPTED): "miss", (0, REJECTED): "alarm"}.get((one.label, one.decision), "right")
    kind = {LOOK: "look", "": ""}.get(one.decision, wrong)
    name, defect = escape(os.path.basename(one.path)), escape(one.defect)
    link = os.path.relpath(os.path.join(folder, *one.picture.split("/")), out).replace(os.sep, "/")
    found, truth = (f'<path class="outline of-{kind}" d="{shots.outline(panels[panel].max(axis=2) > HALF)}"/>'
                    for kind, panel in (("found", "regions"), ("truth", "truth")))
    images = (_image(panels["image"], found + truth, f"{defect}, {name}: the picture, outlined")  # dashes on top
              + _image(panels["pooled"], truth, f"{defect}, {name}: the anomaly map over it, the truth outlined"))
    return (f'<figure class="seen {kind}"><a href="{escape(quote(os.fsencode(link)))}">{images}</a><figcaption>'
            f'<span class="tag">{WORDS.get(one.decision, "")}</span> · {one.score:.3g}<br>{defect}<br>{name}'
            '</figcaption></figure>')


def _image(panel, lines, words):
    """A panel under its outlines, sharp in any size; the sheet's own, of one pixel, are blurred by JPEG."""
    height, width = panel.shape[:2]
    return (f'<span class="stage" style="--shape:{width} / {height}; --width:{width}px"><img src="{shots.jpeg(panel)}" '
            f'alt="{words}"><svg viewBox="0 0 {width} {height}" aria-hidden="true">{lines}</svg></span>')
