"""Numbers as a person reads them: percent, points, counts, bytes, times, and their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fairprune_cli.report.values import Measure

SPACE = "\u00a0"  # keeps a number and its unit on one line
NOTHING = "–"
UNDEFINED = "undefined"


def fixed(value: float, digits: int = 1) -> str:
    """A number with a real minus sign, and never a negative zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "" if float(text) == 0 else "−")


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent: 0.918 -> 91.8 %."""
    return NOTHING if value is None else f"{fixed(100 * value, digits)}{SPACE}%"


def points(value: float | None, sign: bool = False) -> str:
    """A difference of fractions as percentage points: 0.044 -> 4.4 points."""
    if value is None:
        return NOTHING
    text = signed(value) if sign else fixed(100 * value)
    return f"{text}{SPACE}point{'' if text.lstrip('+−') == '1.0' else 's'}"


def signed(value: float) -> str:
    text = fixed(100 * value)
    return f"+{text}" if not text.startswith("−") and float(text) != 0 else text


def estimate(measure: Measure, sign: bool = False) -> str:
    """Value and interval in hundredths without the unit, for table cells: 91.8 (90.1 to 93.2)."""
    if measure.value is None:
        return UNDEFINED if measure.why else NOTHING
    text = signed(measure.value) if sign else fixed(100 * measure.value)
    return f"{text} ({span(measure)})" if measure.has_interval else text


def span(measure: Measure) -> str:
    """The interval alone, in hundredths: 90.1 to 93.2."""
    if measure.low is None or measure.high is None:
        return NOTHING
    return f"{fixed(100 * measure.low)}{SPACE}to{SPACE}{fixed(100 * measure.high)}"


def whole_number(value: float | None) -> str:
    """A whole number with thin spaces between thousands."""
    return NOTHING if value is None else f"{round(value):,}".replace(",", "\u202f").replace("-", "−")


def compact(value: float | None) -> str:
    """A large count in three digits: 4.91 M."""
    if value is None:
        return NOTHING
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # Half a unit of the third digit below the scale already rounds up to it.
        if abs(value) >= scale * 0.9995:
            return f"{_three(value / scale)}{SPACE}{unit}"
    return whole_number(value)


def size(value: float | None) -> str:
    """Bytes in decimal units, as disks and networks count them."""
    if value is None:
        return NOTHING
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= scale * 0.9995:
            return f"{_three(value / scale)}{SPACE}{unit}"
    return f"{round(value)}{SPACE}bytes"


def seconds(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value < 60:
        return f"{_three(value)}{SPACE}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60}{SPACE}min"


def milliseconds(value: float | None) -> str:
    return NOTHING if value is None else f"{_three(value)}{SPACE}ms"


def times(dense: float | None, now: float | None, less: str, more: str) -> str:
    """The ratio of two figures as words: 5.0 times smaller."""
    if not dense or not now or dense < 0 or now < 0:
        return NOTHING
    ratio = dense / now
    if 0.995 < ratio < 1.005:
        return "the same"
    told = fixed(max(ratio, 1 / ratio))
    return "about the same" if told == "1.0" else f"{told}{SPACE}times {less if ratio > 1 else more}"


def join(words: Iterable[str]) -> str:
    """a, b and c."""
    items = list(words)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else ""


def plural(n: int, word: str) -> str:
    return f"{whole_number(n)} {word}{'' if n == 1 else 's'}"


def sentence(text: str) -> str:
    """`text` with a full stop at its end, if it has no mark there yet."""
    text = text.strip()
    return text if not text or text[-1] in ".!?…:" else f"{text}."


def shown(value: Any) -> str:
    """A setting's value on one line."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {shown(item)}" for key, item in sorted(value.items())) or "none"
    return str(value)


def reasons(named: Iterable[tuple[str, Measure]]) -> str:
    """Why values are undefined, for the note under a table; names with the same reason share a sentence."""
    by_reason: dict[str, list[str]] = {}
    for name, measure in named:
        if measure.value is None and measure.why:
            names = by_reason.setdefault(measure.why, [])
            if name not in names:
                names.append(name)
    return " ".join(f"Undefined for {join(names)}: {sentence(why)}" for why, names in by_reason.items())


def _three(value: float) -> str:
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return fixed(value, digits)
