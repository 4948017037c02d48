"""What is known about a run while it goes on: a record per epoch for the report, and a view of each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fairprune_cli.data.batches.batch import Known
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.fairness.joint import JointConstraint


@dataclass(frozen=True)
class Groups:
    """Names for the records: attribute -> group names, in the order of the batch's columns."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class EpochRecord:
    """What the report plots, once per epoch; per attribute and group where it says so.

    Attributes:
        exact_gap, surrogate_gap: of the notion, running; 0..1 for the exact one.
        allowed_gap: what the constraint leaves alone, 0..1.
        multipliers: the largest of a group's in its unit, per attribute and group.
        gradient_norm: mean norm of the weight steps' gradients before they are clipped.
        clipped: share of the weight steps whose gradient was clipped.
        mask_moves: how often the mask moved.
        mask_returns: share of the kept units that were masked before the move, mean over the moves; None without any.
    """

    epoch: int
    step: int
    loss: float
    sparsity: float
    exact_gap: dict[str, float | None]
    surrogate_gap: dict[str, float | None]
    multipliers: dict[str, dict[str, float]]
    lower_accuracy: float
    upper_accuracy: float | None
    group_accuracy: dict[str, dict[str, float | None]]
    images_per_second: float
    gradient_norm: float
    clipped: float
    mask_moves: int
    mask_returns: float | None
    allowed_gap: dict[str, float] = field(default_factory=dict)  # states of before have none


@dataclass
class StepFigures:
    """State of the run for the display; the same figures as an epoch record, at any step."""

    step: int
    total: int
    loss: float
    sparsity: float
    exact_gap: float
    surrogate_gap: float
    multiplier: float
    images_per_second: float


@dataclass
class Means:
    """Sums over the running epoch."""

    loss: float = 0.0
    lower_right: float = 0.0
    lower_seen: float = 0.0
    upper_right: float = 0.0
    upper_seen: float = 0.0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    gradient_norm: float = 0.0
    clipped: int = 0
    moves: int = 0
    returns: float = 0.0

    def add_lower(self, loss: float, norm: float, clipped: bool, right: float, seen: float, images: int) -> None:
        """Count a weight step: its mean loss, the norm of its gradient, and what `answers` gives of its batch."""
        self.loss += loss
        self.steps += 1
        self.images += images
        self.gradient_norm += norm
        self.clipped += clipped
        self.lower_right += right
        self.lower_seen += seen

    def add_upper(self, right: float, seen: float, images: int) -> None:
        """Count an upper batch by what `answers` gives of it."""
        self.upper_right += right
        self.upper_seen += seen
        self.images += images

    def add_move(self, returned: float) -> None:
        """Count a move of the mask, and the share of the kept units that were masked before it."""
        self.moves += 1
        self.returns += returned

    @property
    def mean_loss(self) -> float:
        return self.loss / max(self.steps, 1)

    @property
    def images_per_second(self) -> float:
        return self.images / max(self.seconds, 1e-9)


def answers(logits: np.ndarray, known: Known, columns: Sequence[slice] = ()) -> tuple[float, float]:
    """Images classified right and images in all, each counting what it stands for.

    Args:
        logits: [B, K], or [B, W] with the scores of each task in its `columns`; then the mean over the tasks counts.
    """
    if columns:
        labels = known.labels if known.labels.ndim > 1 else known.labels[:, None]
        right = np.mean([logits[:, own].argmax(1) == labels[:, t] for t, own in enumerate(columns)], axis=0)
    else:
        right = logits.argmax(1) == known.labels
    if known.weights is None:
        return float(right.sum()), float(len(right))
    return float(right @ known.weights), float(known.weights.sum())


def step_figures(
    step: int, total: int, means: Means, sparsity: float, constraint: Constraint | JointConstraint
) -> StepFigures:
    """The figures of this step; of several attributes the one with the widest gap."""
    worst = max(constraint.violations(), key=lambda v: -1.0 if math.isnan(v.exact) else v.exact, default=None)
    return StepFigures(
        step, total, means.mean_loss, sparsity,
        math.nan if worst is None else worst.exact, math.nan if worst is None else worst.surrogate,
        max((float(mu.max()) for mu in constraint.in_units), default=0.0), means.images_per_second,
    )  # fmt: skip


def record(
    epoch: int, step: int, means: Means, sparsity: float, constraint: Constraint | JointConstraint, groups: Groups
) -> EpochRecord:
    """The record of an epoch that ends at `step`."""
    names, violations = groups.names, constraint.violations()
    # Several rates of a group (odds) share a line in the report: the largest multiplier speaks for them.
    largest = [mu.max(axis=(0, 1)) for mu in constraint.in_units]
    return EpochRecord(
        epoch=epoch,
        step=step,
        loss=means.mean_loss,
        sparsity=sparsity,
        exact_gap={a: _number(v.exact) for a, v in zip(names, violations, strict=True)},
        surrogate_gap={a: _number(v.surrogate) for a, v in zip(names, violations, strict=True)},
        multipliers={
            a: dict(zip(members, map(float, mu), strict=True))
            for (a, members), mu in zip(names.items(), largest, strict=True)
        },
        lower_accuracy=means.lower_right / max(means.lower_seen, 1e-9),
        upper_accuracy=means.upper_right / means.upper_seen if means.upper_seen else None,
        group_accuracy={
            a: {g: _number(float(x)) for g, x in zip(members, values, strict=True)}
            for (a, members), values in zip(names.items(), constraint.group_accuracy(), strict=True)
        },
        images_per_second=means.images_per_second,
        gradient_norm=means.gradient_norm / max(means.steps, 1),
        clipped=means.clipped / max(means.steps, 1),
        mask_moves=means.moves,
        mask_returns=means.returns / means.moves if means.moves else None,
        allowed_gap=dict(zip(names, constraint.tolerances, strict=True)),
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
