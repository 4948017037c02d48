"""Figures held against bounds: pass, fail or inconclusive, judged on intervals rather than on bare figures.

A gate fails when the whole interval lies beyond its bound, passes when the whole interval lies within, and is
inconclusive in between; then it says how many images would decide. What could not be computed never passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairprune_cli.audit.figures import NO_DENSE, AttributeFigures, AuditFigures, Estimate, ModelFigures
from fairprune_cli.audit.gates import FAIL, INCONCLUSIVE, PASS, GatePolicy, GateResult, verdict
from fairprune_cli.core.errors import FairpruneError

# Bounds are typed as decimals and figures come from divisions, so equal means equal up to rounding.
_EQUAL = 1e-12


@dataclass(frozen=True)
class _Judged:
    """What a gate looks at.

    `groups`: images by group that carry the figure; `small`: groups left out; `remark` ends the gate's reason.
    """

    figure: Estimate
    groups: Mapping[str, int] = field(default_factory=dict)
    small: Sequence[str] = ()
    remark: str = ""


def evaluate(
    figures: AuditFigures, policy: GatePolicy, attributes: Sequence[str] = (), model: str = ""
) -> tuple[list[GateResult], str]:
    """Judge every gate of the policy on every attribute.

    Args:
        attributes: those that are judged, all that were audited where empty. One that was not audited is
            inconclusive.
        model: which is judged; without a name it is "pruned", or "dense" where there is no other, or the only one
            there is.

    Returns:
        The gates, and the verdict over all of them: "pass", "fail", "inconclusive", or "none" without gates.

    Raises:
        FairpruneError: the figures were made with another confidence or least group than the policy asks for,
            or the models leave open which one is meant.
    """
    for name in ("confidence", "min_group"):
        made, asked = getattr(figures.judgement, name), getattr(policy, name)
        if made != asked:
            raise FairpruneError(
                f"the audit was made with {name} {made}, the gates ask for {asked}",
                hint="audit the model again with the settings of the gates",
            )
    found = figures.models[model] if model else _only(figures.models)
    gates: list[GateResult] = []
    for attribute in attributes or found.attributes:
        if policy.max_gap is not None:
            gap = _gap(found, attribute, policy.notion)
            gates.append(_judge("max-gap", attribute, policy.max_gap, gap, policy))
        if policy.max_degradation is not None:
            loss = _largest(found, attribute)
            gates.append(_judge("max-degradation", attribute, policy.max_degradation, loss, policy))
        if policy.max_churn is not None:
            gates.append(_judge("max-churn", attribute, policy.max_churn, _churn(found, attribute), policy))
        if attributes and policy.min_accuracy is not None:
            gates.append(_judge("min-accuracy", attribute, policy.min_accuracy, _worst(found, attribute), policy))
    for metric, bound in _per_attribute(policy):
        if bound is not None and not (attributes or found.attributes):
            gates.append(_judge(metric, None, bound, _undefined("no attribute was audited"), policy))
    if policy.min_accuracy is not None and not attributes:
        whole = _Judged(found.accuracy, {"": found.n})
        gates.append(_judge("min-accuracy", None, policy.min_accuracy, whole, policy))
    return gates, verdict(gates)


def _per_attribute(policy: GatePolicy) -> tuple[tuple[str, float | None], ...]:
    """The gates that are judged on groups alone, and their bounds."""
    return (
        ("max-gap", policy.max_gap), ("max-degradation", policy.max_degradation), ("max-churn", policy.max_churn),
    )  # fmt: skip


def _only(models: Mapping[str, ModelFigures]) -> ModelFigures:
    for name in ("pruned", "dense"):
        if name in models:
            return models[name]
    if len(models) == 1:
        return next(iter(models.values()))
    raise FairpruneError(
        f"which model shall be judged? There are {', '.join(models) or 'none'}",
        hint="gates judge the model called pruned, or the only one",
    )


def _undefined(why: str) -> _Judged:
    return _Judged(Estimate(why=why))


def _gap(found: ModelFigures, attribute: str, notion: str) -> _Judged:
    """The gap of the notion itself, never of another one."""
    if attribute not in found.attributes:
        return _undefined(f"{attribute} was not audited")
    gap = found.attributes[attribute].gaps.get(notion)
    if gap is None:
        return _undefined(f"the audit was made without the notion {notion}")
    remark = ""
    if gap.against == "whole":
        remark = f"for {notion} the gap of {gap.compares} is judged, between the best group and the worst"
    return _Judged(gap, _sizes(found.attributes[attribute], gap.small), gap.small, remark)


def _largest(found: ModelFigures, attribute: str) -> _Judged:
    """The largest loss of accuracy of any of the attribute's groups."""
    if found.against_dense is None:
        return _undefined(NO_DENSE)
    if attribute not in found.degradation:
        return _undefined(f"{attribute} was not audited")
    largest = found.degradation[attribute].largest
    return _Judged(largest, _sizes(found.attributes[attribute], largest.small), largest.small)


def _churn(found: ModelFigures, attribute: str) -> _Judged:
    """The largest share of any of the attribute's groups whose predictions changed."""
    if found.churn is None:
        return _undefined(NO_DENSE)
    if attribute not in found.faithfulness:
        return _undefined(f"{attribute} was not audited")
    largest = found.faithfulness[attribute].largest
    return _Judged(largest, _sizes(found.attributes[attribute], largest.small), largest.small)


def _worst(found: ModelFigures, attribute: str) -> _Judged:
    """The accuracy of the attribute's worst group."""
    if attribute not in found.attributes:
        return _undefined(f"{attribute} was not audited")
    worst = found.attributes[attribute].worst_group
    return _Judged(worst, _sizes(found.attributes[attribute], worst.small), worst.small)


def _sizes(attribute: AttributeFigures, small: Sequence[str]) -> dict[str, int]:
    """Images of the groups that carry a figure."""
    sizes = {name: group.n for name, group in attribute.groups.items()}
    # With several rates every group can be too small for one of them and yet carry the others.
    return {name: n for name, n in sizes.items() if name not in small} or sizes


def _judge(metric: str, attribute: str | None, bound: float, judged: _Judged, policy: GatePolicy) -> GateResult:
    figure = judged.figure
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
        needed, needed_of, reason = _deciding(judged.groups, value, low, high, bound)
    if policy.point_estimate:
        reason = f"judged by the bare figure, which lies {'within' if outcome == PASS else 'beyond'} the bound"
    if judged.remark:
        reason += f"; {judged.remark}"
    if judged.small:
        reason += f"; not judged, too few images: {', '.join(judged.small)}"
    return GateResult(
        metric, attribute, bound, value, low, high, outcome, reason, needed, needed_of, **_how(metric, policy)
    )


def _how(metric: str, policy: GatePolicy) -> dict[str, Any]:
    notion = policy.notion if metric == "max-gap" else ""
    return {"notion": notion, "confidence": policy.confidence, "min_group": policy.min_group}


def _deciding(
    groups: Mapping[str, int], value: float, low: float, high: float, bound: float
) -> tuple[int | None, str, str]:
    """How many images of the smallest group would decide, if the figure stayed what it is.

    Normal approximation: an interval shrinks with the square root of the number of images. The wider of its
    two sides is used, because the lower one of a gap is cut off at zero.
    """
    distance = abs(value - bound)
    if distance <= _EQUAL:
        reason = "the interval holds the bound, and no number of images would decide: the value equals the bound"
        return None, "", reason
    factor = (max(high - value, value - low) / distance) ** 2
    group, n = min(groups.items(), key=lambda item: item[1])
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
