"""Settings of the audit: intervals, gates, and what is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fairprune_cli.core.settings import Need, setting
from fairprune_cli.data.options import LEAST_IMAGES, SeedOptions
from fairprune_cli.fairness.options import NotionOptions


@dataclass(frozen=True)
class IntervalOptions:
    """Intervals."""

    min_group: int = setting(LEAST_IMAGES, "least denominator of a rate", low=1, high=1_000_000_000)
    confidence: float = setting(0.95, "confidence of the intervals", low=0.5, high=0.999, share=True)


@dataclass(frozen=True)
class FigureOptions(IntervalOptions, SeedOptions):
    """How figures are made: confidence of the intervals, least denominator, seed of what calibration errs by chance."""


# Of functions that are called without settings.
CONFIDENCE, MIN_GROUP, SEED = FigureOptions.confidence, FigureOptions.min_group, FigureOptions.seed


def _bound(text: str) -> Any:
    """A gate's bound. One that was left empty would look like a gate."""
    return setting(None, text, low=0.0, high=1.0, share=True, may_be_empty=False)


# There is a gate.
GATED = tuple(map(Need, ("max_gap", "max_degradation", "max_churn", "min_accuracy", "policy")))


@dataclass(frozen=True)
class GateOptions(IntervalOptions, NotionOptions):
    """Gates; a bound of none asks nothing."""

    max_gap: float | None = _bound("gate: largest gap of the notion")
    max_degradation: float | None = _bound("gate: largest loss of a group")
    max_churn: float | None = _bound("gate: largest share of a group's images whose prediction changed")
    min_accuracy: float | None = _bound("gate: least accuracy")
    allow_small_groups: bool = setting(False, "gates leave out groups below min_group, by name", needs=GATED)
    point_estimate: bool = setting(False, "gates judge the bare figure", needs=GATED)


@dataclass(frozen=True)
class AuditOptions(GateOptions):
    """What is audited and shown."""

    policy: str | None = setting(None, "policy file with gates of its own", metavar="path", may_be_empty=False)
    split: str = setting(
        "test", "split that the audit reads", choices=("train", "val", "test"),
        also={"valid": "val", "validation": "val", "dev": "val", "eval": "test", "training": "train"},
    )  # fmt: skip
    group_thresholds: bool = setting(
        False, "a threshold per group, which needs the group at use: prune fits them, audit judges by them"
    )
    list_changed: bool = setting(False, "changed.csv: all images whose prediction is not the dense model's")
    show_examples: int = setting(0, "images that each group lost through pruning, shown in the report", low=0, high=100)
