"""Constraints on several tasks of one network at once, each on its own columns of what the network gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.fairness.tally import Violation
from fairprune_cli.fairness.term import prior_shift, pull_of


class JointConstraint:
    """A constraint per task, with the same questions and answers as a `Constraint`; lists run task by task.

    Each task has 1 / T of the loss, and so its Lagrangian's term and its multipliers count for 1 / T as well:

        (mean of loss_t + mean of term_t) / (1 + mean over t of the sum of the multipliers of t)

    A multiplier then stands against its own task's loss as it would alone, and a task that is given twice is pruned as
    if it were given once.

    Args:
        parts: a constraint for each task.
        columns: where the scores of each task are in the table [B, W].
        width: W.
    """

    def __init__(self, parts: Sequence[Constraint], columns: Sequence[slice], width: int) -> None:
        self.parts, self.columns, self.width = list(parts), list(columns), width
        self.multipliers = [mu for part in parts for mu in part.multipliers]
        self.tallies = [tally for part in parts for tally in part.tallies]
        self.tolerances = [tolerance for part in parts for tolerance in part.tolerances]

    def observe(
        self, logits: Tensor, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None,
        evaluated: bool = False,
    ) -> None:  # fmt: skip
        """Count a batch, as `Constraint.observe`; logits [B, W], labels [B] or, of several tasks, [B, T]."""
        for part, columns, own in zip(self.parts, self.columns, _by_task(labels), strict=True):
            part.observe(logits[:, columns], own, groups, weights, evaluated)

    def settle(self) -> None:
        """Count the batch that was observed last, if it was not yet."""
        for part in self.parts:
            part.settle()

    def update(self) -> None:
        """One step of dual ascent for each task."""
        for part in self.parts:
            part.update()

    def term(self, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
        """The terms of all tasks, float32 [S, B, W]; zeros where no task has its scores or one has fewer sides."""
        terms = [part.term(own, groups, weights) for part, own in zip(self.parts, _by_task(labels), strict=True)]
        sides = max(len(term) for term in terms)
        whole = np.zeros((sides, terms[0].shape[1], self.width), dtype=np.float32)
        for columns, term in zip(self.columns, terms, strict=True):
            whole[: len(term), :, columns] = term
        return whole

    def soften(self, logits: Tensor, term: Tensor) -> Tensor:
        """The mean of the terms' values: a scalar, differentiable in the logits [B, W]; term [S, B, W]."""
        values = [
            part.soften(logits[:, columns], term[: part.sides, :, columns])
            for part, columns in zip(self.parts, self.columns, strict=True)
        ]
        return sum(values[1:], values[0]) / len(values)

    @property
    def in_units(self) -> list[np.ndarray]:
        """As `Constraint.in_units`, per task and attribute."""
        return [mu for part in self.parts for mu in part.in_units]

    @property
    def active(self) -> bool:
        """Whether any multiplier is above zero."""
        return any(part.active for part in self.parts)

    @property
    def weight(self) -> float:
        """By which the Lagrangian is divided on top of 1: the mean of the tasks' sums of multipliers."""
        return sum(part.weight for part in self.parts) / len(self.parts)

    def pull(self, labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """How much more often than it occurs each stratum is wanted in a batch, up to a factor; [C], above 0.

        Args:
            labels: int [C], or [C, T'] with the labels of the first T' tasks, which are then all that pull.
        """
        return pull_of(self._part(labels, groups, sizes))

    def _part(self, labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray, right: bool = False) -> np.ndarray:
        """The part of an image of each stratum in the Lagrangian, [C]; right: as in `Constraint.part`."""
        by_task = zip(self.parts, _by_task(labels), strict=False)
        parts = [part.part(own, groups, sizes, right) - 1.0 for part, own in by_task]
        whole: np.ndarray = 1.0 + np.sum(parts, axis=0) / len(self.parts)
        return whole

    def shift(self, labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """What makes up for the classes' shares in the Lagrangian, float32 [W]; arguments as in `pull`.

        Tasks whose labels the strata lack have zeros.
        """
        part, whole = self._part(labels, groups, sizes, right=True), np.zeros(self.width, dtype=np.float32)
        for columns, own in zip(self.columns, _by_task(labels), strict=False):
            whole[columns] = prior_shift(part, own, sizes, columns.stop - columns.start)
        return whole

    def begin(self, acts: bool) -> None:
        """A stage begins; see `Constraint.begin`."""
        for part in self.parts:
            part.begin(acts)

    def forget(self) -> None:
        """Drop the running counts."""
        for part in self.parts:
            part.forget()

    def violations(self) -> list[Violation]:
        """Exact and surrogate gap per task and attribute."""
        return [found for part in self.parts for found in part.violations()]

    def group_accuracy(self) -> list[np.ndarray]:
        """Running accuracy per task and attribute, [G]; NaN where a group has not been seen."""
        return [found for part in self.parts for found in part.group_accuracy()]

    def state_dict(self) -> dict[str, list[Tensor]]:
        """What decides how the multipliers go on, of each task."""
        return {f"{t}.{key}": value for t, part in enumerate(self.parts) for key, value in part.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        for t, part in enumerate(self.parts):
            start = f"{t}."
            part.load_state_dict({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})


def _by_task(labels: ArrayLike) -> list[np.ndarray]:
    """Labels [B] or [B, T] as T arrays [B]."""
    table = np.asarray(labels)
    return [table] if table.ndim == 1 else list(table.T)
