"""Figures held against bounds: pass, fail or inconclusive, judged on intervals rather than on bare figures.

A gate fails when the whole interval lies beyond its bound, passes when the whole interval lies within, and is
inconclusive in between; then it says how many images would decide. What could not be computed never passes, and neither
does what leaves groups out (unseen.py): a gap, a loss or a worst group can only be worse with the groups that are not
in it, so a failure stands without them and a pass does not. Nor does a model that is not better than one answer to all
images: its outputs or images are read in another way than it was made for, and what its groups have in common then says
nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fairprune_cli.audit.constant_answer import better, in_short
from fairprune_cli.audit.faithfulness_figures import ChurnFigures, FaithfulnessFigures
from fairprune_cli.audit.figures import (
    NO_DENSE,
    AttributeFigures,
    AuditFigures,
    ChangeFigure,
    DegradationFigures,
    Estimate,
    ModelFigures,
    SmallGroup,
)
from fairprune_cli.audit.gates import (
    EQUAL,
    FAIL,
    INCONCLUSIVE,
    PASS,
    GatePolicy,
    GateResult,
    Unseen,
    outcome,
    verdict,
)
from fairprune_cli.audit.unseen import ALL_IMAGES, groups_left_out, keeps_from_passing, remarks
from fairprune_cli.core.errors import FairpruneError


@dataclass(frozen=True)
class _Judged:
    """What a gate looks at.

    `groups`: images by group that carry the figure; `small`: groups left out; `ungrouped`: images in no group, and
    `dropped` as in `Unseen`; `remark` is added to the gate's reason.
    """

    figure: Estimate
    groups: Mapping[str, int] = field(default_factory=dict)
    small: tuple[SmallGroup, ...] = ()
    ungrouped: int = 0
    dropped: bool = False
    remark: str = ""


def evaluate(
    figures: AuditFigures,
    policy: GatePolicy,
    attributes: Sequence[str] = (),
    model: str = "",
    unseen: Mapping[str, Unseen] | None = None,
) -> tuple[list[GateResult], str]:
    """Judge every gate of the policy on every attribute.

    Args:
        attributes: those that are judged, all that were audited where empty. One that was not audited is
            inconclusive.
        model: which is judged; without a name it is "pruned", or "dense" where there is no other, or the only one
            there is.
        unseen: by attribute, what the data hold of it beside its groups.

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
        hidden = (unseen or {}).get(attribute, Unseen())
        if policy.max_gap is not None:
            gap = _gap(found, attribute, policy.notion, hidden)
            gates.append(_judge("max-gap", attribute, policy.max_gap, gap, policy))
        if policy.max_degradation is not None:
            loss = _against_dense(found.against_dense, found.degradation, found, attribute, hidden)
            gates.append(_judge("max-degradation", attribute, policy.max_degradation, loss, policy))
        if policy.max_churn is not None:
            churn = _against_dense(found.churn, found.faithfulness, found, attribute, hidden)
            gates.append(_judge("max-churn", attribute, policy.max_churn, churn, policy))
        if attributes and policy.min_accuracy is not None:
            worst = _worst(found, attribute, hidden)
            gates.append(_judge("min-accuracy", attribute, policy.min_accuracy, worst, policy))
    for metric, bound in policy.on_groups.items():
        if bound is not None and not (attributes or found.attributes):
            gates.append(_judge(metric, None, bound, _undefined("no attribute was audited"), policy))
    if policy.min_accuracy is not None and not attributes:
        gates.append(_judge("min-accuracy", None, policy.min_accuracy, _whole(found, policy.min_group), policy))
    dense = figures.models.get("dense")
    gates = [_doubted(gate, found, dense, policy) for gate in gates]
    return gates, verdict(gates)


def _doubted(gate: GateResult, found: ModelFigures, dense: ModelFigures | None, policy: GatePolicy) -> GateResult:
    """The gate; one that passes is inconclusive where a model that it looks at is not better than one answer to all."""
    if gate.verdict != PASS:
        return gate
    looked_at = {"the model": found.constant_answer}
    if dense is not None and _relative(gate, found):
        looked_at["the dense model that it is held against"] = dense.constant_answer
    for subject, constant in looked_at.items():
        if constant is not None and not better(constant, policy.point_estimate):
            reason = f"{in_short(constant, subject)}; but for that it would pass: {gate.reason}"
            return replace(gate, verdict=INCONCLUSIVE, reason=reason)
    return gate


def _relative(gate: GateResult, found: ModelFigures) -> bool:
    """Whether the gate judges changes against the dense model."""
    if gate.metric == "max-gap" and gate.attribute is not None and gate.attribute in found.attributes:
        return found.attributes[gate.attribute].gaps[gate.notion].compares == "losses"
    return gate.metric != "min-accuracy"


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


