"""Figures as SVG: dots with whiskers, curves, bars. Colours come from the page's style sheet by class.

Every figure is drawn for a width in CSS pixels, so that its text has the size of the page's text; a page
holds a wide and a narrow drawing and shows the one that fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from fairprune_cli.report import words
from fairprune_cli.report.document import Bars, Dot, DotRow, Dots, Line, Lines, Scatter
from fairprune_cli.report.figures.axes import CHAR, Scale, px, rule_lines, svg_text, tick_text, ticks, x_axis
from fairprune_cli.report.figures.scatter import mark_classes, scatter
from fairprune_cli.report.values import extent

WIDE, NARROW = 888, 350
MOST_POINTS = 300  # more than a curve can show on such a width
MOST_ROWS = 120
STYLES = 6
_AXIS = 40


def svg(figure: Dots | Lines | Bars | Scatter, title: str, width: int) -> str:
    """The figure as one `<svg>` element `width` pixels wide, every text in it escaped."""
    if isinstance(figure, Dots):
        height, body = _dots(figure, width)
    elif isinstance(figure, Lines):
        height, body = _lines(figure, width)
    elif isinstance(figure, Scatter):
        height, body = scatter(figure, width)
    else:
        height, body = _bars(figure, width)
    opening = f'<svg viewBox="0 0 {width} {px(height)}" width="{width}" height="{px(height)}" role="img">'
    return f"{opening}<title>{escape(title)}</title>{''.join(body)}</svg>"


def _dots(figure: Dots, width: int) -> tuple[float, list[str]]:
    wide = width >= 600
    rows = figure.rows[:MOST_ROWS]
    left, right = (_label_room(rows), width - 130.0) if wide else (10.0, width - 10.0)
    values = [v for row in rows for dot in row.dots for v in (dot.value, dot.low, dot.high)]
    scale = Scale(*_domain([*values, *(rule.value for rule in figure.rules)], figure), left, right)
    lane = 15.0
    lanes = max(1, max((len({dot.series for dot in row.dots}) for row in rows), default=1))
    head = 0.0 if wide else 18.0
    row_height = head + lanes * lane + (12.0 if wide else 10.0)
    top = 22.0 if figure.rules else 6.0
    bottom = top + row_height * len(rows)
    body = x_axis(scale, top, bottom, figure.unit, figure.axis, 6 if wide else 4)
    body += rule_lines(figure.rules, scale, top, bottom)
    for i, row in enumerate(rows):
        y = top + i * row_height
        if i:
            body.append(f'<line class="hair" x1="0" x2="{width}" y1="{px(y)}" y2="{px(y)}"/>')
        middle = y + head + (row_height - head) / 2
        name_y = middle + 4 if wide else y + 16
        # Where a note on a missing dot shares the narrow line with the name, the name must leave room for it.
        text = row.text
        room = left - 14 if wide else width - 24 - CHAR * len(text)
        detail = f"  {row.detail}" if row.detail else ""
        name = svg_text(0 if wide else 2, name_y, row.label, "start", "label", room - CHAR * len(detail))
        body.append(name.replace("</text>", f'<tspan class="detail" dx="7">{escape(row.detail)}</tspan></text>'))
        if text:
            body.append(svg_text(width - 2, name_y, text, "end", "value"))
        if not row.dots:
            body.append(svg_text(left + 4, middle + 4, row.missing, "start", "missing", right - left))
            continue
        used = sorted({dot.series for dot in row.dots})
        for dot in row.dots:
            offset = (used.index(dot.series) - (len(used) - 1) / 2) * lane
            body += _whisker(dot, scale, middle + offset)
    return bottom + _AXIS, body


def _label_room(rows: Sequence[DotRow]) -> float:
    longest = max((len(row.label) + len(row.detail) + 2 for row in rows), default=0)
    return min(max(longest * CHAR + 20, 150.0), 290.0)


def _domain(values: Sequence[float | None], figure: Dots) -> tuple[float, float]:
    reach = extent(values)
    if reach is None:
        return 0.0, 1.0
    low, high = min(reach[0], 0.0) if figure.from_zero else reach[0], reach[1]
    if figure.unit == "percent":
        margin = max(0.04 * (high - low), 0.005)
        # An interval may end at 0 or 1 but never beyond, and the axis should not suggest otherwise.
        return max(0.0, low - margin), min(1.0, high + margin)
    margin = max(0.05 * (high - low), 0.002)
    return (low - margin if low < 0 else low), high + margin


def _whisker(dot: Dot, scale: Scale, y: float) -> list[str]:
    parts = [f'<g class="s{dot.series % STYLES}"><title>{escape(dot.hint)}</title>']
    if dot.low is not None and dot.high is not None:
        a, b = scale(dot.low), scale(dot.high)
        ends = f"M{px(a)} {px(y - 3)}v6M{px(b)} {px(y - 3)}v6"
        parts.append(f'<path class="whisker" d="M{px(a)} {px(y)}H{px(b)}{ends}"/>')
    shape = "ring" if dot.series == 0 else "dot"
    parts.append(f'<circle class="{shape}" cx="{px(scale(dot.value))}" cy="{px(y)}" r="4.5"/></g>')
    return parts


def _lines(figure: Lines, width: int) -> tuple[float, list[str]]:
    wide = width >= 600
    left, right, top = 50.0, width - 14.0, 12.0
    bottom = top + (190.0 if wide else 150.0)
    xs = [x for line in figure.lines for x in line.xs]
    ys = [y for line in figure.lines for y in line.ys if y is not None] + [rule.value for rule in figure.rules]
    low, high = extent(ys) or (0.0, 1.0)
    low = min(low, 0.0) if figure.from_zero else low
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.01
    low, high = (low if figure.from_zero and low == 0 else low - margin), high + margin
    if figure.unit == "percent":
        low, high = max(low, 0.0), high if high > 1.06 else min(high, 1.0)
    first, last = extent(xs) or (0.0, 1.0)
    across = Scale(first, last if last > first else first + 1, left, right)
    up = Scale(low, high, bottom, top)
    body: list[str] = []
    for tick in ticks(low, high, 5):
        y = up(tick)
        body.append(f'<line class="grid" x1="{px(left)}" x2="{px(right)}" y1="{px(y)}" y2="{px(y)}"/>')
        body.append(svg_text(left - 8, y + 4, tick_text(tick, figure.unit), "end", "tick"))
    for tick in ticks(first, last, 8 if wide else 5):
        if tick == round(tick):
            body.append(svg_text(across(tick), bottom + 17, tick_text(tick, "number"), "middle", "tick"))
    body.append(f'<line class="axis" x1="{px(left)}" x2="{px(right)}" y1="{px(bottom)}" y2="{px(bottom)}"/>')
    unit = {"percent": ", percent upwards", "points": ", points upwards", "number": ""}[figure.unit]
    body.append(svg_text((left + right) / 2, bottom + 35, figure.x_label + unit, "middle", "tick"))
    for rule in figure.rules:
        y = up(rule.value)
        body.append(f'<line class="rule" x1="{px(left)}" x2="{px(right)}" y1="{px(y)}" y2="{px(y)}"/>')
    for line in figure.lines:
        body.append(_curve(line, across, up))
    for rule in figure.rules:
        # Gaps and sparsity end near their bounds and begin far from them, so the start has room for the name.
        y = up(rule.value)
        body.append(svg_text(left + 6, y - 5 if y - top > 18 else y + 14, rule.label, "start", "rulename"))
    return bottom + 42, body


def _curve(line: Line, across: Scale, up: Scale) -> str:
    points = _thinned([(x, y) for x, y in zip(line.xs, line.ys, strict=True)])
    path, pen, single = [], "M", len([y for _, y in points if y is not None]) == 1
    dots = ""
    for x, y in points:
        if y is None:
            pen = "M"
            continue
        path.append(f"{pen}{px(across(x))} {px(up(y))}")
        pen = "L"
        if single:
            dots = f'<circle class="dot" cx="{px(across(x))}" cy="{px(up(y))}" r="4"/>'
    stroke = "curve dashed" if line.dashed else "curve"
    name = f"<title>{escape(line.name)}</title>"
    return f'<g class="s{line.style % STYLES}">{name}<path class="{stroke}" d="{"".join(path)}"/>{dots}</g>'


def _thinned(points: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    stride = math.ceil(len(points) / MOST_POINTS)
    return points[::stride] + (points[-1:] if stride > 1 and (len(points) - 1) % stride else [])


def _bars(figure: Bars, width: int) -> tuple[float, list[str]]:
    wide = width >= 600
    bars = figure.bars[:MOST_ROWS]
    step = 24.0 if len(bars) <= 24 else 17.0
    aside = min(max((len(bar.text) for bar in bars), default=0) * CHAR + 12, width * 0.32)
    # A phone has no room beside the bar for name and figures both: long ones go on a line above it.
    stacked = not wide and any((len(bar.label) + len(bar.text)) * CHAR > width * 0.5 for bar in bars)
    longest = max((len(bar.label) for bar in bars), default=0) * CHAR + 14
    left = 2.0 if stacked else min(longest, 230.0 if wide else width * 0.36)
    right = width - 10.0 if stacked else width - aside
    head, thick = (18.0, 10.0) if stacked else (0.0, step * 0.5)
    step = head + 20.0 if stacked else step
    top = 22.0 if figure.rules else 6.0
    bottom = top + step * len(bars)
    most = max([1.0, *(bar.share for bar in bars)])
    scale = Scale(0.0, most, left, right)
    body = x_axis(scale, top, bottom, "percent", figure.axis, 5)
    texts: list[str] = []
    for i, bar in enumerate(bars):
        y = top + i * step + head + (step - head - thick) / 2
        name_y = top + i * step + 15 if stacked else y + thick / 2 + 4
        room = width - 12 - len(bar.text) * CHAR if stacked else left - 10
        length = max(scale(max(bar.share, 0.0)) - left, 1.0)
        texts.append(svg_text(0, name_y, bar.label, "start", "label", room, tail=True))
        place = f'x="{px(left)}" y="{px(y)}" height="{px(thick)}"'
        hint = f"<title>{escape(bar.label)}: {escape(bar.text)}</title>"
        body.append(f'<rect class="track" {place} width="{px(right - left)}"/>')
        body.append(f'<g class="s1">{hint}<rect class="bar" {place} width="{px(length)}"/></g>')
        texts.append(svg_text(width - 2, name_y, bar.text, "end", "value"))
    return bottom + _AXIS, [*body, *rule_lines(figure.rules, scale, top, bottom), *texts]


def legend(figure: Dots | Lines | Bars | Scatter) -> list[tuple[str, str]]:
    """(class, name) of every series worth telling apart; empty where there is but one."""
    if isinstance(figure, Dots):
        names = [(f"s{i % STYLES} {'ring' if i == 0 else 'dot'}", name) for i, name in enumerate(figure.series) if name]
        return names if len(names) > 1 else []
    if isinstance(figure, Lines):
        names = [(f"s{ln.style % STYLES} {'dashed' if ln.dashed else 'line'}", ln.name) for ln in figure.lines]
        return names if len(names) > 1 else []
    if isinstance(figure, Scatter):
        return [(mark_classes(i), name) for i, name in enumerate(figure.series)]
    return []


def omitted(figure: Dots | Lines | Bars | Scatter) -> str:
    """A sentence on rows that a figure leaves out, so that nothing disappears without a word."""
    total = len(figure.rows) if isinstance(figure, Dots) else len(figure.bars) if isinstance(figure, Bars) else 0
    return f" The figure shows the first {MOST_ROWS} of {words.whole_number(total)} rows." if total > MOST_ROWS else ""
