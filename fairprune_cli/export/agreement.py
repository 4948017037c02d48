"""Whether a graph still decides as the one it was made from, beyond what chance would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_KAPPA = 0.5


@dataclass(frozen=True)
class Agreement:
    """How two models' predictions agree.

    Attributes:
        images: on which both were asked. same: share with the same prediction, 0 to 1.
        kappa: Cohen's, (same - chance) / (1 - chance), where chance is the share at which predictions of the same
            frequencies would agree if they knew nothing of each other; 1 is full agreement, 0 none beyond chance. None
            where the first model predicts one class alone, for chance then is whatever was found.
    """

    images: int
    same: float
    kappa: float | None

    @property
    def collapsed(self) -> bool:
        """Whether more than half of what the first model decides beyond chance is lost."""
        return (self.same if self.kappa is None else self.kappa) < LEAST_KAPPA


def agreement_of(table: np.ndarray) -> Agreement:
    """Cohen, "A coefficient of agreement for nominal scales", 1960.

    Args:
        table: int64 [K, K], images by the first model's prediction and the second one's.
    """
    n = int(table.sum())
    first, second = table.sum(1) / n, table.sum(0) / n
    same, chance = float(np.trace(table)) / n, float(first @ second)
    return Agreement(n, same, None if np.count_nonzero(first) < 2 else (same - chance) / (1 - chance))
