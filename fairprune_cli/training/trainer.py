"""The one training loop of pruning: lower (weight) steps, upper (mask) steps, multipliers, hardening.

A run has two phases. While sparsity rises the mask moves and sits on the parameters as zeros; then it is fixed,
channels are physically removed, and the rest of the budget trains what is left.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fairprune_cli.core import distributed as ranks
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.pruning.channels.removal import ChannelSpace, remove_channels, take
from fairprune_cli.pruning.masks import ChannelMasks, Masks, truth
from fairprune_cli.pruning.methods import Method
from fairprune_cli.pruning.schedule import Budget
from fairprune_cli.training import records as history
from fairprune_cli.training import snapshots
from fairprune_cli.training.objective import Objective, weights_of
from fairprune_cli.training.optimizer import sgd
from fairprune_cli.training.options import TrainOptions
from fairprune_cli.training.passes import Passes
from fairprune_cli.training.records import EpochRecord, Groups, Means, Progress
from fairprune_cli.training.snapshots import Best, WeightAverage, copy_of, finite
from fairprune_cli.training.sync_batchnorm import shared_norms


class BatchSource(Protocol):
    """Endless batches whose position can be saved."""

    def next(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Diverged(FairpruneError):
    """The loss is no longer finite; the best state before is in the trainer's `best`."""


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
        on_progress: called after each lower step.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: Masks,
        objective: Objective,
        groups: Groups,
        lower: BatchSource,
        upper: BatchSource,
        budget: Budget,
        sparsity: float,
        options: TrainOptions,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.model, self.masks, self.objective = model, masks, objective
        self.method: Method = objective.method
        self.constraint: Constraint = objective.constraint
        self.groups, self.lower, self.upper = groups, lower, upper
        self.budget, self.sparsity, self.options, self.on_progress = budget, sparsity, options, on_progress
        self.steps, self.plan = budget.lower_steps, budget.plan
        self.ramp = self.plan.ramp_edges(self.steps)[1]
        self._rounds = self.plan.round_steps(self.steps)
        self._fair_edges = self.plan.fair_edges(self.steps)
        self.step = 0
        self.hardened = False
        self.removed = False
        self.records: list[EpochRecord] = []
        self.spaces: Sequence[ChannelSpace] = masks.spaces if isinstance(masks, ChannelMasks) else ()
        self._means = Means()
        self._average = WeightAverage()
        self._start = copy_of(model.state_dict()) if self.plan.rewind else {}
        self.optimizer = self._new_optimizer()
        self.ranks = ranks.current()
        self.compute = Passes(self.ranks, options.bf16, compiled=options.compile)
        self.best: Best
        self._keep(0, -1.0)

    def _new_optimizer(self) -> torch.optim.SGD:
        return sgd(self.model, self.options.lr, self.options.momentum, self.options.weight_decay)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train until the budget is spent.

        Args:
            should_stop: asked after each step; True leaves the loop with everything in a state to be saved.

        Returns:
            False when it was stopped early.

        Raises:
            Diverged: the loss is no longer finite (exit code 3).
        """
        self.model.train()
        with shared_norms(self.model, self.ranks):
            while self.step < self.steps:
                if self.ranks.any(should_stop()):
                    return False
                started = time.perf_counter()
                self._one_step()
                self._means.seconds += time.perf_counter() - started
                self._after_step()
        if not self.hardened:
            self._harden()
        self._average.load_into(self.model)
        return True

    @property
    def passes(self) -> float:
        """Passes spent so far, a forward pass alone counting a third."""
        return self.budget.cost(self.step)

    @property
    def _fair(self) -> str:
        """Levels whose Lagrangian has the fairness term at this step."""
        acts = self.method.constrained and self._fair_edges[0] <= self.step < self._fair_edges[1]
        return self.options.fairness_on if acts else "none"

    def _wanted(self) -> float:
        """Sparsity that the mask should have after the present step."""
        return self.plan.sparsity_from(self.masks.start, self.step, self.steps, self.sparsity)

    def _one_step(self) -> None:
        if not self.hardened:
            if self.step >= self.ramp:
                self._harden()
            elif self.step in self._rounds:
                self._round(self._wanted())
        if self.step == self._fair_edges[0] > 0:
            self.constraint.forget()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.lr(self.step, self.steps, self.options.lr)
        fair = self._fair
        self._lower_step(fair)
        self.step += 1
        kind = self.budget.upper_kind(self.step, self.steps)
        if kind is not None:
            self._upper_step(fair, kind == "gradient")
        if not self.hardened and not self._rounds and self.step % self.options.mask_every == 0:
            self._move_mask(self._wanted())
        if fair != "none":
            self.constraint.update()

    def _counts(self, batch: Any) -> list[int]:
        """Images of a batch that each process has."""
        edges = self.ranks.bounds(len(batch.labels))
        return [b - a for a, b in itertools.pairwise(edges)]

    def _lower_step(self, fair: str) -> None:
        batch = self.lower.next()

        def gradient() -> tuple[Tensor, Tensor, Tensor]:
            done = self.compute.forward(self.model, batch.images, self._counts(batch))
            loss = self.objective.lower(done.logits, batch)
            whole = self.objective.lagrangian(loss, done.logits, batch) if fair in ("both", "weights") else loss
            self.optimizer.zero_grad(set_to_none=True)
            done.backward(whole)
            return done.logits, loss, whole

        logits, loss, whole = self.compute.fitting(len(batch.images), gradient)
        value = float(loss.detach())
        if not self.removed:
            self.masks.mask_gradients()
        norm = self._clip()
        if not all(map(math.isfinite, (value, float(whole.detach()), norm))):
            raise self._diverged(f"the loss is {value:.4g} and its gradient's norm {norm:.4g}")
        self.optimizer.step()
        self.masks.hold(self.model)
        if self.hardened and self.step >= self.steps * (1.0 - self.options.average):
            self._average.add(self.model)
        if self._counts_lower(fair):
            self.constraint.observe(logits, batch.labels, batch.groups, weights_of(batch))
        means = self._means
        means.loss += value
        means.steps += 1
        means.images += len(batch.labels)
        means.gradient_norm += norm
        means.clipped += norm > self.options.clip_norm
        right, seen = _right(logits, batch)
        means.lower_right += right
        means.lower_seen += seen

    def _clip(self) -> float:
        """Norm of the gradient before it is clipped; without need it is not multiplied by one."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        total = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        norm = float(total)
        if not norm <= self.options.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.options.clip_norm, total)
        return norm

    def _diverged(self, what: str) -> Diverged:
        return Diverged(
            f"the run diverged: {what} at step {self.step + 1} of {self.steps}",
            hint="lower --lr, or raise --tolerance", code=ExitCode.RUNTIME,
        )  # fmt: skip

    def _counts_lower(self, fair: str) -> bool:
        """Group rates come from lower batches where asked, and where no upper batch is there to give them."""
        if fair != "none":
            return self.options.multiplier_data in ("lower", "both")
        return self.hardened or not self.budget.gradient or bool(self._rounds)

    def _counts_upper(self, fair: str) -> bool:
        return fair == "none" or self.options.multiplier_data in ("upper", "both")

    def _upper_step(self, fair: str, wants_gradient: bool) -> None:
        batch = self.upper.next()
        if wants_gradient:
            logits = self._upper_gradient(fair, batch)
        else:
            logits = self.compute.infer(self.model, batch.images, self._counts(batch))
        if self._counts_upper(fair):
            self.constraint.observe(logits, batch.labels, batch.groups, weights_of(batch))
        right, seen = _right(logits, batch)
        self._means.upper_right += right
        self._means.upper_seen += seen
        self._means.images += len(batch.labels)

    def _upper_gradient(self, fair: str, batch: Any) -> Tensor:
        """Give the method the gradients of an upper batch; returns the logits, [B, K]."""
        every = torch.zeros(len(batch.labels), 0)
        weights = weights_of(batch)
        self.model.train(not self.method.eval_gradient)
        with self.masks.probing():
            for part, index in enumerate(self.method.parts(batch.groups)):
                labels = batch.labels[index]
                images, counts = self._part(batch, index)

                def gradient(
                    images: Tensor = images, counts: list[int] = counts, labels: Tensor = labels, index: Tensor = index
                ) -> Tensor:
                    done = self.compute.forward(self.model, images, counts)
                    loss = self.objective.upper(done.logits, labels, None if weights is None else weights[index])
                    if fair in ("both", "mask"):
                        loss = self.objective.lagrangian(loss, done.logits, batch)
                    self.optimizer.zero_grad(set_to_none=True)
                    done.backward(loss)
                    return done.logits

                logits = self.compute.fitting(len(images), gradient)
                self.method.upper_step(part, logits.detach(), labels)
                if not every.shape[1]:
                    every = logits.new_zeros(len(batch.labels), logits.shape[1])
                every[index] = logits.detach()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        return every

    def _part(self, batch: Any, index: Tensor) -> tuple[Tensor, list[int]]:
        """This process's images among those of `index`, positions in the whole batch, and how many each has."""
        if len(index) == len(batch.labels):
            return batch.images, self._counts(batch)
        edges = self.ranks.bounds(len(batch.labels))
        counts = [int(((index >= a) & (index < b)).sum()) for a, b in itertools.pairwise(edges)]
        own = self.ranks.share(len(batch.labels))
        return batch.images[index[(index >= own.start) & (index < own.stop)] - own.start], counts

    def _round(self, sparsity: float) -> None:
        """One pruning of a method that prunes in rounds: look at the upper data where it wants to, then prune."""
        if self.method.upper_gradient:
            for _ in range(self.options.saliency_batches):
                self._upper_gradient(self._fair, self.upper.next())
        self._move_mask(sparsity)
        if self.plan.rewind:
            self._rewind()

    def _move_mask(self, sparsity: float) -> None:
        scores = self.method.scores(sparsity)
        if not bool(torch.isfinite(torch.stack(torch.aminmax(scores))).all()):
            raise self._diverged("scores of the mask are not finite")
        if (self.method.scope if self.options.scope == "auto" else self.options.scope) == "layer":
            scores = self.masks.rank_within(scores)
        before = self.masks.keep
        self.masks.apply(self.masks.select(scores, sparsity))
        self.ranks.refuse_differences("the mask", self.masks.keep)
        self.masks.mask_state(self.optimizer.state)
        self._means.moves += 1
        self._means.returns += truth.count(self.masks.keep & ~before) / max(truth.count(self.masks.keep), 1)

    def _rewind(self) -> None:
        """Put what is left back to its values at the start; momentum begins anew."""
        self.model.load_state_dict(self._start)
        self.masks.reset(self._start)
        self.optimizer = self._new_optimizer()

    def _harden(self) -> None:
        """Fix the mask at the exact target; channels leave the model for good."""
        if self._rounds:
            self._round(self.sparsity)
        else:
            self._move_mask(self.sparsity)
        self.hardened = True
        if isinstance(self.masks, ChannelMasks):
            self._remove()
        # What came before has another size, and its accuracy says nothing about this one.
        self._keep(len(self.records), -1.0)

    def _remove(self) -> None:
        named = dict(self.model.named_parameters())
        old = {name: self.optimizer.state.get(parameter, {}) for name, parameter in named.items()}
        indices = remove_channels(self.model, self.spaces, self.masks.keep)
        self.masks.shrink(indices)
        self.compute.changed()
        self.removed = True
        self.optimizer = self._new_optimizer()
        for name, parameter in self.model.named_parameters():
            for key, value in old[name].items():
                if isinstance(value, Tensor):
                    self.optimizer.state[parameter][key] = take(value, indices.get(name, {}))

    def _after_step(self) -> None:
        sparsity = self.masks.achieved
        edge = math.ceil((len(self.records) + 1) * self.steps / max(self.options.epochs, 1))
        now = history.progress(self.step, self.steps, self._means, sparsity, self.constraint)
        if self.step >= min(edge, self.steps):
            epoch = len(self.records) + 1
            self.records.append(
                history.record(epoch, self.step, self._means, sparsity, self.constraint, self.groups)
            )  # fmt: skip
            self._means = Means()
            if self.ranks.several:
                weights = torch.cat([p.detach().reshape(-1) for p in self.model.parameters()])
                self.ranks.refuse_differences("a weight", weights)
            last = self.records[-1]
            accuracy = last.lower_accuracy if last.upper_accuracy is None else last.upper_accuracy
            if accuracy >= self.best.accuracy:
                self._keep(epoch, accuracy)
        self.on_progress(now)

    def _keep(self, epoch: int, accuracy: float) -> None:
        """Remember this state as the best, unless something in it is not finite."""
        state = copy_of(self.model.state_dict())
        if finite(state):
            self.best = Best(epoch, accuracy, self.masks.achieved, self.removed, self.masks.keep.clone(), state)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on; plain types and tensors."""
        return {
            "step": self.step, "hardened": self.hardened, "removed": self.removed,
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "masks": self.masks.state_dict(), "method": self.method.state_dict(),
            "constraint": self.constraint.state_dict(), "lower": self.lower.state_dict(),
            "upper": self.upper.state_dict(), "records": [asdict(r) for r in self.records],
            "means": asdict(self._means), "random": snapshots.random_state(),
            "average": self._average.state_dict(), "best": vars(self.best),
            "pieces": self.compute.pieces, "bf16": self.compute.bf16,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; the trainer must have been built from the same dense model."""
        device = self.masks.keep.device  # a state is read on the CPU, wherever it was made
        self.masks.load_state_dict(snapshots.on_device(state["masks"], device))
        if state["removed"]:
            self.masks.shrink(remove_channels(self.model, self.spaces, self.masks.keep))
            self.removed = True
            self.optimizer = self._new_optimizer()
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(snapshots.on_device(state["method"], device))
        self.constraint.load_state_dict(state["constraint"])
        self.lower.load_state_dict(state["lower"])
        self.upper.load_state_dict(state["upper"])
        self.records = [EpochRecord(**record) for record in state["records"]]
        self._means = Means(**state["means"])
        self._average.load_state_dict(snapshots.on_device(state["average"], device))
        self.step, self.hardened = state["step"], state["hardened"]
        self.compute.pieces, self.compute.bf16 = state["pieces"], state["bf16"]
        snapshots.set_random_state(state["random"])
        self.best = Best(**snapshots.on_device(state["best"], device))


def _right(logits: Tensor, batch: Any) -> tuple[float, float]:
    """Images classified right and images in all, each counting what it stands for."""
    right = logits.detach().argmax(1) == batch.labels
    weights = weights_of(batch)
    if weights is None:
        return float(right.sum()), float(len(right))
    return float((right * weights).sum()), float(weights.sum())


__all__ = ["Best", "Diverged", "EpochRecord", "Groups", "Progress", "TrainOptions", "Trainer"]
