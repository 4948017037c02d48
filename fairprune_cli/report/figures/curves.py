"""Curves over a common axis: in one frame, or each in a small one of its own where they are too many to tell apart."""

from __future__ import annotations

import math
from html import escape
from typing import TypeVar

from fairprune_cli.report.document import Line, Lines
from fairprune_cli.report.figures.axes import CHAR, STYLES, Scale, is_wide, px, svg_text, tick_text, ticks
from fairprune_cli.report.values import extent

MOST_POINTS = 300  # more than a curve can show on such a width
MOST_TOGETHER = 12  # six colours, with a whole or a broken stroke
MOST_PANELS = 60
T = TypeVar("T")


def curves(figure: Lines, width: int) -> tuple[float, list[str]]:
    """Height and elements of the figure `width` pixels wide."""
    return _apart(figure, width) if are_apart(figure) else _together(figure, width)


def are_apart(figure: Lines) -> bool:
    """Whether each curve has a frame of its own."""
    return len(figure.lines) > MOST_TOGETHER


def _reach(figure: Lines) -> tuple[tuple[float, float], tuple[float, float]]:
    """Least and greatest value along and upwards."""
    xs = [x for line in figure.lines for x in line.xs]
    ys = [y for line in figure.lines for y in line.ys if y is not None] + [rule.value for rule in figure.rules]
    low, high = extent(ys) or (0.0, 1.0)
    low = min(low, 0.0) if figure.from_zero else low
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.01
    low, high = (low if figure.from_zero and low == 0 else low - margin), high + margin
    if figure.unit == "percent":
        low, high = max(low, 0.0), high if high > 1.06 else min(high, 1.0)
    first, last = extent(xs) or (0.0, 1.0)
    return (first, last if last > first else first + 1), (low, high)


def _axis_name(figure: Lines) -> str:
    unit = {"percent": ", percent upwards", "points": ", points upwards", "number": ""}[figure.unit]
    return figure.x_label + unit


def _frame(figure: Lines, across: Scale, up: Scale, steps: tuple[int, int], named: tuple[bool, bool]) -> list[str]:
    """Grid, axis and bounds; ticks have their values where `named`, below and to the left."""
    body: list[str] = []
    for tick in ticks(up.low, up.high, steps[1]):
        y = up(tick)
        body.append(f'<line class="grid" x1="{px(across.start)}" x2="{px(across.end)}" y1="{px(y)}" y2="{px(y)}"/>')
        if named[1]:
            body.append(svg_text(across.start - 8, y + 4, tick_text(tick, figure.unit), "end", "tick"))
    for tick in ticks(across.low, across.high, steps[0]) if named[0] else []:
        if tick == round(tick):
            body.append(svg_text(across(tick), up.start + 17, tick_text(tick, "number"), "middle", "tick"))
    level = f'y1="{px(up.start)}" y2="{px(up.start)}"'
    body.append(f'<line class="axis" x1="{px(across.start)}" x2="{px(across.end)}" {level}/>')
    for rule in figure.rules:
        y = up(rule.value)
        body.append(f'<line class="rule" x1="{px(across.start)}" x2="{px(across.end)}" y1="{px(y)}" y2="{px(y)}"/>')
    return body


def _together(figure: Lines, width: int) -> tuple[float, list[str]]:
    wide = is_wide(width)
    left, right, top = 50.0, width - 14.0, 12.0
    bottom = top + (190.0 if wide else 150.0)
    along, upwards = _reach(figure)
    across, up = Scale(*along, left, right), Scale(*upwards, bottom, top)
    body = _frame(figure, across, up, (8 if wide else 5, 5), (True, True))
    body.append(svg_text((left + right) / 2, bottom + 35, _axis_name(figure), "middle", "tick"))
    body += [_curve(line, across, up) for line in figure.lines]
    for rule in figure.rules:
        # Gaps and sparsity end near their bounds and begin far from them, so the start has room for the name.
        y = up(rule.value)
        body.append(svg_text(left + 6, y - 5 if y - top > 18 else y + 14, rule.label, "start", "rulename"))
    return bottom + 42, body


def _apart(figure: Lines, width: int) -> tuple[float, list[str]]:
    """Small frames with one scale, each with its curve before the range of all of them."""
    left, gap, high, step = 40.0, 14.0, 62.0, 92.0
    longest = max(len(line.name) for line in figure.lines) * CHAR
    columns = max(1, min(5 if is_wide(width) else 2, int((width - left - gap) / (longest + gap))))
    wide = (width - left - gap * columns) / columns
    along, upwards = _reach(figure)
    shown = figure.lines[:MOST_PANELS]
    body: list[str] = []
    for i, line in enumerate(shown):
        column, row = i % columns, i // columns
        x, y = left + column * (wide + gap), row * step + 20.0
        across, up = Scale(*along, x, x + wide), Scale(*upwards, y + high, y)
        last = i + columns >= len(shown)
        body += _frame(figure, across, up, (3, 2), (last, column == 0))
        body.append(_range(figure, across, up))
        body.append(_curve(Line(line.name, line.xs, line.ys, 1), across, up))
        body.append(svg_text(x, y - 5, line.name, "start", "label", wide - 20))
    bottom = -(-len(shown) // columns) * step
    body.append(svg_text(width / 2, bottom + 22, _axis_name(figure), "middle", "tick"))
    return bottom + 30, body


def _range(figure: Lines, across: Scale, up: Scale) -> str:
    """From the lowest to the highest curve, wherever one is known."""
    by_x: dict[float, list[float]] = {}
    for line in figure.lines:
        for x, value in zip(line.xs, line.ys, strict=True):
            if value is not None:
                by_x.setdefault(x, []).append(value)
    known = _thinned(sorted(by_x))
    there = [f"{px(across(x))} {px(up(max(by_x[x])))}" for x in known]
    back = [f"{px(across(x))} {px(up(min(by_x[x])))}" for x in reversed(known)]
    return f'<path class="range" d="M{"L".join(there + back)}z"/>' if known else ""


def _curve(line: Line, across: Scale, up: Scale) -> str:
    points = _thinned(list(zip(line.xs, line.ys, strict=True)))
    path, pen = [], "M"
    for x, y in points:
        if y is not None:
            path.append(f"{pen}{px(across(x))} {px(up(y))}")
        pen = "M" if y is None else "L"
    known = [(x, y) for x, y in points if y is not None]
    # A single point is no curve, but among others it should not vanish.
    dots = [f'<circle class="dot" cx="{px(across(x))}" cy="{px(up(y))}" r="4"/>' for x, y in known if len(known) == 1]
    stroke = "curve dashed" if line.dashed else "curve"
    name = f"<title>{escape(line.name)}</title>"
    return f'<g class="s{line.style % STYLES}">{name}<path class="{stroke}" d="{"".join(path)}"/>{"".join(dots)}</g>'


def _thinned(points: list[T]) -> list[T]:
    stride = math.ceil(len(points) / MOST_POINTS)
    return points[::stride] + (points[-1:] if stride > 1 and (len(points) - 1) % stride else [])
