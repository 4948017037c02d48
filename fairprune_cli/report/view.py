"""Reading a report document in which any part may be absent, null, or undefined with a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fairprune_cli.audit.doubt import CHANCE_LEVEL
from fairprune_cli.report.plain import plain
from fairprune_cli.report.values import Measure, measure, natural, number, ordered, settings

VERDICTS = ("pass", "fail", "inconclusive", "none")
# Control characters break terminals, XML and layouts; the direction marks can make one name read as another.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]+")


@dataclass(frozen=True)
class Gate:
    """One judged rule. `metric` and `attribute` come from the gate, or from its name.

    `partial` says whether it rests on a part alone: groups were left out, or images are in no group.
    """

    name: str
    metric: str
    attribute: str
    bound: float | None
    measure: Measure
    verdict: str
    reason: str
    model: str = ""
    task: str = ""
    partial: bool = False


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

    @cached_property
    def tasks(self) -> dict[str, View]:
        """A view of each task alone, the report's first one first; {} where there is only one."""
        known = self.mapping("tasks")
        first = self.text("task")
        names = sorted(
            (name for name in known if isinstance(known[name], dict)), key=lambda n: (n != first, natural(n))
        )
        return {name: View(self._of_task(known[name])) for name in names} if len(names) > 1 else {}

    def _of_task(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The report as if the task were its only one."""
        data = self.mapping("data") | {"counts": record.get("counts")}
        left = {
            key: value
            for key, value in self.report.items()
            if key not in ("task", "tasks", "examples", "exemplars", "size", "causes")
        }
        return left | {"degradation": None, "degradations": None, **record, "data": data}

    @property
    def verdict(self) -> str:
        """The worse of what the report says and what its gates say; without a known one never a pass."""
        said, gates = self.text("verdict"), {gate.verdict for gate in self.gates}
        if not gates:
            return said if said in ("fail", "inconclusive") else "none"
        found = {said if said in VERDICTS and said != "none" else "inconclusive", *gates}
        return next(verdict for verdict in ("fail", "inconclusive", "pass") if verdict in found)

    @property
    def leniency(self) -> str:
        """In a sentence what made the verdict easier to get than it is by default; "" where nothing did."""
        found = "; ".join(str(text) for text in self.items("leniency") if isinstance(text, str))
        return f"Judged more leniently than by default: {found}." if found else ""

    @property
    def confidence(self) -> float | None:
        return number(self.at("confidence")) or number(self.setting("confidence"))

    @property
    def models(self) -> list[str]:
        """Names under `results`: dense first, pruned next, others after them."""
        known = [name for name in ("dense", "pruned") if self.mapping("results", name)]
        others = (k for k in ordered(self.mapping("results")) if k not in ("dense", "pruned"))
        return known + [name for name in others if self.mapping("results", name)]

    def title(self, model: str) -> str:
        """The label at the start of a line: a model's own name stays as it is."""
        label = self.label(model)
        return label.capitalize() if label in ("dense", "pruned", "model") else label

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
        subjects = self.subjects
        return subjects[0] if len(subjects) == 1 else self.models[0] if self.models else ""

    @property
    def subjects(self) -> list[str]:
        """The models that the report is about: all beside the dense one, or the dense one where it is alone."""
        if "pruned" in self.models:
            return ["pruned"]
        return [model for model in self.models if model != "dense"] or self.models

    @property
    def before(self) -> str:
        """The model that the judged one is compared with: "dense", or nothing."""
        return "dense" if "dense" in self.models and self.judged != "dense" else ""

    @property
    def degradations(self) -> dict[str, dict[str, Any]]:
        """Changes against the dense model, by model; one of several models has its name as key."""
        several = {name: self.mapping("degradations", name) for name in ordered(self.mapping("degradations"))}
        return several or {self.judged: self.mapping("degradation")}

    def change(self, attribute: str, group: str = "", of: str = "change") -> Measure:
        """A change of the judged model against the dense one on the same images, with its interval.

        Of a group's accuracy, or with `of` gap_change or worst_change of an attribute's gap or worst group; without an
        attribute, of the accuracy on all images.
        """
        if not attribute:
            return measure(self.mapping("results", self.judged, "against_dense"), "change")
        found = self.degradations.get(self.judged, {}).get(attribute)
        record: dict[str, Any] = found if isinstance(found, dict) else {}
        if not group:
            return measure(record, of, f"{of}_low", f"{of}_high")
        groups = record.get("groups")
        cell = groups.get(group) if isinstance(groups, dict) else None
        return measure(cell if isinstance(cell, dict) else {}, of)

    def n(self, attribute: str, group: str) -> int | None:
        """Images of a group; the same for every model, since all are audited on the same images."""
        known = [self.number("results", m, "attributes", attribute, "groups", group, "n") for m in self.models]
        known.append(self.number("degradation", attribute, "groups", group, "n"))
        return next((int(n) for n in known if n is not None), None)

    @property
    def gates(self) -> list[Gate]:
        return [_gate(item) for item in self.items("gates") if isinstance(item, dict)]

    @property
    def doubts(self) -> list[str]:
        """What is said of models that are not better than one answer to all images."""
        of_models = [
            item for item in self.items("warnings") if isinstance(item, dict) and item.get("code") == CHANCE_LEVEL
        ]
        return [str(item["text"]) for item in of_models if item.get("text")]

    @property
    def training(self) -> list[dict[str, Any]]:
        return [record for record in self.items("training") if isinstance(record, dict)]


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
        model=str(item.get("model") or ""),
        task=str(item.get("task") or ""),
        partial=bool(item.get("small_groups") or item.get("ungrouped")),
    )


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSEEN.sub(" ", value)
    if isinstance(value, dict):
        return {_visible(key): _visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return value
