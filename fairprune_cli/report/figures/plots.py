"""Figures as SVG: dots with whiskers, curves, bars. Colours come from the page's style sheet by class.

Every figure is drawn for a width in CSS pixels, so that its text has the size of the page's text; a page
holds a wide and a narrow drawing and shows the one that fits.
"""

from __future__ import annotations

from html import escape

from fairprune_cli.report import words
from fairprune_cli.report.document import Bars, Dots, Lines, Scatter
from fairprune_cli.report.figures.axes import CHAR, MOST_ROWS, STYLES, Scale, is_wide, px, rule_lines, svg_text, x_axis
from fairprune_cli.report.figures.curves import MOST_PANELS, are_apart, curves
from fairprune_cli.report.figures.dots import AXIS, dots
from fairprune_cli.report.figures.scatter import mark_classes, scatter

WIDE, NARROW = 888, 350


def svg(figure: Dots | Lines | Bars | Scatter, title: str, width: int) -> str:
    """The figure as one `<svg>` element `width` pixels wide, every text in it escaped."""
    if isinstance(figure, Dots):
        height, body = dots(figure, width)
    elif isinstance(figure, Lines):
        height, body = curves(figure, width)
    elif isinstance(figure, Scatter):
        height, body = scatter(figure, width)
    else:
        height, body = _bars(figure, width)
    opening = f'<svg viewBox="0 0 {width} {px(height)}" width="{width}" height="{px(height)}" role="img">'
    return f"{opening}<title>{escape(title)}</title>{''.join(body)}</svg>"


def _bars(figure: Bars, width: int) -> tuple[float, list[str]]:
    wide = is_wide(width)
    bars = figure.bars[:MOST_ROWS]
    step = 24.0 if len(bars) <= 24 else 17.0
    aside = min(max((len(bar.text) for bar in bars), default=0) * CHAR + 12, width * 0.32)
    # A phone has no room beside the bar for name and figures both: long ones go on a line above it.
    stacked = not wide and any((len(bar.label) + len(bar.text)) * CHAR > width * 0.5 for bar in bars)
    longest = max((len(bar.label) for bar in bars), default=0) * CHAR + 14
    left = 8.0 if stacked else min(longest, 230.0 if wide else width * 0.36)
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
    return bottom + AXIS, [*body, *rule_lines(figure.rules, scale, top, bottom), *texts]


def legend(figure: Dots | Lines | Bars | Scatter) -> list[tuple[str, str]]:
    """(class, name) of every series worth telling apart; empty where there is but one."""
    if isinstance(figure, Dots):
        names = [(f"s{i % STYLES} {'ring' if i == 0 else 'dot'}", name) for i, name in enumerate(figure.series) if name]
        return names if len(names) > 1 else []
    if isinstance(figure, Lines) and are_apart(figure):
        return [("s1 line", "the group"), ("range", "from the lowest to the highest of all groups")]
    if isinstance(figure, Lines):
        names = [(f"s{ln.style % STYLES} {'dashed' if ln.dashed else 'line'}", ln.name) for ln in figure.lines]
        return names if len(names) > 1 else []
    if isinstance(figure, Scatter):
        front = [("front", "the front: none is better in both")] if len(figure.front) > 1 else []
        return [(mark_classes(i), name) for i, name in enumerate(figure.series)] + front
    return []


def omitted(figure: Dots | Lines | Bars | Scatter) -> str:
    """A sentence on rows that a figure leaves out, so that nothing disappears without a word."""
    if isinstance(figure, Lines):
        total, most, what = len(figure.lines), MOST_PANELS, "curves"
        most = most if are_apart(figure) else total
    else:
        rows = figure.rows if isinstance(figure, Dots) else figure.bars if isinstance(figure, Bars) else ()
        total, most, what = len(rows), MOST_ROWS, "rows"
    return f" The figure shows the first {most} of {words.whole_number(total)} {what}." if total > most else ""
