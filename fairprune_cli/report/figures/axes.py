"""What every figure shares: scales, round ticks, axes, bounds, and text that fits its room."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from fairprune_cli.report.document import BoundLine, Unit

STYLES = 6  # colours
MOST_ROWS = 120
CHAR = 7.2  # width of a character at the 12 to 13 px of the labels, rather too much than too little


def is_wide(width: float) -> bool:
    """Whether names have room beside what is drawn, or go above it as on a phone."""
    return width >= 600


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` + 1 round values that span low to high (1, 2 or 5 times a power of ten apart)."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / most))
    factors = (1, 2, 5, 10, 20)
    fits = next(i for i, factor in enumerate(factors) if (high - low) / (step * factor) <= most)
    # A range shorter than its step may lie between two multiples of it, as 1 to 402 does with 500.
    for spacing in (step * factors[fits], step * factors[max(fits - 1, 0)]):
        first = math.ceil(low / spacing - 1e-9)
        # Times the spacing as a whole: 3 x 0.1 x 10 is not 3, and an epoch would lose its tick.
        found = [i * spacing for i in range(first, math.floor(high / spacing + 1e-9) + 1)]
        if found:
            break
    return found


class Scale:
    """Maps values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = low, high if high > low else low + 1.0
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def x_axis(scale: Scale, top: float, bottom: float, unit: Unit, label: str, most: int) -> list[str]:
    body = []
    for tick in ticks(scale.low, scale.high, most):
        x = scale(tick)
        body.append(f'<line class="grid" x1="{px(x)}" x2="{px(x)}" y1="{px(top)}" y2="{px(bottom)}"/>')
        body.append(svg_text(x, bottom + 16, tick_text(tick, unit), "middle", "tick"))
    body.append(svg_text((scale.start + scale.end) / 2, bottom + 34, label, "middle", "tick"))
    return body


def rule_lines(rules: Sequence[BoundLine], scale: Scale, top: float, bottom: float) -> list[str]:
    body = []
    for rule in rules:
        x, half = scale(rule.value), len(rule.label) * CHAR / 2
        at = min(max(x, scale.start + half), scale.end - half)
        body.append(f'<line class="rule" x1="{px(x)}" x2="{px(x)}" y1="{px(top - 4)}" y2="{px(bottom)}"/>')
        body.append(svg_text(at, top - 9, rule.label, "middle", "rulename"))
    return body


def svg_text(
    x: float, y: float, text: str, anchor: str, kind: str, room: float | None = None, tail: bool = False
) -> str:
    """A text, cut to `room` pixels where given; `tail` keeps its end, which tells layer names apart."""
    shown = text
    if room is not None and len(text) * CHAR > room:
        keep = max(int(room / CHAR) - 1, 1)
        shown = f"…{text[-keep:]}" if tail else f"{text[:keep]}…"
    hint = f"<title>{escape(text)}</title>" if shown != text else ""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{kind}" x="{px(x)}" y="{px(y)}"{at}>{hint}{escape(shown)}</text>'


def tick_text(value: float, unit: Unit) -> str:
    scaled = value if unit == "number" else 100 * value
    return f"{round(scaled, 6) + 0.0:g}".replace("-", "−")


def px(value: float) -> str:
    """A coordinate, rounded to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
