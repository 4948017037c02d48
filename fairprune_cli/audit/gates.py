"""Gates: pass, fail or inconclusive, judged on intervals rather than on bare figures.

A gate fails when the whole interval lies beyond its bound, passes when the whole interval lies within, and is
inconclusive in between; then it says how many images would decide. What could not be computed never passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairprune_cli.audit.options import GateOptions
from fairprune_cli.core.errors import ExitCode, FairpruneError, Problems, nearest
from fairprune_cli.core.settings import check_value, values_of

PASS, FAIL, INCONCLUSIVE, NONE = "pass", "fail", "inconclusive", "none"
NOTIONS = ("accuracy", "degradation", "parity", "opportunity", "odds", "worst-group")

# Bounds are typed as decimals and figures come from divisions, so equal means equal up to rounding.
_EQUAL = 1e-12


@dataclass(frozen=True)
class GatePolicy(GateOptions):
    """What is asked of a model; a bound of None asks nothing.

    Attributes:
        max_gap: bound on the gap of `notion` in every attribute, 0..1. Accuracy and worst-group judge the gap
            of accuracies, degradation the gap between the groups' losses, the others their own metric.
        max_degradation: bound on the largest loss of accuracy of any group against the dense model, 0..1.
        min_accuracy: bound on the accuracy over all images, 0..1; where attributes are named, on that of the worst
            group of each.
        min_group: least denominator with which a group takes part in a gap.
        confidence: of the intervals, 0.5..0.999.
        point_estimate: judge the bare figure and ignore its interval.
        notion: one of `NOTIONS`.
    """

    def __post_init__(self) -> None:
        problems = Problems("gates")
        for name, value in values_of(self).items():
            try:
                check_value(GateOptions, name, value)
            except ValueError as error:
                problems.add(f"--{name.replace('_', '-')} is {value}: {error}")
        if self.notion not in NOTIONS:
            problems.add(f"--notion {self.notion!r} is unknown: {nearest(self.notion, NOTIONS)}")
        problems.raise_if_any(hint="5 points are written 0.05")


@dataclass(frozen=True)
class GateResult:
    """One gate judged on one attribute, or on all images where `attribute` is None.

    Attributes:
        metric: "max-gap", "max-degradation" or "min-accuracy"; `name` adds the attribute.
        value, low, high: figure and interval, None where undefined.
        verdict: "pass", "fail" or "inconclusive".
        reason: a sentence for people.
        needed: where inconclusive, how many images of the group `needed_of` (in all where it is empty) would
            decide; None where no number would or none is known.
        model: the model that was judged, where several were; empty otherwise.
        label: the rule's own name in a policy; empty where it has none.
        qualifier: the notion, where a policy's rule names one that is not accuracy.
        notion, confidence, min_group: how it was judged; the notion of a gap only.
    """

    metric: str
    attribute: str | None
    bound: float
    value: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str
    needed: int | None = None
    needed_of: str = ""
    model: str = ""
    label: str = ""
    qualifier: str = ""
    notion: str = ""
    confidence: float | None = None
    min_group: int | None = None

    @property
    def name(self) -> str:
        name = self.metric if self.attribute is None else f"{self.metric} {self.attribute}"
        name = f"{self.label}: {name}" if self.label else name
        name = f"{name} ({self.qualifier})" if self.qualifier else name
        return f"{name} [{self.model}]" if self.model else name

    def to_dict(self) -> dict[str, Any]:
        """For report.json; an undefined value comes with `value_undefined`."""
        record: dict[str, Any] = {"name": self.name, "metric": self.metric, "bound": self.bound}
        if self.attribute is not None:
            record["attribute"] = self.attribute
        for key in ("model", "notion", "confidence", "min_group"):
            if getattr(self, key):
                record[key] = getattr(self, key)
        record |= {"value": self.value, "low": self.low, "high": self.high}
        if self.value is None:
            record["value_undefined"] = self.reason
        record |= {"verdict": self.verdict, "reason": self.reason}
        if self.verdict == INCONCLUSIVE:
            record["needed"] = self.needed
            if self.needed is None:
                record["needed_undefined"] = self.reason
        return record


@dataclass(frozen=True)
class _Figure:
    """What a gate looks at. `groups`: images by group that carry the figure; `small`: groups left out."""

    value: float | None
    low: float | None
    high: float | None
    why: str
    groups: Mapping[str, int]
    small: Sequence[str] = ()


def evaluate(
    document: Mapping[str, Any], policy: GatePolicy, attributes: Sequence[str] = (), model: str = ""
) -> tuple[list[GateResult], str]:
    """Judge every gate of the policy on every attribute.

    Args:
        document: `results` and `degradation` of report.json.
        attributes: those that are judged, all that were audited where empty. One that was not audited is
            inconclusive.
        model: which of the results is judged; without a name it is "pruned", or "dense" where there is no other,
            or the only one there is.

    Returns:
        The gates, and the verdict over all of them: "pass", "fail", "inconclusive", or "none" without gates.

    Raises:
        FairpruneError: the document was made with another confidence or least group than the policy asks for,
            or its models leave open which one is meant.
    """
    for name in ("confidence", "min_group"):
        made = document.get(name, getattr(policy, name))
        if made != getattr(policy, name):
            raise FairpruneError(
                f"the audit was made with {name} {made}, the gates ask for {getattr(policy, name)}",
                hint="audit the model again with the settings of the gates",
            )
    result = document["results"][model] if model else _judged(document["results"])
    losses = _losses(document, model)
    gates: list[GateResult] = []
    for attribute in attributes or result["attributes"]:
        if policy.max_gap is not None:
            figure = _gap(losses, result, attribute, policy.notion)
            gates.append(_judge("max-gap", attribute, policy.max_gap, figure, policy))
        if policy.max_degradation is not None:
            gates.append(
                _judge("max-degradation", attribute, policy.max_degradation, _largest(losses, attribute), policy)
            )
        if attributes and policy.min_accuracy is not None:
            gates.append(_judge("min-accuracy", attribute, policy.min_accuracy, _worst(result, attribute), policy))
    for metric, bound in (("max-gap", policy.max_gap), ("max-degradation", policy.max_degradation)):
        if bound is not None and not (attributes or result["attributes"]):
            gates.append(_judge(metric, None, bound, _undefined("no attribute was audited"), policy))
    if policy.min_accuracy is not None and not attributes:
        why = result.get("accuracy_undefined", "")
        images = {"": int(result["n"])}
        figure = _Figure(result["accuracy"], result["low"], result["high"], why, images)
        gates.append(_judge("min-accuracy", None, policy.min_accuracy, figure, policy))
    return gates, verdict(gates)


def verdict(gates: Sequence[GateResult]) -> str:
    """One verdict: fail if any fails, else inconclusive if any is, else pass; none without gates."""
    found = {gate.verdict for gate in gates}
    return next((kind for kind in (FAIL, INCONCLUSIVE, PASS) if kind in found), NONE)


def exit_code(verdict: str) -> ExitCode:
    """Exit code of a verdict: 0 for pass and none, 1 for fail, 4 for inconclusive."""
    return {
        PASS: ExitCode.OK,
        NONE: ExitCode.OK,
        FAIL: ExitCode.GATE_FAILED,
        INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    }[verdict]


def _judged(results: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("pruned", "dense"):
        if name in results:
            return results[name]
    if len(results) == 1:
        return next(iter(results.values()))
    raise FairpruneError(
        f"which model shall be judged? There are {', '.join(results) or 'none'}",
        hint="gates judge the model called pruned, or the only one",
    )


def _undefined(why: str) -> _Figure:
    return _Figure(None, None, None, why, {})


def _losses(document: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    """Degradation by attribute of the judged model, or {"undefined": why}."""
    several = document.get("degradations") or {}
    found = several[model] if model in several else document.get("degradation")
    return found or {"undefined": document.get("degradation_undefined", "there is no dense model to compare with")}


def _record(records: Mapping[str, Any], attribute: str) -> Mapping[str, Any] | str:
    """The attribute's record, or why there is none."""
    if "undefined" in records and isinstance(records["undefined"], str):
        return str(records["undefined"])
    return records.get(attribute) or f"{attribute} was not audited"