def _gap(found: ModelFigures, attribute: str, notion: str, hidden: Unseen) -> _Judged:
    """The gap of the notion itself, never of another one."""
    if attribute not in found.attributes:
        return _undefined(f"{attribute} was not audited")
    gap = found.attributes[attribute].gaps.get(notion)
    if gap is None:
        return _undefined(f"the audit was made without the notion {notion}")
    remark = ""
    if gap.against == "whole":
        remark = f"for {notion} the gap of {gap.compares} is judged, between the best group and the worst"
    return _of_groups(gap, found.attributes[attribute], gap.small, gap.denominators, hidden, remark)


def _against_dense(
    whole: ChangeFigure | ChurnFigures | None,
    by_attribute: Mapping[str, DegradationFigures | FaithfulnessFigures],
    found: ModelFigures,
    attribute: str,
    hidden: Unseen,
) -> _Judged:
    """The largest figure of any of the attribute's groups, of a kind that there is beside a dense model alone.

    Args:
        whole: the kind's figure over all images.
    """
    if whole is None:
        return _undefined(NO_DENSE)
    if attribute not in by_attribute:
        return _undefined(f"{attribute} was not audited")
    largest = by_attribute[attribute].largest
    return _of_groups(largest, found.attributes[attribute], largest.small, (), hidden)


def _worst(found: ModelFigures, attribute: str, hidden: Unseen) -> _Judged:
    """The accuracy of the attribute's worst group."""
    if attribute not in found.attributes:
        return _undefined(f"{attribute} was not audited")
    worst = found.attributes[attribute].worst_group
    return _of_groups(worst, found.attributes[attribute], worst.small, (), hidden)


def _whole(found: ModelFigures, least: int) -> _Judged:
    """The accuracy over all images, which are a group of their own."""
    small = (SmallGroup(ALL_IMAGES, found.n),) if found.n < least else ()
    return _Judged(found.accuracy, {"": found.n}, small)


def _of_groups(
    figure: Estimate, attribute: AttributeFigures, small: Sequence[str], denominators: Sequence[SmallGroup],
    hidden: Unseen, remark: str = "",
) -> _Judged:  # fmt: skip
    """A figure of an attribute's groups with all that it does not rest on."""
    sizes = {name: group.n for name, group in attribute.groups.items()}
    # With several rates every group can be too small for one of them and yet carry the others.
    carry = {name: n for name, n in sizes.items() if name not in small} or sizes
    out = groups_left_out(small, denominators, sizes, hidden)
    return _Judged(figure, carry, out, attribute.ungrouped, hidden.dropped, remark)


def _judge(metric: str, attribute: str | None, bound: float, judged: _Judged, policy: GatePolicy) -> GateResult:
    figure = judged.figure
    value, low, high = figure.value, figure.low, figure.high
    open_to_doubt = keeps_from_passing(judged.small, judged.ungrouped, judged.dropped, policy)
    told = [judged.remark, *remarks(judged.small, judged.ungrouped, judged.dropped, attribute or "", policy)]
    needed, needed_of = None, ""
    if value is None or low is None or high is None:
        value = low = high = None
        found, reason = INCONCLUSIVE, f"could not be computed: {figure.why}"
    else:
        found = outcome(metric, bound, value, low, high, policy.point_estimate)
        where = {PASS: "within", FAIL: "beyond"}.get(found, "")
        if policy.point_estimate:
            reason = f"judged by the bare figure, which lies {where} the bound"
        elif where:
            reason = f"the whole interval lies {where} the bound"
        else:
            needed, needed_of, reason = _deciding(judged.groups, value, low, high, bound)
        if found == PASS and open_to_doubt:
            found, reason = INCONCLUSIVE, "what was looked at lies within the bound, and not all was looked at"
            if judged.small:  # the nearest to being judged, as an estimate of what it takes
                nearest = max(judged.small, key=lambda one: one.n)
                needed, needed_of = policy.min_group, "" if nearest.group == ALL_IMAGES else nearest.group
    return GateResult(
        metric, attribute, bound, value, low, high, found, "; ".join(text for text in (reason, *told) if text),
        needed, needed_of, **_how(metric, policy), small_groups=judged.small, ungrouped=judged.ungrouped,
        ungrouped_dropped=judged.dropped and judged.ungrouped > 0,
    )  # fmt: skip


def _how(metric: str, policy: GatePolicy) -> dict[str, Any]:
    return {
        "notion": policy.notion if metric == "max-gap" else "", "confidence": policy.confidence,
        "min_group": policy.min_group, "point_estimate": policy.point_estimate,
        "allow_small_groups": policy.allow_small_groups,
    }  # fmt: skip


def _deciding(
    groups: Mapping[str, int], value: float, low: float, high: float, bound: float
) -> tuple[int | None, str, str]:
    """How many images of the smallest group would decide, if the figure stayed what it is.

    Normal approximation: an interval shrinks with the square root of the number of images. The wider of its
    two sides is used, because the lower one of a gap is cut off at zero.
    """
    distance = abs(value - bound)
    if distance <= EQUAL:
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
