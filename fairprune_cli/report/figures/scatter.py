"""Points in a plane with whiskers both ways; colour and shape tell the series apart, also without colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fairprune_cli.report.document import Point, Scatter
from fairprune_cli.report.figures.axes import CHAR, Scale, is_wide, px, svg_text, tick_text, ticks
from fairprune_cli.report.values import extent

COLOURS = 5  # beside the grey of series 0
# Drawn around 0 0 within 5 pixels; their number has no factor in common with that of the colours, so that 35 series
# differ in at least one of the two.
SHAPES = {
    "disc": "M-4.6 0a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0-9.2 0z",
    "square": "M-4.2-4.2h8.4v8.4h-8.4z",
    "up": "M0-5.4L5 4.2H-5z",
    "diamond": "M0-5.8L5.2 0L0 5.8L-5.2 0z",
    "down": "M0 5.4L5-4.2H-5z",
    "plus": "M-1.8-5.2h3.6v3.4h3.4v3.6h-3.4v3.4h-3.6v-3.4h-3.4v-3.6h3.4z",
    "cross": "M0-2.6L3-5.4L5.4-3L2.6 0L5.4 3L3 5.4L0 2.6L-3 5.4L-5.4 3L-2.6 0L-5.4-3L-3-5.4z",
}
# Of a text beside its point: anchor and distance.
_PLACES = (
    ("start", 9, 4), ("end", -9, 4), ("middle", 0, -10), ("middle", 0, 19), ("start", 9, -7), ("end", -9, -7),
    ("start", 9, 15), ("end", -9, 15), ("middle", 0, -23), ("middle", 0, 31), ("start", 9, -20), ("end", -9, 28),
)  # fmt: skip
Box = tuple[float, float, float, float]  # left, top, right, bottom


def mark_classes(series: int) -> str:
    """CSS classes of a series' mark: colour and shape; series 0 is a grey ring."""
    return "s0 ring" if series == 0 else f"s{1 + (series - 1) % COLOURS} mark-{_shape(series)}"


def mark(series: int) -> str:
    """The mark itself, around 0 0."""
    if series == 0:
        return '<circle class="ring" r="5.2"/>'
    return f'<path class="dot" d="{SHAPES[_shape(series)]}"/>'


def _shape(series: int) -> str:
    return list(SHAPES)[(series - 1) % len(SHAPES)]


def scatter(figure: Scatter, width: int) -> tuple[float, list[str]]:
    """Height and elements of the figure `width` pixels wide."""
    wide = is_wide(width)
    left, right, top = 46.0, width - 12.0, 26.0
    bottom = top + (360.0 if wide else 270.0)
    across = Scale(*_domain([(p.x, p.x_span) for p in figure.points]), left, right)
    up = Scale(*_domain([(p.y, p.y_span) for p in figure.points]), bottom, top)
    body = [svg_text(0, 13, figure.y_label, "start", "tick")]
    for tick in ticks(up.low, up.high, 6):
        y = up(tick)
        body.append(f'<line class="grid" x1="{px(left)}" x2="{px(right)}" y1="{px(y)}" y2="{px(y)}"/>')
        body.append(svg_text(left - 7, y + 4, tick_text(tick, "points"), "end", "tick"))
    for tick in ticks(across.low, across.high, 8 if wide else 5):
        x = across(tick)
        body.append(f'<line class="grid" x1="{px(x)}" x2="{px(x)}" y1="{px(top)}" y2="{px(bottom)}"/>')
        body.append(svg_text(x, bottom + 17, tick_text(tick, "points"), "middle", "tick"))
    body.append(svg_text((left + right) / 2, bottom + 36, figure.x_label, "middle", "tick"))
    body += [_whiskers(point, across, up) for point in figure.points]
    body.append(_front([figure.points[at] for at in figure.front], across, up))
    for point in reversed(figure.points):  # series 0 comes first and should lie on top
        hint = f"<title>{escape(point.hint)}</title>"
        place = f"translate({px(across(point.x))} {px(up(point.y))})"
        body.append(f'<g class="{mark_classes(point.series)}" transform="{place}">{hint}{mark(point.series)}</g>')
    return bottom + 42, body + _texts(_named_first(figure), across, up, (left, top, right, bottom))


def _front(points: Sequence[Point], across: Scale, up: Scale) -> str:
    """A line of steps through the points: left and above of it there is none."""
    if len(points) < 2:
        return ""
    path = f"M{px(across(points[0].x))} {px(up(points[0].y))}"
    path += "".join(f"H{px(across(point.x))}V{px(up(point.y))}" for point in points[1:])
    return f'<path class="front" d="{path}"/>'


def _named_first(figure: Scatter) -> list[Point]:
    """Points in the order in which they are given room for their text: those of the front first."""
    front = set(figure.front)
    order = sorted(range(len(figure.points)), key=lambda at: at not in front)
    return [figure.points[at] for at in order]


def _domain(values: Sequence[tuple[float, tuple[float, float] | None]]) -> tuple[float, float]:
    """Room for all points, and for whiskers as far as they leave the points apart."""
    reach = extent([value for value, _ in values])
    if reach is None:
        return 0.0, 1.0
    room = max(reach[1] - reach[0], 0.02)
    low = min([reach[0], *(max(span[0], reach[0] - 0.6 * room) for _, span in values if span is not None)])
    high = max([reach[1], *(min(span[1], reach[1] + 0.6 * room) for _, span in values if span is not None)])
    margin = 0.06 * max(high - low, 0.01)
    return max(low - margin, 0.0) if reach[0] >= 0.0 else low - margin, high + margin


def _whiskers(point: Point, across: Scale, up: Scale) -> str:
    """Both intervals; an end that lies outside of the frame has no bar across it."""
    x, y = across(point.x), up(point.y)
    path = ""
    if point.x_span is not None:
        path += f"M{px(across(point.x_span[0]))} {px(y)}H{px(across(point.x_span[1]))}"
        path += "".join(f"M{px(across(v))} {px(y - 3)}v6" for v in point.x_span if across.low <= v <= across.high)
    if point.y_span is not None:
        path += f"M{px(x)} {px(up(point.y_span[0]))}V{px(up(point.y_span[1]))}"
        path += "".join(f"M{px(x - 3)} {px(up(v))}h6" for v in point.y_span if up.low <= v <= up.high)
    colour = mark_classes(point.series).split()[0]
    return f'<g class="{colour}"><path class="whisker faint" d="{path}"/></g>' if path else ""


def _texts(points: Sequence[Point], across: Scale, up: Scale, frame: Box) -> list[str]:
    """The points' texts at the first of twelve places where they cover no mark and no other text; else none."""
    taken = [_around(across(p.x), up(p.y), 7.0, 7.0) for p in points]
    body = []
    for point in points:
        if not point.text:
            continue
        x, y, length = across(point.x), up(point.y), len(point.text) * CHAR
        for anchor, dx, dy in _PLACES:
            start = x + dx - {"start": 0.0, "middle": length / 2, "end": length}[anchor]
            box = (start, y + dy - 10, start + length, y + dy + 2)
            inside = frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                body.append(svg_text(x + dx, y + dy, point.text, anchor, "value"))
                break
    return body


def _around(x: float, y: float, across: float, up: float) -> Box:
    return (x - across, y - up, x + across, y + up)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
