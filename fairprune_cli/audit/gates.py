"""Gates: what is asked of a model, and what is said of it. judging.py comes from the one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairprune_cli.audit.figures import SmallGroup
from fairprune_cli.audit.options import GateOptions
from fairprune_cli.core.errors import ExitCode, Problems
from fairprune_cli.core.settings import check_value, values_of
from fairprune_cli.fairness import notions

PASS, FAIL, INCONCLUSIVE, NONE = "pass", "fail", "inconclusive", "none"
# Bounds are typed as decimals and figures come from divisions, so equal means equal up to rounding.
EQUAL = 1e-12


@dataclass(frozen=True)
class GatePolicy(GateOptions):
    """What is asked of a model; a bound of None asks nothing.

    Attributes:
        max_gap: bound on the gap of `notion` in every attribute, 0..1: the largest difference between two groups in
            any of the notion's rates.
        max_degradation: bound on the largest loss of accuracy of any group against the dense model, 0..1.
        max_churn: bound on the largest share of a group's images whose prediction is not the dense model's, 0..1.
        min_accuracy: bound on the accuracy over all images, 0..1; where attributes are named, on that of the worst
            group of each.
        min_group: least denominator with which a group takes part in a gap.
        allow_small_groups: judge the other groups where some are too small, or have no image; otherwise nothing passes
            there.
        confidence: of the intervals, 0.5..0.999.
        point_estimate: judge the bare figure and ignore its interval.
        notion: one of the listed notions, or a notion of one's own (package.module:Class).
    """

    @property
    def on_groups(self) -> dict[str, float | None]:
        """Bounds of the gates that are judged on groups alone, by metric as in `GateResult`."""
        return {"max-gap": self.max_gap, "max-degradation": self.max_degradation, "max-churn": self.max_churn}

    def __post_init__(self) -> None:
        problems = Problems("gates")
        for name, value in values_of(self).items():
            if value is None:
                continue
            try:
                check_value(GateOptions, name, value)
            except ValueError as error:
                problems.add(f"--{name.replace('_', '-')} is {value}: {error}")
        if hint := notions.why_unknown(self.notion):
            problems.add(f"--notion {self.notion!r} is unknown: {hint}")
        problems.raise_if_any(hint="5 points are written 0.05")


@dataclass(frozen=True)
class GateResult:
    """One gate judged on one attribute, or on all images where `attribute` is None.

    Attributes:
        metric: "max-gap", "max-degradation", "max-churn" or "min-accuracy"; `name` adds the attribute.
        value, low, high: figure and interval, None where undefined.
        verdict: "pass", "fail" or "inconclusive".
        reason: a sentence for people.
        needed: where inconclusive, how many images in all, in the same shares, would decide (deciding.py); None where
            no number would or none is known.
        model: the model that was judged, where several were; empty otherwise.
        label: the rule's own name in a policy; empty where it has none.
        task: the task that was judged, where there are several; empty otherwise.
        qualifier: the notion, where a policy's rule names one that is not accuracy.
        notion, confidence, min_group, point_estimate, allow_small_groups: how it was judged; the notion of a gap only.
        small_groups: groups that the figure does not rest on.
        ungrouped: images that are in none of the attribute's groups; ungrouped_dropped: whether the manifest says that
            such are dropped.
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
    model: str = ""
    label: str = ""
    task: str = ""
    qualifier: str = ""
    notion: str = ""
    confidence: float | None = None
    min_group: int | None = None
    point_estimate: bool = GateOptions.point_estimate
    allow_small_groups: bool = GateOptions.allow_small_groups
    small_groups: tuple[SmallGroup, ...] = ()
    ungrouped: int = 0
    ungrouped_dropped: bool = False

    @property
    def name(self) -> str:
        name = self.metric if self.attribute is None else f"{self.metric} {self.attribute}"
        name = f"{self.label}: {name}" if self.label else name
        name = f"{self.task}: {name}" if self.task else name
        name = f"{name} ({self.qualifier})" if self.qualifier else name
        return f"{name} [{self.model}]" if self.model else name


@dataclass(frozen=True)
class Unseen:
    """What the data hold of an attribute that no figure shows.

    Attributes:
        absent: groups without a single image in the data: combinations of an intersection that do not occur.
        dropped: whether the manifest itself says that images without a value are dropped. Where nobody said so, images
            in no group may be a group that was lost.
    """

    absent: tuple[str, ...] = ()
    dropped: bool = False


def cannot_fail(metric: str, bound: float) -> bool:
    """Whether no model could violate the bound; metric: as in `GateResult`, or the setting's name."""
    return bound <= 0.0 if metric.startswith("min") else bound >= 1.0


def outcome(metric: str, bound: float, value: float, low: float, high: float, bare: bool = False) -> str:
    """On which side of its bound a figure lies: "pass", "fail", or "inconclusive" where the interval holds the bound.

    Args:
        metric: one that begins with min bounds the figure from below, another from above.
        bare: judge the value without its interval.
    """
    floor = metric.startswith("min")
    best, worst = (high, low) if floor else (low, high)
    if bare:
        best = worst = value
    sign = -1 if floor else 1
    if sign * (worst - bound) <= EQUAL:
        return PASS
    return FAIL if sign * (best - bound) > EQUAL else INCONCLUSIVE


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
