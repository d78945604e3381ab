"""Small charts as SVG text: curves, score histograms; and bars. The page's style sheet gives the colours.

An <svg> says in data-plot ("left top width height") where its axes lie: the page's script moves what is on it.
"""
from html import escape
from typing import NamedTuple

import numpy as np

QUARTERS = (0, 0.25, 0.5, 0.75, 1)


class Plot(NamedTuple):
    """Size of a chart, and the margins around its axes."""
    width: float
    height: float
    left: float = 44
    top: float = 14
    right: float = 22
    bottom: float = 38

    def x(self, share):
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share):
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


SQUARE, WIDE = Plot(340, 250), Plot(700, 240)


def ticks(high, least=4):
    """Round numbers, 1, 2 or 5 times a power of ten apart, from 0 to `high` > 0: at least `least` steps."""
    power = 10.0 ** np.floor(np.log10(high / least))
    step = max(factor * power for factor in (1, 2, 5) if factor * power <= high / least * (1 + 1e-9))
    return [step * i for i in range(int(high / step + 1e-6) + 1)]


def curve(x, y, x_label, y_label, chance=None) -> str:
    """A line through points in [0, 1] x [0, 1]; "at" marks where a threshold lies, hidden until it is placed."""
    plot = SQUARE
    return _svg([*_curve_axes(plot, x_label, y_label, chance), _polyline(plot, "curve", x, y),
                 '<circle class="at" r="5" hidden=""/>'], f"{y_label} over {x_label}", plot)


def curves(lines, x_label, y_label, chance=None) -> str:
    """Several lines (name, x, y) over each other, told apart by colour and dashes, and a legend.

    Args:
      chance: y at x = 0 and at x = 1 of a line for comparison.
    """
    below = 12 + 16 * len(lines)  # of the label of x, and of the legend
    plot = Plot(SQUARE.width, SQUARE.height + below, bottom=SQUARE.bottom + below)
    parts = _curve_axes(plot, x_label, y_label, chance)
    for i, (name, x, y) in enumerate(lines):
        row = SQUARE.height + 12 + 16 * i
        parts += [_polyline(plot, f"curve run{i % 8}", x, y), _line(f"curve run{i % 8}", plot.left, row, 80, row),
                  _text(86, row + 4, name if len(name) <= 38 else name[:37] + "…")]
    return _svg(parts, f"{y_label} over {x_label}", plot)


def score_axis(good, defective, threshold=None) -> float:
    """The right end of the scores' axis: a round number above all of them."""
    high = max(np.concatenate([good, defective, [1e-6, 0.0 if threshold is None else threshold]]))
    step = ticks(high)[1]
    return float(step * np.ceil(high / step * 1.0001))


