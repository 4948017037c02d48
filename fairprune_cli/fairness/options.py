"""Settings of the constraint: what is held equal, how tightly, and how the multipliers move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairprune_cli.core import plugins
from fairprune_cli.core.settings import Need, setting

BOUNDS = ("matched", "upper", "lower")
_ACTS = (Need("fairness_on", ("both", "weights", "mask")),)  # there is a constraint
_FITS = (Need("group_thresholds"),)


@dataclass(frozen=True)
class NotionOptions:
    """What is held equal."""

    notion: str = setting(
        "accuracy", "fairness notion of constraint and gate, or package.module:Class", plugins=plugins.NOTION
    )


@dataclass(frozen=True)
class ConstraintOptions(NotionOptions):
    """The constraint and its multipliers."""

    method_notion: str = setting(
        "own", "what a method with a notion of its own (ceag) holds equal; asked, that of notion, where that is given",
        choices=("own", "asked"), by_method=True,
    )  # fmt: skip
    relaxation: str = setting(
        "logistic", "surrogate of the indicator", plugins=plugins.RELAXATION, by_method=True, needs=_ACTS
    )
    bound: str = setting("matched", "side from which the surrogate bounds", choices=BOUNDS, by_method=True, needs=_ACTS)
    tolerance: float = setting(
        0.02, "allowed difference between groups", low=0.0, high=1.0, share=True, by_method=True, needs=_ACTS,
        besides=_FITS,
    )  # fmt: skip
    target: str = setting(
        "method", "what a gap is to come down to: absolute is the tolerance, dense the dense model's own gap where "
        "that is larger, method what the method does, which is absolute, but dense for bifp where other rates than "
        "accuracies are compared; --group-thresholds come down to the tolerance unless dense is asked for",
        choices=("method", "absolute", "dense"), by_method=True, needs=_ACTS, besides=_FITS,
    )  # fmt: skip
    max_accuracy_loss: float = setting(
        1.0, "share of all images that fairness may cost, against the same run without the constraint, which is then "
        "trained first; 1 sets no bound", above=0.0, high=1.0, share=True, by_method=True, needs=_ACTS,
    )  # fmt: skip
    tolerance_errors: float = setting(
        1.0, "the tolerance is at least so many standard errors of the difference that the multipliers read", low=0.0,
        high=10.0, by_method=True, needs=_ACTS,
    )  # fmt: skip
    multiplier_start: str = setting(
        "balanced", "multipliers before the first step: none, or those that balance the groups among the images that "
        "each rate looks at (all of them for accuracy, those of a label for odds)",
        choices=("zero", "balanced"), by_method=True, needs=_ACTS,
    )  # fmt: skip
    multiplier_step: str = setting(
        "exponentiated", "dual step: the violation is added, or multiplies (exponentiated gradient)",
        choices=("additive", "exponentiated"), by_method=True, needs=_ACTS,
    )  # fmt: skip
    multiplier_fall: str = setting(
        "target", "how far multipliers fall where the constraint is met: to where they started (below only where their "
        "group leads by more than is allowed), or to zero; or as the target has it: zero where it is the dense model's "
        "gap, else start", choices=("target", "start", "zero"), by_method=True, needs=_ACTS,
    )  # fmt: skip
    multiplier_unit: str = setting(
        "group", "what steps and cap of a rate's multipliers are relative to: group is the share of all images that "
        "the largest group among those that the rate looks at has, one is 1", choices=("group", "one"), by_method=True,
        needs=_ACTS,
    )  # fmt: skip
    multiplier_rate: float = setting(0.05, "step of the multipliers, in units", low=0.0, by_method=True, needs=_ACTS)
    multiplier_cap: float = setting(3.0, "largest multiplier, in units", low=0.0, by_method=True, needs=_ACTS)
    multiplier_decay: float = setting(
        0.0, "share of a multiplier lost per step at which it falls, beside the dual step", low=0.0, high=1.0,
        share=True, by_method=True, needs=_ACTS,
    )  # fmt: skip
    multiplier_memory: float = setting(
        2000.0, "images that the running rates look back on", above=0.0, by_method=True, needs=_ACTS
    )
    levelling: float = setting(
        0.0, "how far a gap may close by making the better groups worse", low=0.0, high=1.0, share=True, by_method=True,
        needs=_ACTS,
    )  # fmt: skip

    @staticmethod
    def settle(values: dict[str, Any], sources: Mapping[str, str]) -> list[tuple[str, str, str]]:
        """Who names a notion wants that one, whatever the method."""
        if sources["notion"] != "default" and sources["method_notion"] == "default":
            values["method_notion"] = "asked"
        return []