def _gap(losses: Mapping[str, Any], result: Mapping[str, Any], attribute: str, notion: str) -> _Figure:
    record = _record(losses if notion == "degradation" else result["attributes"], attribute)
    if isinstance(record, str):
        return _undefined(record)
    if notion in ("parity", "opportunity", "odds"):
        metric = record["metrics"].get(notion)
        if metric is None:
            return _undefined(record["metrics"].get(f"{notion}_undefined", f"{notion} was not computed"))
        return _Figure(
            metric["value"], metric["low"], metric["high"], "", _sizes(record, metric), metric["small_groups"]
        )
    if record["gap"] is None:
        return _undefined(record["gap_undefined"])
    return _Figure(
        record["gap"],
        record["gap_low"],
        record["gap_high"],
        "",
        _sizes(record, record),
        record["small_groups"],
    )


def _largest(losses: Mapping[str, Any], attribute: str) -> _Figure:
    record = _record(losses, attribute)
    if isinstance(record, str):
        return _undefined(record)
    largest = record["largest"]
    if largest is None:
        return _undefined(record["largest_undefined"])
    return _Figure(
        largest["value"], largest["low"], largest["high"], "", _sizes(record, record), record["small_groups"]
    )


def _worst(result: Mapping[str, Any], attribute: str) -> _Figure:
    """The accuracy of the attribute's worst group."""
    record = _record(result["attributes"], attribute)
    if isinstance(record, str):
        return _undefined(record)
    worst = record["metrics"].get("worst_group")
    if worst is None:
        return _undefined(record["metrics"].get("worst_group_undefined", "it was not computed"))
    sizes = _sizes(record, worst)
    return _Figure(worst["value"], worst["low"], worst["high"], "", sizes, worst["small_groups"])