def score_histogram(good, defective, threshold=None, look=None, bins=60) -> str:
    """Scores in [0, 1] of good (upwards) and defective (downwards) images, and the threshold as a line.

    `defective` None: nobody knows which are, all of them point upwards. `look`: the threshold of looking again.

    Each half is scaled to its own highest bar: what counts is where they overlap, not how many there are. The line
    "tried" is a threshold that is tried in the page. Above it stands the legend.
    """
    labelled = defective is not None
    plot, high = WIDE, score_axis(good, defective if labelled else (), threshold)
    parts = _axes(plot, "score", "images", [(value / high, f"{value:.6g}") for value in ticks(high)], ())
    middle = plot.y(0.5 if labelled else 0)
    half = middle - plot.y(1)
    parts.append(_line("frame", plot.left, middle, plot.x(1), middle))
    for scores, name in ((good, "good"), (defective, "defective")) if labelled else ((good, "good"),):
        counts, edges = np.histogram(scores, bins=bins, range=(0, high))
        most, up = max(counts.max(), 1), name == "good"
        for value in ticks(most, 1)[-1:]:
            at = middle - (1 if up else -1) * 0.92 * half * value / most
            parts += [_line("grid", plot.left, at, plot.x(1), at), _text(plot.left - 5, at + 3, f"{value:g}", "end")]
        for count, left, right in zip(counts, edges[:-1], edges[1:]):
            if count:
                length = 0.92 * half * count / most
                kind, ending = f"{name}: " if labelled else "", "" if count == 1 else "s"
                title = f"{kind}{count} image{ending}, score {left:.3g} to {right:.3g}"
                parts.append(_rect(name, plot.x(left / high), middle - length if up else middle,
                                   plot.x(right / high) - plot.x(left / high), length, title))
    words = [("good", f"{len(good)} pictures")]
    if labelled:
        words = [("good", f"{len(good)} good, upwards"), ("defective", f"{len(defective)} defective, downwards")]
    if threshold is not None:
        at = plot.x(threshold / high)
        parts.append(_line("threshold", at, plot.top, at, plot.y(0)))
        words.append(("threshold", f"threshold {threshold:.4g}, stored"))
    if look is not None and look < threshold:
        at = plot.x(look / high)
        parts.append(_line("look-line", at, plot.top, at, plot.y(0)))
        words.append(("look", f"look again from {look:.4g}"))
    parts += ['<g class="tried">', _line("tried-line", 0, plot.top, 0, plot.y(0)), "</g>"]
    legend = "".join(f'<span><i class="of-{name}"></i>{text}</span> ' for name, text in words)
    return (f'<p class="legend small">{legend}<span class="tried"><i class="of-tried"></i>tried here</span></p>'
            + _svg(parts, "scores of good and defective images" if labelled else "scores", plot))


def bars(rows) -> str:
    """Horizontal bars of (name, value in [0, 1] or None, note at the end of the bar), as HTML that takes any width."""
    lines = [f'<span>{escape(name)}</span><span class="back">'
             f'<i class="bar" style="width:{100 * (value or 0):.1f}%"></i></span><span>{escape(note)}</span>'
             for name, value, note in rows]
    return f'<div class="bars small">{"".join(lines)}</div>'


def _curve_axes(plot, x_label, y_label, chance):
    quarters = [(tick, f"{tick:g}") for tick in QUARTERS]
    parts = _axes(plot, x_label, y_label, quarters, quarters)
    if chance is not None:
        parts.append(_line("chance", plot.x(0), plot.y(chance[0]), plot.x(1), plot.y(chance[1])))
    return parts


def _axes(plot, x_label, y_label, x_ticks, y_ticks):
    """Frame, labels and ticks (share of the axis, text)."""
    parts = [_rect("frame", plot.left, plot.top, plot.x(1) - plot.left, plot.y(0) - plot.top)]
    for at, text in x_ticks:
        parts += [_line("grid", plot.x(at), plot.y(0), plot.x(at), plot.y(0) + 4),
                  _text(plot.x(at), plot.y(0) + 15, text, "middle")]
    for at, text in y_ticks:
        parts += [_line("grid", plot.left, plot.y(at), plot.x(1), plot.y(at)),
                  _text(plot.left - 5, plot.y(at) + 3, text, "end")]
    parts.append(_text(plot.x(0.5), plot.y(0) + 32, x_label, "middle"))
    turned = f'<g transform="translate(12 {plot.y(0.5)}) rotate(-90)">'
    return [*parts, turned + _text(0, 0, y_label, "middle") + "</g>"]


def _polyline(plot, name, x, y):
    points = " ".join(f"{plot.x(a):.1f},{plot.y(b):.1f}" for a, b in zip(x, y))
    return f'<polyline class="{name}" points="{points}"/>'


def _line(name, x1, y1, x2, y2):
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _rect(name, x, y, width, height, title=""):
    return (f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f'<title>{escape(title)}</title></rect>')


def _text(x, y, text, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts, title, plot):
    axes = f"{plot.left:g} {plot.top:g} {plot.x(1) - plot.left:g} {plot.y(0) - plot.top:g}"
    return (f'<svg viewBox="0 0 {plot.width:g} {plot.height:g}" data-plot="{axes}" role="img">'
            f'<title>{escape(title)}</title>{"".join(parts)}</svg>')
