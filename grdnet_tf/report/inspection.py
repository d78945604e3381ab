"""index.html of pictures that nobody has labelled: how many were rejected, the scores, the pictures with their maps."""
import datetime
import os
from html import escape
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from . import charts, page

SECTION = os.path.join(page.HERE, "inspection_section.html")
DECISIONS = {"reject": "rejected", "look": "look again", "accept": "accepted"}
NAMED = 50  # unreadable files that the page names


class Shown(NamedTuple):
    """A picture in the gallery: its name and group, its score, its regions, and what `shots.embed` made of it."""
    name: str
    group: str
    score: float
    n_regions: int
    shot: dict


class Summary(NamedTuple):
    """What the page says of all pictures, also of those that are not shown.

    `scores`: of all that were judged, or of the last ones; `judged`: how many these were; `unreadable`: how many, and
    the first of them (name, reason).
    """
    model: str
    source: str
    threshold: float
    look: float
    scores: Sequence[float]
    judged: int
    unreadable: int
    reasons: List[Tuple[str, str]]
    command: Optional[str] = None  # that keeps another threshold, which follows it


def build(summary: Summary, shown: Sequence[Shown]) -> str:
    """The page, which needs no network; pictures of an earlier session are links to files beside it."""
    groups = sorted({one.group for one in shown}) or ["."]
    scores = np.asarray(summary.scores, float)
    images = [{"name": one.name, "type": one.group, "label": None, "label_roi": None, "score": one.score,
               "score_roi": one.score, "n_regions": one.n_regions, **one.shot} for one in shown]
    data = {"reading": "", "types": groups, "images": images, "thresholds": {"image": summary.threshold, "look": summary.look},
            "rows": [[score, score, None, None, 0] for score in scores.round(6).tolist()],
            "intervals": {}, **page.colours(), "command": summary.command or ""}
    missing = summary.judged - len(scores)
    facts = [f"model <code>{escape(summary.model)}</code>", f"pictures <code>{escape(summary.source)}</code>",
             f"{datetime.datetime.now():%Y-%m-%d %H:%M}", *page.versions()]
    few = f"The {len(images)} highest scores of {summary.judged}." if len(images) < summary.judged else ""
    return page.fill(page.TEMPLATE, {
        "title": "GRD-Net inspection", "facts": " · ".join(facts), "switch": "", "sizes": "", "warnings":
        f'<p class="small">The counts and the histogram are of the last {len(scores)} pictures.</p>' if missing else "",
        "sections": _section(summary, scores), "shown": few, "outlines": "", "types": "Folder",
        "decisions": page.options(DECISIONS), "data": page.in_script(data)})


def _section(summary, scores):
    return page.fill(SECTION, {
        "high": f"{charts.score_axis(scores, (), summary.threshold):.9g}", "judged": str(len(scores)),
        "threshold": page.threshold(charts.score_histogram(scores, None, summary.threshold, summary.look), summary.command),
        "unreadable": _unreadable(summary)})


def _unreadable(summary):
    if not summary.unreadable:
        return ""
    lines = "".join(f"<li><code>{escape(name)}</code>: {escape(reason)}</li>" for name, reason in summary.reasons)
    return (f'<div class="claim"><span class="count"><b>{summary.unreadable}</b> unreadable</span>'
            '<span>not judged, so never good</span>'
            f'<details class="small"><summary>why</summary><ul>{lines}</ul></details></div>')
