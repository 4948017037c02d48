"""How much accuracy fairness may cost: a second constraint, with a multiplier of its own.

With a(t) the running accuracy over all groups after update t, a0(t) that of the same run without the constraint, on the
same images, and X the share of all images that may be lost:

    lambda <- clip(lambda + rate (a0(t) - X - a(t)) / X, 0, cap)

Lambda is the accuracy's multiplier in ((1 + lambda) loss + sum of mu term) / (1 + lambda + sum of mu), which is the
Lagrangian with mu / (1 + lambda) in place of mu: all that the fairness constraint weighs is weighed so much less.
Comparing at the same step frees the difference from what pruning and the learning rate do to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

RATE, CAP = 0.05, 20.0


class AccuracyWatch(Protocol):
    """Is told of the running accuracy after each update of the multipliers.

    Attributes:
        weight: lambda, from 0.
        updates: how often it was told.
    """

    weight: float
    updates: int

    def update(self, accuracy: float) -> None: ...


class AccuracyRecord:
    """Keeps the running accuracies, and lets the multipliers be.

    Attributes:
        seen: after each update, 0..1; NaN before an image was counted.
    """

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.weight, self.updates = 0.0, 0

    def update(self, accuracy: float) -> None:
        """Keep it."""
        self.seen.append(accuracy)


class AccuracyBudget:
    """Holds the accuracy to what the unconstrained method had at the same step, less a share.

    Args:
        unconstrained: a0 after each update, 0..1; NaN where it is not known, and beyond its end, lambda stays.
        loss: X, above 0.
    """

    def __init__(self, unconstrained: Sequence[float], loss: float, *, rate: float = RATE, cap: float = CAP) -> None:
        if not loss > 0:
            raise ValueError("a share of accuracy that may be lost is above 0")
        self.unconstrained = np.asarray(unconstrained, dtype=float)
        self.loss, self.rate, self.cap = loss, rate, cap
        self.weight, self.updates = 0.0, 0

    def update(self, accuracy: float) -> None:
        """One step of dual ascent; accuracy: a after this update, 0..1, or NaN."""
        at, self.updates = self.updates, self.updates + 1
        if at >= len(self.unconstrained):
            return
        violation = self.unconstrained[at] - self.loss - accuracy
        if np.isfinite(violation):
            self.weight = float(np.clip(self.weight + self.rate * violation / self.loss, 0.0, self.cap))
