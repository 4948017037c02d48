"""The one training loop of pruning: lower (weight) steps, upper (mask) steps, multipliers, hardening.

While sparsity rises the mask moves and sits on the parameters as zeros; then it is fixed, channels are physically
removed, and the rest of the budget trains what is left (phase.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.data.batches.batch import known_of
from fairprune_cli.models.frozen import training_mode
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.pruning.methods import Method
from fairprune_cli.pruning.schedule import Budget
from fairprune_cli.training import records as history
from fairprune_cli.training import snapshots
from fairprune_cli.training.capture import OwnStream, recorder_for
from fairprune_cli.training.diverged import Diverged, refusing_divergence
from fairprune_cli.training.lower_step import LowerStep
from fairprune_cli.training.mask_moves import MaskMoves, Moved
from fairprune_cli.training.objective import Objective
from fairprune_cli.training.options import TrainOptions
from fairprune_cli.training.passes import Passes
from fairprune_cli.training.phase import Phase
from fairprune_cli.training.readings import Readings
from fairprune_cli.training.records import EpochRecord, Groups, Means, StepFigures
from fairprune_cli.training.snapshots import Best, WeightAverage
from fairprune_cli.training.sources import BatchSource
from fairprune_cli.training.sync_batchnorm import shared_norms
from fairprune_cli.training.upper_step import UpperStep


class Trainer:
    """Runs a pruning method for a budget of passes.

    Args:
        model: trained dense model, on its device; changed in place (channels are removed from it).
        masks: over the model's units.
        objective: what is minimised; holds the method that scores the units, and the constraint, which counts
            group rates for every method and whose penalty is used by constrained ones.
        groups: names of attributes and groups.
        lower: batches of the weight steps.
        upper: batches of the mask steps and multipliers; data that `lower` never gives.
        budget: passes and their division.
        sparsity: target, 0..1.
        options: optimiser and the rest.
        ranks: processes that take every step together; this one alone when None.
        on_progress: called after each lower step.

    Attributes:
        done: lower steps so far, of `steps`.
        ramp: lower steps after which the mask is fixed.
        best: what is kept should the run diverge.
    """

    def __init__(
        self, model: nn.Module, masks: Masks, objective: Objective, groups: Groups, lower: BatchSource,
        upper: BatchSource, budget: Budget, sparsity: float, options: TrainOptions, ranks: Ranks | None = None,
        on_progress: Callable[[StepFigures], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.model, self.masks, self.objective = model, masks, objective
        self.method: Method = objective.method
        self.constraint = objective.constraint
        self.groups, self.lower, self.upper = groups, lower, upper
        self.budget, self.sparsity, self.options, self.on_progress = budget, sparsity, options, on_progress
        self.steps, self.plan = budget.lower_steps, budget.plan
        self.ramp = self.plan.ramp_edges(self.steps)[1]
        self.phase, self.done = Phase.first(self.plan), 0
        self.records: list[EpochRecord] = []
        self.ranks = ranks or Ranks()
        recorder = recorder_for(masks.keep.device)
        self.compute = Passes(self.ranks, options.bf16, compiled=options.compile, recorder=recorder)
        self._stream = OwnStream(masks.keep.device)
        self._round_steps, self._fair_edges = self.plan.round_steps(self.steps), self.plan.fair_edges(self.steps)
        self._means = Means()
        self._readings = Readings(self.steps, options.clip_norm, objective.columns)
        self._average = WeightAverage()
        self._weights = LowerStep(model, masks, objective, self.compute, options)
        self._looks = UpperStep(model, masks, objective, self.compute)
        self._moves = MaskMoves(self.method, self._weights, self.ranks, options.scope, self.plan.rewind)
        self.best: Best
        self._keep(0, -1.0)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train until the budget is spent.

        Args:
            should_stop: asked after each step; True leaves the loop with everything in a state to be saved.

        Returns:
            False when it was stopped early.

        Raises:
            Diverged: the loss is no longer finite (exit code 3).
        """
        while self.done < self.steps:
            if self.ranks.any(should_stop()):
                self._readings.settle(self._means)
                return False
            self.step()
        self._finish()
        return True

    def step(self) -> None:
        """One lower step with all that is due around it: mask, upper step, multipliers, the record of an epoch.

        Raises:
            Diverged: the loss is no longer finite (exit code 3).
        """
        if not self.model.training:
            training_mode(self.model)
        with shared_norms(self.model, self.ranks), self._stream():
            started = time.perf_counter()
            self._before()
            self._train()
            self._means.seconds += time.perf_counter() - started
        self._record()

    @property
    def passes(self) -> float:
        """Passes spent so far, a forward pass alone counting a third."""
        return self.budget.cost(self.done)

    @property
    def _fair(self) -> str:
        """Levels whose Lagrangian has the fairness term at this step."""
        acts = self.method.constrained and self._fair_edges[0] <= self.done < self._fair_edges[1]
        return self.options.fairness_on if acts else "none"

    def _wanted(self) -> float:
        """Sparsity that the mask should have after the present step."""
        return self.plan.sparsity_from(self.masks.start, self.done, self.steps, self.sparsity)

    def _before(self) -> None:
        """What is due before a lower step: the end of pruning, a round, the beginning of the constraint's stage."""
        if self.phase.prunes and self.done >= self.ramp:
            self._fix()
        elif self.phase is Phase.ROUNDS and self.done in self._round_steps:
            self._prune(self._wanted())
        if self.done == self._fair_edges[0]:
            self.constraint.begin(acts=self._fair != "none")

    def _train(self) -> None:
        """A lower step, and what is due after it: an upper step, a move of the mask, multipliers."""
        fair = self._fair
        self._lower_step(fair)
        self.done += 1
        self._move(self._moves.follow)
        kind = self.budget.upper_kind(self.done, self.steps)
        if kind is not None:
            self._upper_step(fair, kind == "gradient")
        if self.phase is Phase.GRADUAL and self.done % self.options.upper_every == 0:
            self._prune(self._wanted())
        if fair != "none":
            self.constraint.update()

    def _lower_step(self, fair: str) -> None:
        batch = self.lower.next()
        known, step = known_of(batch), self.done + 1
        lr = self.plan.lr(self.done, self.steps, self.options.lr)
        with refusing_divergence(step, self.steps):
            taken = self._weights.take(batch, known, lr, fair in ("both", "weights"))
        if self.phase is Phase.FIXED and self.done >= self.steps * (1.0 - self.options.average):
            self._average.add(self.model)
        if self._counts_lower(fair):
            self.constraint.observe(taken.logits, known.labels, known.groups, known.weights)
        self._readings.lower(step, taken.figures, taken.logits, known)

    def _counts_lower(self, fair: str) -> bool:
        """Group rates come from lower batches where asked, and where no upper batch is there to give them."""
        if fair != "none":
            return self.options.multiplier_data in ("lower", "both")
        return self.phase is not Phase.GRADUAL or not self.budget.gradient

    def _counts_upper(self, fair: str) -> bool:
        return fair == "none" or self.options.multiplier_data in ("upper", "both")

    def _upper_step(self, fair: str, wants_gradient: bool) -> None:
        batch = self.upper.next()
        known, look = known_of(batch), self._looks
        logits = look.gradient(batch, known, fair in ("both", "mask")) if wants_gradient else look.forward(batch)
        if self._counts_upper(fair):
            evaluated = wants_gradient and self.method.eval_gradient
            self.constraint.observe(logits, known.labels, known.groups, known.weights, evaluated)
        self._readings.upper(self.done, logits, known)

    def _prune(self, sparsity: float) -> None:
        """Move the mask; a method that prunes in rounds first looks at upper data where it wants to."""
        rounds = self.phase is Phase.ROUNDS
        if rounds and self.method.upper_gradient:
            for _ in range(self.options.saliency_batches):
                batch = self.upper.next()
                self._looks.gradient(batch, known_of(batch), self._fair in ("both", "mask"))
        self._move(lambda: self._moves.move(sparsity, late=self.phase is Phase.GRADUAL and self.done < self.ramp))
        if rounds and self.plan.rewind:
            self._moves.rewind()

    def _move(self, move: Callable[[], Moved | None]) -> None:
        with self._readings.before(self._means, self.done + 1):
            moved = move()
        if moved is not None:
            self._readings.move(self.done + 1, *moved)

    def _fix(self) -> None:
        """Put the mask at the exact target, for good; channels leave the model."""
        self._prune(self.sparsity)
        self._readings.settle(self._means)
        self._weights.harden()
        self._looks.forget()
        self.phase = Phase.FIXED
        self._keep(len(self.records), -1.0)  # what came before has another size, so its accuracy says nothing here

    def _finish(self) -> None:
        """What is due when the budget is spent; nothing when it was done before."""
        self._readings.settle(self._means)
        if self.phase.prunes:
            with shared_norms(self.model, self.ranks):
                self._fix()
        if self.phase is Phase.FIXED:
            self._average.load_into(self.model)
            self.phase = Phase.DONE

    def _record(self) -> None:
        """Tell of the step, and of the epoch where one ends."""
        edge = math.ceil((len(self.records) + 1) * self.steps / max(self.options.epochs, 1))
        ends = self.done >= min(edge, self.steps)
        if ends:
            self._readings.settle(self._means)
            self.constraint.settle()
        else:
            self._readings.take(self._means, self.done)
        sparsity = self.masks.achieved
        now = history.step_figures(self.done, self.steps, self._means, sparsity, self.constraint)
        if ends:
            epoch = len(self.records) + 1
            last = history.record(epoch, self.done, self._means, sparsity, self.constraint, self.groups)
            self.records.append(last)
            self._means = Means()
            if self.ranks.several:
                weights = torch.cat([p.detach().reshape(-1) for p in self.model.parameters()])
                self.ranks.refuse_differences("a weight", weights)
            accuracy = last.lower_accuracy if last.upper_accuracy is None else last.upper_accuracy
            if accuracy >= self.best.accuracy:
                self._keep(epoch, accuracy)
        self.on_progress(now)

    def _keep(self, epoch: int, accuracy: float) -> None:
        """Remember this state as the best, unless something in it is not finite."""
        self.best = Best.of(epoch, accuracy, self.model, self.masks, not self.phase.prunes) or self.best

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on; plain types and tensors.

        Raises:
            Diverged: a step before was not finite, so there is nothing to go on from.
        """
        self._readings.settle(self._means)
        return {
            "done": self.done, "phase": self.phase.value,
            "model": self.model.state_dict(), "optimizer": self._weights.state_dict(),
            "masks": self.masks.state_dict(), "moves": self._moves.state_dict(), "method": self.method.state_dict(),
            "constraint": self.constraint.state_dict(), "lower": self.lower.state_dict(),
            "upper": self.upper.state_dict(), "records": [asdict(r) for r in self.records],
            "means": asdict(self._means), "random": snapshots.random_state(),
            "average": self._average.state_dict(), "best": vars(self.best),
            "pieces": self.compute.pieces, "bf16": self.compute.bf16,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; the trainer must have been built from the same dense model."""
        device = self.masks.keep.device  # a state is read on the CPU, wherever it was made
        self.done, self.phase = state["done"], Phase(state["phase"])
        self.masks.load_state_dict(snapshots.on_device(state["masks"], device))
        if not self.phase.prunes:
            self._weights.harden()
        self.model.load_state_dict(state["model"])
        self._weights.load_state_dict(state["optimizer"])
        self._moves.load_state_dict(state["moves"])
        self.method.load_state_dict(snapshots.on_device(state["method"], device))
        self.constraint.load_state_dict(state["constraint"])
        self.lower.load_state_dict(state["lower"])
        self.upper.load_state_dict(state["upper"])
        self.records = [EpochRecord(**record) for record in state["records"]]
        self._means = Means(**state["means"])
        self._average.load_state_dict(snapshots.on_device(state["average"], device))
        self.compute.pieces, self.compute.bf16 = state["pieces"], state["bf16"]
        snapshots.set_random_state(state["random"])
        self.best = Best(**state["best"])


__all__ = ["Best", "Diverged", "EpochRecord", "Groups", "StepFigures", "TrainOptions", "Trainer"]
