"""Small SVG charts as text: curves, score histograms, bars. They take the page's colours, so that they follow its theme."""
from html import escape

import numpy as np

_W, _H = 340, 250                                # of a whole chart
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 14, 12, 38    # its margins


def curve(x, y, x_label, y_label, chance=None) -> str:
    """A line through points in [0, 1] x [0, 1]. `chance`: y at x = 0 and at x = 1 of a dashed line for comparison."""
    parts = _axes(x_label, y_label)
    if chance is not None:
        parts.append(f'<line class="chance" x1="{_x(0):.1f}" y1="{_y(chance[0]):.1f}" x2="{_x(1):.1f}" y2="{_y(chance[1]):.1f}"/>')
    points = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in zip(x, y))
    parts.append(f'<polyline class="curve" points="{points}"/>')
    return _svg(parts, f"{y_label} over {x_label}")


def score_histogram(good, defective, threshold=None, bins=40) -> str:
    """Scores in [0, 1] of good (upwards) and defective (downwards) images, and the threshold as a line.

    Each half is scaled to its own highest bar: what counts is where they overlap, not how many there are.
    """
    values = np.concatenate([good, defective])
    high = max(float(values.max()) * 1.02, 1e-6, threshold * 1.05 if threshold is not None else 0)
    parts = _axes("score", "good  |  defective", x_top=high, y_ticks=())
    middle = _y(0.5)
    for scores, name, direction in ((good, "good", -1), (defective, "defective", 1)):
        counts, edges = np.histogram(scores, bins=bins, range=(0, high))
        for count, left, right in zip(counts, edges[:-1], edges[1:]):
            if count:
                length = (_H - _TOP - _BOTTOM) / 2 * 0.95 * count / counts.max()
                top = middle - length if direction < 0 else middle
                title = f"{name}: {count} images, score {left:.3g} to {right:.3g}"
                parts.append(f'<rect class="{name}" x="{_x(left / high):.1f}" y="{top:.1f}" '
                             f'width="{_x(right / high) - _x(left / high):.1f}" height="{length:.1f}"><title>{title}</title></rect>')
    if threshold is not None:
        at = _x(threshold / high)
        side = ("end", -4) if threshold / high > 0.6 else ("start", 4)
        parts.append(f'<line class="threshold" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_H - _BOTTOM}"/>'
                     f'<text x="{at + side[1]:.1f}" y="{_TOP + 9}" text-anchor="{side[0]}">threshold {threshold:.4g}</text>')
    return _svg(parts, "scores of good and defective images")


def bars(rows) -> str:
    """Horizontal bars of (name, value in [0, 1] or None, note at the end of the bar)."""
    width, step, left = 700, 26, 170
    parts = []
    for i, (name, value, note) in enumerate(rows):
        y = 8 + i * step
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(_short(name))}<title>{escape(name)}</title></text>'
                     f'<rect class="back" x="{left}" y="{y}" width="{width - left - 130}" height="18"/>')
        if value is not None:
            parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{(width - left - 130) * value:.1f}" height="18"/>')
        parts.append(f'<text x="{width - 122}" y="{y + 13}">{escape(note)}</text>')
    return _svg(parts, "bars", width, 16 + step * len(rows))


def _axes(x_label, y_label, x_top=1.0, y_ticks=(0, 0.25, 0.5, 0.75, 1)):
    parts = [f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_W - _LEFT - _RIGHT}" height="{_H - _TOP - _BOTTOM}"/>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{_x(tick):.1f}" y="{_H - _BOTTOM + 14}" text-anchor="middle">{tick * x_top:.3g}</text>')
    for tick in y_ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{_y(tick):.1f}" x2="{_W - _RIGHT}" y2="{_y(tick):.1f}"/>'
                     f'<text x="{_LEFT - 5}" y="{_y(tick) + 3:.1f}" text-anchor="end">{tick:g}</text>')
    middle = (_TOP + _H - _BOTTOM) / 2
    parts.append(f'<text x="{(_LEFT + _W - _RIGHT) / 2}" y="{_H - 6}" text-anchor="middle">{escape(x_label)}</text>'
                 f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')
    return parts


def _x(value):
    return _LEFT + value * (_W - _LEFT - _RIGHT)


def _y(value):
    return _H - _BOTTOM - value * (_H - _TOP - _BOTTOM)


def _short(name, length=26):
    return name if len(name) <= length else name[:length - 1] + "…"


def _svg(parts, title, width=_W, height=_H):
    return (f'<svg viewBox="0 0 {width} {height}" role="img" style="max-width:{width}px"><title>{escape(title)}</title>'
            + "".join(parts) + "</svg>")
