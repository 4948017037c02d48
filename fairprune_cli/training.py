"""The one training loop of pruning: lower (weight) steps, upper (mask) steps, multipliers, hardening.

A run has two phases. While sparsity rises the mask moves and sits on the parameters as zeros; then it is fixed,
channels are physically removed, and the rest of the budget trains what is left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairprune_cli.channels import ChannelSpace, remove_channels, take
from fairprune_cli.constraint import Constraint
from fairprune_cli.errors import ExitCode, FairpruneError
from fairprune_cli.masks import ChannelMasks, Masks
from fairprune_cli.methods import Method
from fairprune_cli.optimizer import sgd
from fairprune_cli.schedule import Budget, cosine_lr, cubic_sparsity


class BatchSource(Protocol):
    """Endless batches whose position can be saved."""

    def next(self) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class TrainOptions:
    """How the loop trains; ranges in `Settings`."""

    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    mask_every: int = 5
    fairness_on: str = "both"
    multiplier_data: str = "upper"
    epochs: int = 6
    clip_norm: float = 5.0


@dataclass
class EpochRecord:
    """What the report plots, once per epoch; per attribute and group where it says so."""

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


@dataclass
class Progress:
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
class _Means:
    """Sums over the running epoch."""

    loss: float = 0.0
    lower_right: int = 0
    lower_seen: int = 0
    upper_right: int = 0
    upper_seen: int = 0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0

    def add_lower(self, loss: float, right: int, seen: int) -> None:
        self.loss += loss
        self.lower_right += right
        self.lower_seen += seen
        self.steps += 1


@dataclass
class Groups:
    """Names for the records: attribute -> group names, in the order of the batch's columns."""

    names: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Trainer:
    """Runs a pruning method for a budget of passes.

    Args:
        model: trained dense model, on its device; changed in place (channels are removed from it).
        masks: over the model's units.
        method: scores for them.
        constraint: counts group rates for every method; its penalty is used by constrained ones.
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
        method: Method,
        constraint: Constraint,
        groups: Groups,
        lower: BatchSource,
        upper: BatchSource,
        budget: Budget,
        sparsity: float,
        options: TrainOptions,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.model, self.masks, self.method, self.constraint = model, masks, method, constraint
        self.groups, self.lower, self.upper = groups, lower, upper
        self.budget, self.sparsity, self.options, self.on_progress = budget, sparsity, options, on_progress
        self.steps, self.ramp = budget.lower_steps, budget.ramp_steps
        self.step = 0
        self.hardened = False
        self.removed = False
        self.records: list[EpochRecord] = []
        self.spaces: Sequence[ChannelSpace] = masks.spaces if isinstance(masks, ChannelMasks) else ()
        self._means = _Means()
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.SGD:
        return sgd(self.model, self.options.lr, self.options.momentum, self.options.weight_decay)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Train until the budget is spent.

        Args:
            should_stop: asked after each step; True leaves the loop with everything in a state to be saved.

        Returns:
            False when it was stopped early.

        Raises:
            FairpruneError: the loss is no longer finite (exit code 3).
        """
        self.model.train()
        while self.step < self.steps:
            if should_stop():
                return False
            started = time.perf_counter()
            self._one_step()
            self._means.seconds += time.perf_counter() - started
            self._after_step()
        if not self.hardened:
            self._harden()
        return True

    @property
    def passes(self) -> float:
        """Passes spent so far, a forward pass alone counting a third."""
        return self.budget.cost(self.step)

    @property
    def _fair(self) -> str:
        return self.options.fairness_on if self.method.constrained else "none"

    def _one_step(self) -> None:
        if self.step >= self.ramp and not self.hardened:
            self._harden()
        lr = cosine_lr(self.step, self.steps, self.options.lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._lower_step()
        self.step += 1
        every = self.budget.upper_every
        if every and self.step % every == 0 and (not self.hardened or self.budget.upper_after_ramp):
            self._upper_step()
        if not self.hardened and self.step % self.options.mask_every == 0:
            self._move_mask(cubic_sparsity(self.step, self.ramp, self.sparsity))
        if self._fair != "none":
            self.constraint.update()

    def _lower_step(self) -> None:
        batch = self.lower.next()
        logits = self.model(batch.images)
        loss = F.cross_entropy(logits, batch.labels)
        whole = loss
        if self._fair in ("both", "weights"):
            whole = self._lagrangian(loss, logits, batch)
        self.optimizer.zero_grad(set_to_none=True)
        whole.backward()
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(whole.detach())):
            raise FairpruneError(
                f"the run diverged: the loss is {value} at step {self.step + 1} of {self.steps}",
                hint="lower --lr, or raise --tolerance", code=ExitCode.RUNTIME,
            )  # fmt: skip
        if not self.removed:
            self.masks.mask_gradients()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip_norm)
        self.optimizer.step()
        if self._counts_lower:
            self.constraint.observe(logits, batch.labels, batch.groups)
        right = int((logits.detach().argmax(1) == batch.labels).sum())
        self._means.add_lower(value, right, len(batch.labels))
        self._means.images += len(batch.labels)

    def _lagrangian(self, loss: Tensor, logits: Tensor, batch: Any) -> Tensor:
        """(loss + penalty) / (1 + sum of multipliers): growing multipliers turn the step, not lengthen it."""
        penalty = self.constraint.penalty(logits, batch.labels, batch.groups)
        return (loss + penalty) / (1.0 + self.constraint.weight)

    @property
    def _counts_lower(self) -> bool:
        """Group rates come from lower batches where asked, and where no upper batch is there to give them."""
        if self.options.multiplier_data in ("lower", "both") or not self.budget.upper_every:
            return True
        return self.hardened and not self.budget.upper_after_ramp

    def _upper_step(self) -> None:
        batch = self.upper.next()
        wants_gradient = self.method.upper_gradient and not self.hardened
        if not wants_gradient:
            with torch.no_grad():
                logits = self.model(batch.images)
        else:
            logits = self._upper_gradient(batch)
        if self.options.multiplier_data in ("upper", "both"):
            self.constraint.observe(logits, batch.labels, batch.groups)
        self._means.upper_right += int((logits.detach().argmax(1) == batch.labels).sum())
        self._means.upper_seen += len(batch.labels)
        self._means.images += len(batch.labels)

    def _upper_gradient(self, batch: Any) -> Tensor:
        """Give the method the gradient of an upper batch; returns the logits."""
        with self.masks.probing():
            logits: Tensor = self.model(batch.images)
            loss = F.cross_entropy(logits, batch.labels)
            if self._fair in ("both", "mask"):
                loss = self._lagrangian(loss, logits, batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.method.upper_step()
        self.optimizer.zero_grad(set_to_none=True)
        return logits.detach()

    def _move_mask(self, sparsity: float) -> None:
        self.masks.apply(self.masks.select(self.method.scores(), sparsity))
        self.masks.mask_state(self.optimizer.state)

    def _harden(self) -> None:
        """Fix the mask at the exact target; channels leave the model for good."""
        self._move_mask(self.sparsity)
        self.hardened = True
        if isinstance(self.masks, ChannelMasks):
            self._remove()

    def _remove(self) -> None:
        named = dict(self.model.named_parameters())
        old = {name: self.optimizer.state.get(parameter, {}) for name, parameter in named.items()}
        indices = remove_channels(self.model, self.spaces, self.masks.keep)
        self.removed = True
        self.optimizer = self._new_optimizer()
        for name, parameter in self.model.named_parameters():
            for key, value in old[name].items():
                if isinstance(value, Tensor):
                    self.optimizer.state[parameter][key] = take(value, indices.get(name, {}))

    def _after_step(self) -> None:
        violations = self.constraint.violations()
        means = self._means
        speed = means.images / max(means.seconds, 1e-9)
        worst = max(range(len(violations)), key=lambda a: _or(violations[a].exact, -1.0), default=None)
        self.on_progress(
            Progress(
                self.step, self.steps, means.loss / max(means.steps, 1), self.masks.achieved,
                violations[worst].exact if worst is not None else math.nan,
                violations[worst].surrogate if worst is not None else math.nan,
                max((float(mu.max()) for mu in self.constraint.multipliers), default=0.0), speed,
            )
        )  # fmt: skip
        edge = math.ceil((len(self.records) + 1) * self.steps / max(self.options.epochs, 1))
        if self.step >= min(edge, self.steps):
            self._record(speed)

    def _record(self, speed: float) -> None:
        means, names = self._means, self.groups.names
        violations = self.constraint.violations()
        accuracy = self.constraint.group_accuracy()
        # Several rates of a group (odds) share a line in the report: the largest multiplier speaks for them.
        largest = [mu.max(axis=(0, 1)) for mu in self.constraint.multipliers]
        self.records.append(
            EpochRecord(
                epoch=len(self.records) + 1,
                step=self.step,
                loss=means.loss / max(means.steps, 1),
                sparsity=self.masks.achieved,
                exact_gap={a: _number(v.exact) for a, v in zip(names, violations, strict=True)},
                surrogate_gap={a: _number(v.surrogate) for a, v in zip(names, violations, strict=True)},
                multipliers={
                    a: dict(zip(groups, map(float, mu), strict=True))
                    for (a, groups), mu in zip(names.items(), largest, strict=True)
                },
                lower_accuracy=means.lower_right / max(means.lower_seen, 1),
                upper_accuracy=means.upper_right / means.upper_seen if means.upper_seen else None,
                group_accuracy={
                    a: {g: _number(float(x)) for g, x in zip(groups, values, strict=True)}
                    for (a, groups), values in zip(names.items(), accuracy, strict=True)
                },
                images_per_second=speed,
            )
        )
        self._means = _Means()

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on; plain types and tensors."""
        return {
            "step": self.step, "hardened": self.hardened, "removed": self.removed,
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "masks": self.masks.state_dict(), "method": self.method.state_dict(),
            "constraint": self.constraint.state_dict(), "lower": self.lower.state_dict(),
            "upper": self.upper.state_dict(), "records": [asdict(r) for r in self.records],
            "means": asdict(self._means), "random": torch.get_rng_state(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; the trainer must have been built from the same dense model."""
        self.masks.load_state_dict(state["masks"])
        if state["removed"]:
            remove_channels(self.model, self.spaces, self.masks.keep)
            self.removed = True
            self.optimizer = self._new_optimizer()
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])
        self.constraint.load_state_dict(state["constraint"])
        self.lower.load_state_dict(state["lower"])
        self.upper.load_state_dict(state["upper"])
        self.records = [EpochRecord(**record) for record in state["records"]]
        self._means = _Means(**state["means"])
        self.step, self.hardened = state["step"], state["hardened"]
        torch.set_rng_state(state["random"])


def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set running means and variances to the averages over `batches`, in place.

    After pruning the old statistics belong to another network: a model pruned to .9 with them may predict one class
    only. Leaves the model in eval mode.

    Args:
        batches: at least one [B, 3, S, S]; taken one at a time, so that they need not fit in memory together.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        model.eval()
        return
    momentum = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    with torch.inference_mode():
        for images in batches:
            model(images)
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
    model.eval()


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


__all__ = ["EpochRecord", "Groups", "Progress", "TrainOptions", "Trainer", "reestimate_batch_norm"]
