"""The constraint of a run: counts batches, moves the multipliers, and gives the Lagrangian's term.

Exact counts and relaxed ones are kept by fairness/tally.py, the dual ascent is that of fairness/multipliers.py, the
term that of fairness/term.py; fairness/surrogate.py lends it a gradient. All but the last happens on the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from fairprune_cli.core.transfer import Arriving, on_host, sent
from fairprune_cli.fairness import surrogate
from fairprune_cli.fairness.accuracy_budget import AccuracyWatch
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.multipliers import Multipliers
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.fairness.options import BOUNDS, ConstraintOptions
from fairprune_cli.fairness.relaxations import Relaxation
from fairprune_cli.fairness.tally import GroupTally, Violation, add_batch
from fairprune_cli.fairness.term import lagrangian_part, prior_shift, pull_of, term_of


class _Observed(NamedTuple):
    """A batch that is not counted yet: logits float32 [B, K], labels [B], groups [B, A], weights [B] or None."""

    logits: Arriving
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray | None


LEAST = 10.0  # images


class Constraint:
    """Constraints of one notion for several attributes, their multipliers and their Lagrangian term.

    Labels, groups and weights are numpy arrays, or tensors on the CPU.

    Args:
        notion: exact rates and surrogate events, for K classes.
        groups: number of groups G of each attribute.
        relaxation: surrogate of the indicator.
        tolerance: allowed difference of rates, 0..1; one for all attributes, or one for each.
        rate: eta, step of the multipliers per update.
        cap: largest multiplier.
        memory: images that the exact rates look back on.
        levelling: largest share of the loss's own pull that may act against the images as a whole, 0..1; infinity
            puts no limit on it (s = 1).
        decay: share of a multiplier that is lost at each update at which it falls, beside the dual step; 0..1. 1
            is CEAG's dual restart.
        normalise: whether the whole Lagrangian is to be divided by 1 + the sum of the multipliers.
        per_group: as in `GroupTally`.
        bound: "matched" takes one surrogate for both signs, delta or, for false alarms, kappa; "upper" takes kappa
            for positive and delta for negative terms, which bounds the exact gap from above and is convex in the
            margins; "lower" the reverse.
        least: images in a rate's running population below which it leaves its multiplier alone.
        dense: per attribute [G, K, K], the dense model's counts, for notions relative to it.
        dense_eval: the same in eval mode, where batches may be observed in both modes.
        data: per attribute [G, K], images of the data that batches come from; a rate that has fewer than `least` there
            leaves its multiplier alone, too, at 0.
        exponentiated, errors, start, rests, unit: as in `Multipliers`.
        accuracy: is told of the accuracy over all groups at each update, and weighs it against the multipliers.

    Attributes:
        multipliers: float64 [2, M, G] per attribute, "too low" and "too high".
        tolerances: allowed difference per attribute.
        tallies: running counts per attribute.
    """

    def __init__(
        self,
        notion: Notion,
        groups: Sequence[int],
        relaxation: Relaxation,
        *,
        tolerance: float | Sequence[float],
        rate: float,
        cap: float,
        memory: float,
        bound: str = ConstraintOptions.bound,
        levelling: float = ConstraintOptions.levelling,
        decay: float = ConstraintOptions.multiplier_decay,
        normalise: bool = True,
        per_group: bool = False,
        least: float = LEAST,
        dense: Sequence[np.ndarray] | None = None,
        dense_eval: Sequence[np.ndarray] | None = None,
        data: Sequence[np.ndarray] | None = None,
        exponentiated: bool = False,
        errors: float = 0.0,
        start: Sequence[np.ndarray] | None = None,
        rests: bool = False,
        unit: Sequence[np.ndarray] | None = None,
        accuracy: AccuracyWatch | None = None,
    ) -> None:
        if bound not in BOUNDS:
            raise ValueError(f"bound {bound!r} is none of {BOUNDS}")
        self.notion, self.relaxation = notion, relaxation
        self.levelling, self.normalise = levelling, normalise
        self._rows = GroupRows(groups, notion.event.shape[1])
        self._surrogates = surrogate.indicators(relaxation, bound, notion)
        self._recorded = surrogate.indicators(relaxation, "matched", notion)
        self._matched = bound == "matched"
        self.tallies = [GroupTally(count, notion, memory, per_group) for count in groups]
        self.tolerances = [tolerance] * len(groups) if isinstance(tolerance, int | float) else list(tolerance)
        self._dual = Multipliers(
            notion, self._rows, rate=rate, cap=cap, tolerance=self.tolerances, decay=decay, least=least, dense=dense,
            data=data, exponentiated=exponentiated, errors=errors, start=start, rests=rests, unit=unit,
            memory=memory * (max(groups, default=1) if per_group else 1),
        )  # fmt: skip
        self._accuracy = accuracy
        self._dense = {False: dense, True: dense_eval}  # by whether in eval mode
        self._evaluated = False
        self.multipliers = self._dual.of
        self._waiting: _Observed | None = None

    def begin(self, acts: bool) -> None:
        """A stage begins: forget what was counted and, where the constraint acts, put multipliers where they start."""
        self.forget()
        if acts:
            self._dual.begin()

    def observe(
        self, logits: Tensor, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None,
        evaluated: bool = False,
    ) -> None:  # fmt: skip
        """Count a batch: exact events and relaxed ones.

        Batches from an accelerator are counted one late: this one at the next call, or by `settle`. By then its logits
        have arrived, and nobody waits. Until then it must be left as it is.

        Args:
            logits: [B, K]; labels: [B]; groups: [B, A] with -1 for none. No gradient is kept.
            weights: [B], what an image stands for; 1 each by default.
            evaluated: the network is in eval mode. Relative notions are held against the dense model in the same mode,
                where it was counted in both; what was counted in the other one is then dropped.
        """
        self.settle()
        self._refer(evaluated)
        self._waiting = _Observed(
            Arriving(logits.detach().float()), np.asarray(labels), np.asarray(groups),
            None if weights is None else np.asarray(weights),
        )  # fmt: skip
        if on_host(logits):
            self.settle()

    def settle(self) -> None:
        """Count the batch that was observed last, if it was not yet."""
        if self._waiting is None:
            return
        batch, self._waiting = self._waiting, None
        add_batch(self.tallies, self._rows, self.notion, self._recorded, batch.logits.numpy(), *batch[1:])

    def update(self) -> None:
        """One step of dual ascent on the exact violation; undefined violations leave a multiplier alone."""
        self._dual.ascend([tally.counts for tally in self.tallies], [tally.seen for tally in self.tallies])
        if self._accuracy is not None:
            self._accuracy.update(self.tallies[0].whole_accuracy)

    @property
    def _table(self) -> np.ndarray:
        """The multipliers as they count beside that of accuracy, [2, M, R]."""
        return self._dual.table if self._accuracy is None else self._dual.table / (1.0 + self._accuracy.weight)

    def term(self, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
        """The Lagrangian's term of a batch, but for its soft events: what `soften` multiplies them by.

        Returns:
            float32 [S, B, K], of zeros where no multiplier is above zero; S = 2, but for a matched bound without
                false alarms, where it is 1.
        """
        return term_of(
            self._table, self.notion, self._rows, self.levelling, self._matched,
            np.asarray(labels), np.asarray(groups), None if weights is None else np.asarray(weights),
        )  # fmt: skip

    @property
    def sides(self) -> int:
        """S of `term`."""
        return len(self._surrogates)

    def soften(self, logits: Tensor, term: Tensor) -> Tensor:
        """The term's value: a scalar, differentiable in the logits [B, K]; term [S, B, K] on their device."""
        return surrogate.soften(logits, term, self._surrogates)

    def penalty(self, logits: Tensor, labels: ArrayLike, groups: ArrayLike, weights: ArrayLike | None = None) -> Tensor:
        """The Lagrangian term of a batch: a scalar, differentiable in the logits; shapes as in `observe`."""
        if not self.active:
            return logits.new_zeros(())
        return self.soften(logits, sent(self.term(labels, groups, weights), logits.device))

    @property
    def in_units(self) -> list[np.ndarray]:
        """The multipliers in units of each rate, as their cap is, [2, M, G] per attribute."""
        return [mu / unit for mu, unit in zip(self.multipliers, self._dual.unit, strict=True)]

    @property
    def active(self) -> bool:
        """Whether any multiplier is above zero."""
        return bool(self._dual.table.any())

    @property
    def weight(self) -> float:
        """Sum of all multipliers, by which the Lagrangian is divided on top of 1; 0 where it is not."""
        return float(self._table.sum()) if self.normalise else 0.0

    @property
    def share(self) -> float:
        """1 / (1 + `weight`), the Lagrangian's factor: growing multipliers turn a step, not lengthen it."""
        return 1.0 / (1.0 + self.weight)

    def pull(self, labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """How much more often than it occurs each stratum is wanted in a batch, up to a factor; [C], above 0.

        Args:
            labels: int [C]; groups: int [C, A], -1 for none; sizes: [C], images in each stratum.
        """
        return pull_of(self.part(labels, groups, sizes))

    def part(self, labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray, right: bool = False) -> np.ndarray:
        """The part of an image of each stratum in the Lagrangian, [C]; arguments as in `pull`.

        Args:
            right: count only what asks for more right answers, which is what changes the classes' shares in the loss.
        """
        table = self._table * self.notion.right_answers[:, None] if right else self._table
        return lagrangian_part(table, self.notion, self._rows, self.levelling, labels, groups, sizes)

    def shift(self, labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """What makes up for the classes' shares in the Lagrangian, float32 [K]; arguments as in `pull`."""
        return prior_shift(self.part(labels, groups, sizes, right=True), labels, sizes, self.notion.event.shape[1])

    def forget(self) -> None:
        """Drop the running counts: what was counted so far belongs to another stage."""
        self._waiting = None
        for tally in self.tallies:
            tally.forget()

    def _refer(self, evaluated: bool) -> None:
        reference = self._dense[evaluated]
        if self._dense[True] is None or reference is None or evaluated == self._evaluated:
            return
        self.forget()
        self._evaluated = evaluated
        self._dual.refer(reference)

    def violations(self) -> list[Violation]:
        """Exact gap, of the rates that can move a multiplier, and surrogate gap per attribute, both running."""
        return [
            Violation(self._dual.gap(a, tally.counts, tally.seen), tally.surrogate_gap())
            for a, tally in enumerate(self.tallies)
        ]

    def group_accuracy(self) -> list[np.ndarray]:
        """Running accuracy per attribute, [G]; NaN where a group has not been seen."""
        return [tally.accuracy for tally in self.tallies]

    def state_dict(self) -> dict[str, list[Tensor]]:
        """What decides how the multipliers go on; a batch that waits to be counted goes with it, uncounted."""
        waiting: list[np.ndarray] = []
        if self._waiting is not None:
            batch = self._waiting
            waiting = [batch.logits.numpy(), *(part for part in batch[1:] if part is not None)]
        return {
            name: [torch.from_numpy(array.copy()) for array in arrays]
            for name, arrays in {
                "multipliers": self.multipliers, "pairs": self._dual.pairs, "waiting": waiting,
                "counts": [t.counts for t in self.tallies], "soft": [t.soft for t in self.tallies],
                "seen": [t.seen for t in self.tallies], "evaluated": [np.array(self._evaluated)],
                "accuracy": [np.array([watch.weight, watch.updates]) for watch in [self._accuracy] if watch],
            }.items()
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        for mu, saved in zip(self.multipliers, state["multipliers"], strict=True):
            mu[...] = saved.numpy()
        for pairs, saved in zip(self._dual.pairs, state["pairs"], strict=True):
            pairs[...] = saved.numpy()
        self._refer(bool(state["evaluated"][0]))
        for name in ("counts", "soft", "seen"):
            for tally, saved in zip(self.tallies, state[name], strict=True):
                setattr(tally, name, saved.numpy().copy())
        if self._accuracy is not None:
            weight, updates = state["accuracy"][0].tolist()
            self._accuracy.weight, self._accuracy.updates = float(weight), int(updates)
        self._waiting = None
        if state["waiting"]:
            logits, labels, groups, *weights = state["waiting"]
            self._waiting = _Observed(
                Arriving(logits), labels.numpy(), groups.numpy(), weights[0].numpy() if weights else None
            )