def _sizes(record: Mapping[str, Any], figure: Mapping[str, Any]) -> dict[str, int]:
    """Images of the groups that carry the figure."""
    sizes = {name: group["n"] for name, group in record["groups"].items()}
    large = {name: n for name, n in sizes.items() if name not in figure["small_groups"]}
    # With several rates every group can be too small for one of them and yet carry the others.
    return large or sizes


def _judge(metric: str, attribute: str | None, bound: float, figure: _Figure, policy: GatePolicy) -> GateResult:
    value, low, high = figure.value, figure.low, figure.high
    if value is None or low is None or high is None:
        reason = f"could not be computed: {figure.why}"
        return GateResult(metric, attribute, bound, None, None, None, INCONCLUSIVE, reason, **_how(metric, policy))
    floor = metric.startswith("min")
    best, worst = (high, low) if floor else (low, high)
    if policy.point_estimate:
        best = worst = value
    sign = -1 if floor else 1
    needed, needed_of = None, ""
    if sign * (worst - bound) <= _EQUAL:
        outcome, reason = PASS, "the whole interval lies within the bound"
    elif sign * (best - bound) > _EQUAL:
        outcome, reason = FAIL, "the whole interval lies beyond the bound"
    else:
        outcome = INCONCLUSIVE
        needed, needed_of, reason = _deciding(figure, value, low, high, bound)
    if policy.point_estimate:
        reason = f"judged by the bare figure, which lies {'within' if outcome == PASS else 'beyond'} the bound"
    if policy.notion == "worst-group" and metric == "max-gap":
        reason += "; for worst-group the gap of accuracies is judged, between the best group and the worst"
    if figure.small:
        reason += f"; not judged, too few images: {', '.join(figure.small)}"
    return GateResult(
        metric, attribute, bound, value, low, high, outcome, reason, needed, needed_of, **_how(metric, policy)
    )


def _how(metric: str, policy: GatePolicy) -> dict[str, Any]:
    notion = policy.notion if metric == "max-gap" else ""
    return {"notion": notion, "confidence": policy.confidence, "min_group": policy.min_group}


def _deciding(figure: _Figure, value: float, low: float, high: float, bound: float) -> tuple[int | None, str, str]:
    """How many images of the smallest group would decide, if the figure stayed what it is.

    Normal approximation: an interval shrinks with the square root of the number of images. The wider of its
    two sides is used, because the lower one of a gap is cut off at zero.
    """
    distance = abs(value - bound)
    if distance <= _EQUAL:
        reason = "the interval holds the bound, and no number of images would decide: the value equals the bound"
        return None, "", reason
    factor = (max(high - value, value - low) / distance) ** 2
    group, n = min(figure.groups.items(), key=lambda item: item[1])
    # The side that holds the bound can be the narrower one; still, what there is did not decide.
    needed = max(_rounded_up(n * factor), n + 1)
    whose = f" of {group} instead of {n}, and as many times more of the other groups," if group else f" instead of {n}"
    reason = (
        f"the interval holds the bound; about {needed} images{whose} would decide at the observed value "
        "(normal approximation)"
    )
    return needed, group, reason


def _rounded_up(images: float) -> int:
    """Up to two digits: an estimate should not look like a count."""
    unit = 10.0 ** max(math.floor(math.log10(max(images, 1))) - 1, 0)
    return int(math.ceil(images / unit - 1e-6) * unit)
