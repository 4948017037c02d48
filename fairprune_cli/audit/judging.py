"""Figures held against bounds: pass, fail or inconclusive, judged on intervals rather than on bare figures.

A gate fails when the whole interval lies beyond its bound, passes when the whole interval lies within, and is
inconclusive in between; then it says how many images would decide (deciding.py). What could not be computed never
passes, and neither does what leaves groups out (unseen.py): a gap, a loss or a worst group can only be worse with the
groups that are not in it, so a failure stands without them and a pass does not. Nor does a model that is not better
than one answer to all images: its outputs or images are read in another way than it was made for, and what its groups
have in common then says nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fairprune_cli.audit.constant_answer import better, in_short
from fairprune_cli.audit.deciding import Deciding, Question, images_that_decide
from fairprune_cli.audit.deciding_words import would_decide, would_show_it
from fairprune_cli.audit.evidence import Evidence
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
    FAIL,
    INCONCLUSIVE,
    PASS,
    GatePolicy,
    GateResult,
    Unseen,
    outcome,
    verdict,
)
from fairprune_cli.audit.outcomes import shares_of
from fairprune_cli.audit.unseen import ALL_IMAGES, groups_left_out, keeps_from_passing, remarks
from fairprune_cli.core.errors import FairpruneError


@dataclass(frozen=True)
class _Judged:
    """What a gate looks at.

    `small`: groups left out; `ungrouped`: images in no group, and `dropped` as in `Unseen`; `remark` is added to the
    gate's reason.
    """

    figure: Estimate
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
        gates.append(_judge("min-accuracy", None, policy.min_accuracy, _whole(found, policy), policy))
    dense = figures.models.get("dense")
    gates = [_doubted(gate, found, dense, policy) for gate in gates]
    return gates, verdict(gates)


def _doubted(gate: GateResult, found: ModelFigures, dense: ModelFigures | None, policy: GatePolicy) -> GateResult:
    """The gate; one that passes is inconclusive where a model that it looks at is not better than one answer to all.

    One that more images would let pass needs so many that they show the model to be better, too.
    """
    would_pass = gate.needed is not None and gate.value is not None and (
        outcome(gate.metric, gate.bound, gate.value, gate.value, gate.value) == PASS
    )  # fmt: skip
    if gate.verdict != PASS and not would_pass:
        return gate
    looked_at = {"the model": found.constant_answer}
    if dense is not None and _relative(gate, found):
        looked_at["the dense model that it is held against"] = dense.constant_answer
    for subject, constant in looked_at.items():
        if constant is None or better(constant, policy.point_estimate):
            continue
        doubt = in_short(constant, subject)
        needed, told = would_show_it(constant, policy.confidence)
        if gate.verdict == PASS:
            reason = f"{doubt}; but for that it would pass: {gate.reason}{told}"
        else:
            needed = None if needed is None or gate.needed is None else max(needed, gate.needed)
            reason = f"{gate.reason}; what keeps it from passing, too: {doubt}{told}"
        return replace(gate, verdict=INCONCLUSIVE, reason=reason, needed=needed)
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


def _whole(found: ModelFigures, policy: GatePolicy) -> _Judged:
    """The accuracy over all images, which are a group of their own."""
    small = (SmallGroup(ALL_IMAGES, found.n),) if found.n < policy.min_group else ()
    right = (shares_of([found.correct], [found.n]),)
    behind = Evidence("lowest", right, (ALL_IMAGES,), np.array([found.n]), policy.confidence, policy.min_group)
    return _Judged(replace(found.accuracy, evidence=behind), small)


def _of_groups(
    figure: Estimate, attribute: AttributeFigures, small: Sequence[str], denominators: Sequence[SmallGroup],
    hidden: Unseen, remark: str = "",
) -> _Judged:  # fmt: skip
    """A figure of an attribute's groups with all that it does not rest on."""
    sizes = {name: group.n for name, group in attribute.groups.items()}
    out = groups_left_out(small, denominators, sizes, hidden)
    return _Judged(figure, out, attribute.ungrouped, hidden.dropped, remark)


def _judge(metric: str, attribute: str | None, bound: float, judged: _Judged, policy: GatePolicy) -> GateResult:
    figure = judged.figure
    value, low, high = figure.value, figure.low, figure.high
    open_to_doubt = keeps_from_passing(judged.small, judged.ungrouped, judged.dropped, policy)
    told = [judged.remark, *remarks(judged.small, judged.ungrouped, judged.dropped, attribute or "", policy)]
    needed = None
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
            reason = "the interval holds the bound"
        if found == PASS and open_to_doubt:
            found, reason = INCONCLUSIVE, "what was looked at lies within the bound, and not all was looked at"
    if found == INCONCLUSIVE and figure.evidence is not None:
        deciding = _deciding(metric, bound, judged, figure.evidence, policy)
        needed, reason = deciding.images, f"{reason}; {would_decide(deciding, figure, judged.small)}".removesuffix("; ")
    return GateResult(
        metric, attribute, bound, value, low, high, found, "; ".join(text for text in (reason, *told) if text), needed,
        **_how(metric, policy), small_groups=judged.small, ungrouped=judged.ungrouped,
        ungrouped_dropped=judged.dropped and judged.ungrouped > 0,
    )  # fmt: skip


def _deciding(metric: str, bound: float, judged: _Judged, evidence: Evidence, policy: GatePolicy) -> Deciding:
    """How many images would decide, in all; none where what the data hold in no group would keep it from passing."""
    question = Question(bound, metric.startswith("min"), policy.point_estimate, not policy.allow_small_groups)
    found = images_that_decide(evidence, question)
    absent = tuple(one.group for one in judged.small if one.group not in evidence.groups)
    lost = keeps_from_passing((), judged.ungrouped, judged.dropped, policy)
    if not found.passes or policy.allow_small_groups or not (absent or lost):
        return found
    nothing = ("what is in no group",) if lost else ()
    return replace(found, images=None, without=(*found.without, *absent, *nothing))


def _how(metric: str, policy: GatePolicy) -> dict[str, Any]:
    return {
        "notion": policy.notion if metric == "max-gap" else "", "confidence": policy.confidence,
        "min_group": policy.min_group, "point_estimate": policy.point_estimate,
        "allow_small_groups": policy.allow_small_groups,
    }  # fmt: skip
