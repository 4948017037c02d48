"""What a report says: its models, groups, gaps, changes and gates, any of which may be absent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fairprune_cli.audit.doubt import CHANCE_LEVEL
from fairprune_cli.report.lookups import Lookups
from fairprune_cli.report.values import Measure, in_known_order, measure, natural, number, ordered

# What names a rate that looks at one class: notions and metrics.
_OF_POSITIVES = ("parity", "opportunity", "odds", "tpr", "fpr", "selection_rate")
VERDICTS = ("pass", "fail", "inconclusive", "none")


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
    notion: str = ""


class View(Lookups):
    """What a report says, by what a reader asks for."""

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
        data = self.mapping("data") | {"counts": record.get("counts"), "classes": record.get("classes")}
        left = {
            key: value
            for key, value in self.report.items()
            if key not in ("task", "tasks", "examples", "exemplars", "size", "causes", "group_thresholds")
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

    @cached_property
    def _groups_by_attribute(self) -> dict[str, list[str]]:
        """Groups of each attribute as the manifest has them; {} in a report from before they were told."""
        told = [one for one in self.items("data", "attributes") if isinstance(one, dict)]
        return {
            str(one.get("name")): [str(group) for group in one["groups"]]
            for one in told
            if isinstance(one.get("groups"), list)
        }

    def order_attributes(self, names: Iterable[str]) -> list[str]:
        """Names of attributes, each once, in the manifest's order."""
        return in_known_order(names, list(self._groups_by_attribute))

    def order_groups(self, attribute: str, names: Iterable[str]) -> list[str]:
        """Names of an attribute's groups, each once, in the manifest's order."""
        # Training calls an attribute "task: attribute" where there are several tasks.
        known = self._groups_by_attribute.get(attribute) or self._groups_by_attribute.get(attribute.split(": ")[-1])
        return in_known_order(names, known or ())

    def order_classes(self, names: Iterable[str]) -> list[str]:
        """Names of classes, each once, in the order of the model's outputs."""
        return in_known_order(names, self.classes)

    @property
    def classes(self) -> list[str]:
        """Of the task, as the manifest has them; [] in a report from before they were told."""
        return [str(name) for name in self.items("data", "classes")]

    @property
    def positive(self) -> str:
        """In a sentence which class true positives, parity and opportunity speak of; "" where that is not known."""
        if len(self.classes) == 2:
            return f"{self.classes[1]} counts as positive."
        if len(self.classes) > 2:
            return "With more than two classes a rate is that of each class, and a gap the largest over them."
        return ""

    def positive_of(self, *told: str) -> str:
        """The sentence of `positive` where one of the names or texts speaks of rates by class; else ""."""
        return self.positive if any(name in text for text in told for name in _OF_POSITIVES) else ""

    @property
    def positive_of_gates(self) -> str:
        """The same, of all gates."""
        return self.positive_of(*(gate.notion for gate in self.gates))

    @property
    def attributes(self) -> list[str]:
        """Attributes that were audited."""
        names: set[str] = set(self.mapping("degradation"))
        for model in self.models:
            names |= set(self.mapping("results", model, "attributes"))
        return self.order_attributes(names)

    def groups(self, attribute: str) -> list[str]:
        """All groups of an attribute that any model or the degradation knows."""
        names: set[str] = set(self.mapping("degradation", attribute, "groups"))
        for model in self.models:
            names |= set(self.mapping("results", model, "attributes", attribute, "groups"))
        return self.order_groups(attribute, names)

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
        return self.order_groups(attribute, {str(g) for names in lists if isinstance(names, list) for g in names})

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

    def change(self, attribute: str, group: str = "", of: str = "change", model: str = "") -> Measure:
        """A change of a model, the judged one if none is named, against the dense one on the same images.

        Of a group's accuracy, or with `of` gap_change or worst_change of an attribute's gap or worst group; without an
        attribute, of the accuracy on all images. A report from before changes were recorded has their figure alone.
        """
        model = model or self.judged
        if not attribute:
            found, was, now = (
                measure(self.mapping("results", model, "against_dense"), "change"),
                self.overall("dense"), self.overall(model),
            )  # fmt: skip
        else:
            of_attribute = self.degradations.get(model, {}).get(attribute)
            record: dict[str, Any] = of_attribute if isinstance(of_attribute, dict) else {}
            if group:
                groups = record.get("groups")
                cell = groups.get(group) if isinstance(groups, dict) else None
                found = measure(cell if isinstance(cell, dict) else {}, of)
                was, now = (self.group(one, attribute, group) for one in ("dense", model))
            else:
                found = measure(record, of, f"{of}_low", f"{of}_high")
                read = View.gap if of == "gap_change" else View.worst
                was, now = (read(self, one, attribute) for one in ("dense", model))
        if found.value is None and not found.why and was.value is not None and now.value is not None:
            return Measure(now.value - was.value)
        return found

    def extremes(self, model: str, attribute: str) -> tuple[tuple[str, float], tuple[str, float]] | tuple[None, None]:
        """The groups with the best and the worst accuracy among those large enough to count, or None twice."""
        small = self.small(attribute)
        measures = [(group, self.group(model, attribute, group).value) for group in self.groups(attribute)]
        rated = [(group, value) for group, value in measures if value is not None and group not in small]
        if len(rated) < 2:
            return None, None
        return max(rated, key=lambda pair: pair[1]), min(rated, key=lambda pair: pair[1])

    def worst(self, model: str, attribute: str) -> Measure:
        """Accuracy of the worst group, with the interval that allows for its having been picked."""
        found = self.metric(model, attribute, "worst_group")
        if found.value is not None or found.why:
            return found
        worst = self.extremes(model, attribute)[1]
        return Measure(worst[1]) if worst else Measure(None)

    def n(self, attribute: str, group: str) -> int | None:
        """Images of a group; the same for every model, since all are audited on the same images."""
        known = [self.number("results", m, "attributes", attribute, "groups", group, "n") for m in self.models]
        known.append(self.number("degradation", attribute, "groups", group, "n"))
        return next((int(n) for n in known if n is not None), None)

    @property
    def gates(self) -> list[Gate]:
        return [_gate(item) for item in self.items("gates") if isinstance(item, dict)]

    @property
    def warnings(self) -> list[str]:
        """The texts of the report's warnings."""
        return [str(item["text"]) for item in self.items("warnings") if isinstance(item, dict) and item.get("text")]

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
        notion=str(item.get("notion") or ""),
    )
