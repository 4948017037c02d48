"""Values of a report: figures with interval or the reason why there is none, names in order, settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """A value with its interval (fractions), or None and the reason why it is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None


def measure(owner: Mapping[str, Any], name: str, low: str = "low", high: str = "high") -> Measure:
    """Read `name` from `owner`: a number beside its bounds, or a mapping {value, low, high}."""
    value = owner.get(name)
    why = str(owner.get(f"{name}_undefined") or "")
    if isinstance(value, Mapping):
        why = why or str(value.get("value_undefined") or value.get("undefined") or "")
        return Measure(number(value.get("value")), number(value.get("low")), number(value.get("high")), why)
    return Measure(number(value), number(owner.get(low)), number(owner.get(high)), why)


_BEYOND_ALL_FIGURES = 1e100  # from here on the arithmetic of axes and intervals overflows


def number(value: Any) -> float | None:
    """`value` as a float when it is a number, else None. Truth values are no numbers, and no figure is so large."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if -_BEYOND_ALL_FIGURES < value < _BEYOND_ALL_FIGURES else None


def natural(name: str) -> tuple[Any, ...]:
    """Sort key in which 9 comes before 10, and `<30` before `30-60` before `60+`."""
    bare = name.lstrip("<>=≤≥[( ")
    pieces = re.split(r"(\d{1,15})", bare)
    return (tuple(int(p) if i % 2 else p.casefold() for i, p in enumerate(pieces)), name)


def in_known_order(names: Iterable[str], known: Sequence[str] = ()) -> list[str]:
    """Names, each once: the `known` ones as they stand there, then single attributes before intersections, by name."""
    place = {name: at for at, name in reversed(list(enumerate(known)))}
    return sorted(set(names), key=lambda name: (place.get(name, len(place)), name.count("*"), natural(name)))


def ordered(mapping: Mapping[str, Any]) -> list[str]:
    """The keys of a mapping in natural order, without the reasons of undefined neighbours."""
    return sorted((key for key in mapping if not is_reason(key, mapping)), key=natural)


def is_reason(key: str, mapping: Mapping[str, Any]) -> bool:
    base = key.removesuffix("_undefined")
    return base != key and base in mapping and mapping[base] is None


def settings(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, str]]:
    """(name, value, where it came from) of every setting, nested names joined by dots."""
    rows: list[tuple[str, Any, str]] = []
    for key in sorted(config, key=natural):
        value, name = config[key], f"{prefix}{key}"
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "source", "from", "origin"}:
            source = next((value[k] for k in ("source", "from", "origin") if value.get(k)), "")
            rows.append((name, value["value"], str(source)))
        elif isinstance(value, dict) and value:
            rows += settings(value, f"{name}.")
        else:
            rows.append((name, value, ""))
    return rows


def extent(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Least and greatest of the numbers given, or None without any."""
    known: Sequence[float] = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None
