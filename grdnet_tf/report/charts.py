"""Small SVG charts as text: curves, score histograms, bars. The page's style sheet gives the colours."""
from html import escape

import numpy as np

_W, _H = 340, 250                                # of a whole chart
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 14, 22, 38    # its margins
_WIDE, _NAMES, _NOTES, _STEP = 700, 170, 130, 26  # bars: width, room for names and notes, height of a row


def curve(x, y, x_label, y_label, chance=None) -> str:
    """A line through points in [0, 1] x [0, 1]. `chance`: y at x = 0 and at x = 1 of a dashed line for comparison."""
    parts = _axes(x_label, y_label)
    if chance is not None:
        parts.append(_line("chance", _x(0), _y(chance[0]), _x(1), _y(chance[1])))
    points = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in zip(x, y))
    parts.append(f'<polyline class="curve" points="{points}"/>')
    return _svg(parts, f"{y_label} over {x_label}")


def score_histogram(good, defective, threshold=None, bins=40) -> str:
    """Scores in [0, 1] of good (upwards) and defective (downwards) images, and the threshold as a line.

    Each half is scaled to its own highest bar: what counts is where they overlap, not how many there are.
    """
    high = 1.02 * max(np.concatenate([good, defective, [1e-6, 0.0 if threshold is None else threshold]]))
    step = 0.2 * 10.0 ** np.floor(np.log10(high))
    high = step * np.ceil(high / step)  # round numbers at the ticks
    parts = _axes("score", "good  |  defective", x_top=high, y_ticks=())
    middle, half = _y(0.5), (_H - _TOP - _BOTTOM) / 2
    for scores, name in ((good, "good"), (defective, "defective")):
        counts, edges = np.histogram(scores, bins=bins, range=(0, high))
        for count, left, right in zip(counts, edges[:-1], edges[1:]):
            if count:
                length = 0.95 * half * count / counts.max()
                title = f"{name}: {count} images, score {left:.3g} to {right:.3g}"
                parts.append(_rect(name, _x(left / high), middle - length if name == "good" else middle,
                                   _x(right / high) - _x(left / high), length, title))
    if threshold is not None:
        at = _x(threshold / high)
        anchor, shift = ("end", -4) if threshold / high > 0.6 else ("start", 4)
        parts += [_line("threshold", at, _TOP, at, _H - _BOTTOM),
                  _text(at + shift, _TOP + 9, f"threshold {threshold:.4g}", anchor)]
    return _svg(parts, "scores of good and defective images")


def bars(rows) -> str:
    """Horizontal bars of (name, value in [0, 1] or None, note at the end of the bar)."""
    parts = []
    for i, (name, value, note) in enumerate(rows):
        y = 8 + i * _STEP
        parts += [_text(_NAMES - 8, y + 13, name if len(name) <= 26 else name[:25] + "…", "end"),
                  _rect("back", _NAMES, y, _WIDE - _NAMES - _NOTES, 18, name),
                  _text(_WIDE - _NOTES + 8, y + 13, note)]
        if value:
            parts.append(_rect("bar", _NAMES, y, (_WIDE - _NAMES - _NOTES) * value, 18, name))
    return _svg(parts, "bars", _WIDE, 16 + _STEP * len(rows))


def _axes(x_label, y_label, x_top=1.0, y_ticks=(0, 0.25, 0.5, 0.75, 1)):
    parts = [_rect("frame", _LEFT, _TOP, _W - _LEFT - _RIGHT, _H - _TOP - _BOTTOM)]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_text(_x(tick), _H - _BOTTOM + 14, f"{tick * x_top:.3g}", "middle"))
    for tick in y_ticks:
        parts += [_line("grid", _LEFT, _y(tick), _W - _RIGHT, _y(tick)),
                  _text(_LEFT - 5, _y(tick) + 3, f"{tick:g}", "end")]
    parts.append(_text((_LEFT + _W - _RIGHT) / 2, _H - 6, x_label, "middle"))
    turned = f'<g transform="translate(12 {(_TOP + _H - _BOTTOM) / 2}) rotate(-90)">'
    parts.append(turned + _text(0, 0, y_label, "middle") + "</g>")
    return parts


def _x(value):
    return _LEFT + value * (_W - _LEFT - _RIGHT)


def _y(value):
    return _H - _BOTTOM - value * (_H - _TOP - _BOTTOM)


def _line(name, x1, y1, x2, y2):
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _rect(name, x, y, width, height, title=""):
    return (f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f'<title>{escape(title)}</title></rect>')


def _text(x, y, text, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts, title, width=_W, height=_H):
    return f'<svg viewBox="0 0 {width} {height}" role="img"><title>{escape(title)}</title>{"".join(parts)}</svg>'
