"""Reading a report document in which any part may be absent, null, or undefined with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairprune_cli.report.plain import plain

VERDICTS = ("pass", "fail", "inconclusive", "none")
# Control characters break terminals, XML and layouts; the direction marks can make one name read as another.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]+")


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


@dataclass(frozen=True)
class Gate:
    """One judged rule. `metric` and `attribute` come from the gate, or from its name."""

    name: str
    metric: str
    attribute: str
    bound: float | None
    measure: Measure
    verdict: str
    reason: str


class View:
    """A report document, cleaned, with look-ups that never fail.

    Args:
        report: the document of report.json; every key may be absent.
    """

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report: dict[str, Any] = _visible(plain(report))

    def at(self, *path: str) -> Any:
        """The value under the keys of `path`, or None."""
        value: Any = self.report
        for key in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    def mapping(self, *path: str) -> dict[str, Any]:
        value = self.at(*path)
        return value if isinstance(value, dict) else {}

    def items(self, *path: str) -> list[Any]:
        value = self.at(*path)
        return value if isinstance(value, list) else []

    def number(self, *path: str) -> float | None:
        return number(self.at(*path))

    def text(self, *path: str) -> str:
        value = self.at(*path)
        return "" if value is None or isinstance(value, dict | list) else str(value)

    def setting(self, name: str) -> Any:
        """A setting by its last name, whether `config` is flat or nested, with or without sources."""
        for key, value, _ in settings(self.mapping("config")):
            if key.rsplit(".", 1)[-1].replace("-", "_") == name:
                return value
        return None

    @property
    def verdict(self) -> str:
        """The verdict of the report; without a known one, the worst that its gates allow, never a pass."""
        verdict, gates = self.text("verdict"), {gate.verdict for gate in self.gates}
        if verdict in VERDICTS:
            return verdict
        return "fail" if "fail" in gates else "inconclusive" if gates else "none"

    @property
    def confidence(self) -> float | None:
        return number(self.at("confidence")) or number(self.setting("confidence"))

    @property
    def models(self) -> list[str]:
        """Names under `results`: dense first, pruned next, others after them."""
        known = [name for name in ("dense", "pruned") if self.mapping("results", name)]
        others = (k for k in ordered(self.mapping("results")) if k not in ("dense", "pruned"))
        return known + [name for name in others if self.mapping("results", name)]

    def label(self, model: str) -> str:
        """What the model is called in words; with one model there is nothing to tell apart."""
        return "model" if len(self.models) == 1 else model

    @property
    def attributes(self) -> list[str]:
        """Attributes that were audited, single ones before intersections."""
        names: set[str] = set(self.mapping("degradation"))
        for model in self.models:
            names |= set(self.mapping("results", model, "attributes"))
        return sorted(names, key=lambda name: (name.count("*"), natural(name)))

    def groups(self, attribute: str) -> list[str]:
        """All groups of an attribute that any model or the degradation knows."""
        names: set[str] = set(self.mapping("degradation", attribute, "groups"))
        for model in self.models:
            names |= set(self.mapping("results", model, "attributes", attribute, "groups"))
        return sorted(names, key=natural)

    def overall(self, model: str) -> Measure:
        return measure(self.mapping("results", model), "accuracy", "low", "high")

    def group(self, model: str, attribute: str, group: str) -> Measure:
        path = ("results", model, "attributes", attribute, "groups", group)
        return measure(self.mapping(*path), "accuracy", "low", "high")

    def gap(self, model: str, attribute: str) -> Measure:
        return measure(self.attribute(model, attribute), "gap", "gap_low", "gap_high")

    def attribute(self, model: str, attribute: str) -> dict[str, Any]:
        return self.mapping("results", model, "attributes", attribute)

    def small(self, attribute: str) -> list[str]:
        """Groups with too few images to count in the gap; their own figures are shown all the same."""
        lists = [self.attribute(model, attribute).get("small_groups") for model in self.models]
        return sorted({str(g) for names in lists if isinstance(names, list) for g in names}, key=natural)

    def metric(self, model: str, attribute: str, name: str) -> Measure:
        return measure(self.mapping("results", model, "attributes", attribute, "metrics"), name)

    @property
    def judged(self) -> str:
        """The model that the verdict is about: the pruned one, or the only one beside the dense one."""
        if "pruned" in self.models:
            return "pruned"
        others = [model for model in self.models if model != "dense"]
        return others[0] if len(others) == 1 else self.models[0] if self.models else ""

    @property
    def before(self) -> str:
        """The model that the judged one is compared with: "dense", or nothing."""
        return "dense" if "dense" in self.models and self.judged != "dense" else ""

    @property
    def degradations(self) -> dict[str, dict[str, Any]]:
        """Changes against the dense model, by model; one of several models has its name as key."""
        several = {name: self.mapping("degradations", name) for name in ordered(self.mapping("degradations"))}
        return several or {self.judged: self.mapping("degradation")}

    def n(self, attribute: str, group: str) -> int | None:
        """Images of a group; the same for every model, since all are audited on the same images."""
        known = [
            self.number("results", m, "attributes", attribute, "groups", group, "n") for m in self.models
        ]
        known.append(self.number("degradation", attribute, "groups", group, "n"))
        return next((int(n) for n in known if n is not None), None)

    @property
    def gates(self) -> list[Gate]:
        return [_gate(item) for item in self.items("gates") if isinstance(item, dict)]

    @property
    def training(self) -> list[dict[str, Any]]:
        return [record for record in self.items("training") if isinstance(record, dict)]


def measure(owner: Mapping[str, Any], name: str, low: str = "low", high: str = "high") -> Measure:
    """Read `name` from `owner`: a number beside its bounds, or a mapping {value, low, high}."""
    value = owner.get(name)
    why = str(owner.get(f"{name}_undefined") or "")
    if isinstance(value, Mapping):
        why = why or str(value.get("value_undefined") or value.get("undefined") or "")
        return Measure(number(value.get("value")), number(value.get("low")), number(value.get("high")), why)
    return Measure(number(value), number(owner.get(low)), number(owner.get(high)), why)


def number(value: Any) -> float | None:
    """`value` as a float when it is a number, else None. Truth values are no numbers."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def natural(name: str) -> tuple[Any, ...]:
    """Sort key in which 9 comes before 10, and `<30` before `30-60` before `60+`."""
    bare = name.lstrip("<>=≤≥[( ")
    pieces = re.split(r"(\d{1,15})", bare)
    return (tuple(int(p) if i % 2 else p.casefold() for i, p in enumerate(pieces)), name)


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
        if (
            isinstance(value, dict)
            and "value" in value
            and set(value) <= {"value", "source", "from", "origin"}
        ):
            source = next((value[k] for k in ("source", "from", "origin") if value.get(k)), "")
            rows.append((name, value["value"], str(source)))
        elif isinstance(value, dict) and value:
            rows += settings(value, f"{name}.")
        else:
            rows.append((name, value, ""))
    return rows


def _gate(item: Mapping[str, Any]) -> Gate:
    name = str(item.get("name") or "gate")
    # Without fields of its own a gate is known by a name such as "max-gap gender" or "max_gap:gender*age".
    found = re.match(r"\s*([^\s:\[(/]+)[\s:\[(/]*(.*?)[\])\s]*$", name)
    metric, attribute = found.groups() if found else (name, "")
    verdict = str(item.get("verdict"))
    return Gate(
        name=name,
        metric=str(item.get("metric") or metric),
        attribute=str(item.get("attribute") or attribute),
        bound=number(item.get("bound")),
        measure=measure(item, "value"),
        # What has no known verdict was not decided; it never counts as passed.
        verdict=verdict if verdict in VERDICTS[:3] else "inconclusive",
        reason=str(item.get("reason") or ""),
    )


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSEEN.sub(" ", value)
    if isinstance(value, dict):
        return {_visible(key): _visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return value


def extent(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Least and greatest of the numbers given, or None without any."""
    known: Sequence[float] = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None
