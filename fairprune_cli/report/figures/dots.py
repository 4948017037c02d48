"""Dots with whiskers: a row per group, a dot per model, and a second panel of the same rows where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from fairprune_cli.report.document import Dot, DotRow, Dots
from fairprune_cli.report.figures.axes import CHAR, MOST_ROWS, STYLES, Scale, is_wide, px, rule_lines, svg_text, x_axis
from fairprune_cli.report.values import extent

AXIS = 40.0  # room below a panel for its ticks and their name
_ROOMY = 6  # rows up to which there is room between them
_GAP = 22.0  # between two panels


@dataclass(frozen=True)
class _Panel:
    """Where a panel lies: its dots from `left` to `right`, its texts up to `end`."""

    figure: Dots
    left: float
    right: float
    end: float


@dataclass(frozen=True)
class _Rows:
    """How high rows are: from `top` on, each with `head` for a name above its `lanes`."""

    top: float
    head: float
    lane: float
    height: float

    @classmethod
    def of(cls, panels: Sequence[Dots], wide: bool) -> _Rows:
        rows = [row for panel in panels for row in panel.rows[:MOST_ROWS]]
        lanes = max(1, max((len({dot.series for dot in row.dots}) for row in rows), default=1))
        roomy = len(panels[0].rows) <= _ROOMY
        lane, pad = (15.0, 9.0) if roomy else (8.0, 4.0)
        head = 0.0 if wide else 18.0
        top = 22.0 if any(panel.rules for panel in panels) else 6.0
        return cls(top, head, lane, max(head + lanes * lane + pad, head + 18.0))


def dots(figure: Dots, width: int) -> tuple[float, list[str]]:
    """Height and elements of the figure `width` pixels wide."""
    parts = [replace(figure, beside=None), *([figure.beside] if figure.beside else [])]
    if is_wide(width):
        rows = _Rows.of(parts, True)
        panels = _side_by_side(parts, width)
        body = _names(figure.rows, rows, panels[0].left, width)
        for panel in panels:
            body += _panel(panel, rows, panels[-1].end, panel is panels[0])
        return rows.top + rows.height * len(figure.rows[:MOST_ROWS]) + AXIS, body
    height, body = 0.0, []
    for part in parts:
        rows = _Rows.of([part], False)
        panel = _Panel(part, 10.0, width - 10.0, width - 2.0)
        # Names last: a bound may lie behind them.
        found = _panel(panel, rows, width - 10.0, True) + _names(part.rows, rows, 10.0, width, part)
        body.append(f'<g transform="translate(0 {px(height)})">{"".join(found)}</g>' if height else "".join(found))
        height += rows.top + rows.height * len(part.rows[:MOST_ROWS]) + AXIS + 8.0
    return height - 8.0, body


def _side_by_side(parts: Sequence[Dots], width: int) -> list[_Panel]:
    """Panels that share what the names and the texts leave, the first one a little more."""
    left = _label_room(parts[0].rows)
    texts = [max((len(row.text) for row in part.rows), default=0) * CHAR + 16 for part in parts]
    free = width - left - sum(texts) - _GAP * (len(parts) - 1)
    panels, at = [], left
    for part, text, share in zip(parts, texts, (0.55, 0.45) if len(parts) > 1 else (1.0,), strict=True):
        right = at + free * share
        panels.append(_Panel(part, at, right, right + text - 2))
        at = right + text + _GAP
    return panels


def _names(rows: Sequence[DotRow], of: _Rows, left: float, width: int, own: Dots | None = None) -> list[str]:
    """The rows' names and the lines between them; where a name has a line of its own, its text stands there too."""
    body = []
    for i, row in enumerate(rows[:MOST_ROWS]):
        y = of.top + i * of.height
        if i:
            body.append(f'<line class="hair" x1="0" x2="{width}" y1="{px(y)}" y2="{px(y)}"/>')
        at = y + of.height / 2 + 4 if own is None else y + 16
        room = left - 14 if own is None else width - 24 - CHAR * len(row.text)
        detail = f"  {row.detail}" if row.detail else ""
        name = svg_text(0 if own is None else 2, at, row.label, "start", "label", room - CHAR * len(detail))
        tail = f'<tspan class="detail" dx="7">{escape(row.detail)}</tspan>' if row.detail else ""
        body.append(name.replace("</text>", f"{tail}</text>"))
        if own is not None and row.text and row.dots:
            body.append(svg_text(width - 2, at, row.text, "end", "value"))
    return body


def _panel(panel: _Panel, of: _Rows, far: float, first: bool) -> list[str]:
    """Axis, bounds and dots; the texts too where they stand beside them.

    Why a row has no dot is said in the first panel, up to `far`.
    """
    figure, rows = panel.figure, panel.figure.rows[:MOST_ROWS]
    values = [v for row in rows for dot in row.dots for v in (dot.value, dot.low, dot.high)]
    scale = Scale(*_domain([*values, *(rule.value for rule in figure.rules)], figure), panel.left, panel.right)
    bottom = of.top + of.height * len(rows)
    body = x_axis(scale, of.top, bottom, figure.unit, figure.axis, 6 if panel.right - panel.left > 450 else 4)
    body += rule_lines(figure.rules, scale, of.top, bottom)
    for i, row in enumerate(rows):
        middle = of.top + i * of.height + of.head + (of.height - of.head) / 2
        if not row.dots:
            room = far - panel.left
            body += [svg_text(panel.left + 4, middle + 4, row.missing, "start", "missing", room)] if first else []
            continue
        if not of.head and row.text:
            body.append(svg_text(panel.end, middle + 4, row.text, "end", "value"))
        used = sorted({dot.series for dot in row.dots})
        for dot in row.dots:
            offset = (used.index(dot.series) - (len(used) - 1) / 2) * of.lane
            body += _whisker(dot, scale, middle + offset, of.lane > 10)
    return body


def _label_room(rows: Sequence[DotRow]) -> float:
    longest = max((len(row.label) + len(row.detail) + 2 for row in rows), default=0)
    return min(max(longest * CHAR + 20, 130.0), 310.0)


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


def _whisker(dot: Dot, scale: Scale, y: float, roomy: bool) -> list[str]:
    parts = [f'<g class="s{dot.series % STYLES}"><title>{escape(dot.hint)}</title>']
    if dot.low is not None and dot.high is not None:
        a, b = scale(dot.low), scale(dot.high)
        end = 3 if roomy else 2
        ends = f"M{px(a)} {px(y - end)}v{2 * end}M{px(b)} {px(y - end)}v{2 * end}"
        parts.append(f'<path class="whisker" d="M{px(a)} {px(y)}H{px(b)}{ends}"/>')
    shape = "ring" if dot.series == 0 else "dot"
    radius = "4.5" if roomy else "3.5"
    parts.append(f'<circle class="{shape}" cx="{px(scale(dot.value))}" cy="{px(y)}" r="{radius}"/></g>')
    return parts
