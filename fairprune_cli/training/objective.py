"""What a step minimises: the method's loss, distillation, and the constraint's term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairprune_cli.core.transfer import on_host, sent
from fairprune_cli.data.batches.batch import Known
from fairprune_cli.data.batches.stratified import Strata
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.fairness.joint import JointConstraint
from fairprune_cli.models.read_out import ReadOut, by_task
from fairprune_cli.pruning.methods import Method
from fairprune_cli.training.options import TrainOptions


class Answers(NamedTuple):
    """What a loss asks of a batch, beside the logits."""

    labels: Tensor  # int64 [B], or [B, T] of several tasks
    rows: Tensor  # int64 [B], position in the manifest
    weights: Tensor | None  # float32 [B], what an image stands for; 1 each where None
    dense: Tensor | None = None  # float32 [B, W], the dense model's logits on these very pictures, for `distill`


class Terms(NamedTuple):
    """The multipliers' part in the Lagrangian of a batch."""

    term: Tensor  # float32 [S, B, K], as from `Constraint.term`, or [S, B, W]
    scale: Tensor  # float32 [], 1 + the sum of the multipliers
    shift: Tensor | None = None  # float32 [W], added to the scores in loss and term; nothing where None


@dataclass(frozen=True)
class Objective:
    """Loss and Lagrangian of a batch.

    Of several tasks it is the mean of their losses. Outputs that no task uses are held to the dense model's: their mean
    `distance`, times `hold`, is added.

    Attributes:
        method: gives the loss of each image.
        constraint: gives the fairness term.
        teacher: [N, W] logits of the dense model by row of the manifest, on the images as they are; needed by
            `hold` > 0 and by some methods.
        distill: share of the loss that is distillation from the dense model, 0..1 (Hinton et al., arXiv 1503.02531).
        temperature: of the distillation, > 0.
        read_out: where each task's scores are in the logits [B, W]; None where these are one task's scores, [B, K].
        hold: weight of the other outputs' distance to the dense model's, from 0.
        spread: [W] variance of the dense model's logits over images; needed by `hold` > 0.
        dense: the dense model itself, in eval mode; needed by `distill` > 0.
        groups: int64 [N], the group of each row of the manifest, -1 for none; needed by methods that weigh groups.
        strata: of the lower data, where scores are shifted by what makes up for the classes' shares in the Lagrangian.
    """

    method: Method
    constraint: Constraint | JointConstraint
    teacher: Tensor | None = None
    distill: float = TrainOptions.distill
    temperature: float = TrainOptions.temperature
    read_out: ReadOut | None = None
    hold: float = 0.0
    spread: Tensor | None = None
    groups: Tensor | None = None
    dense: nn.Module | None = None
    strata: Strata | None = None

    @property
    def columns(self) -> tuple[slice, ...]:
        """Where each task's scores are in the logits; () where these are one task's and nothing else."""
        return () if self.read_out is None or self.read_out.plain else self.read_out.columns

    @property
    def holds(self) -> bool:
        """Whether outputs are held to the dense model's."""
        return self.hold > 0 and self.read_out is not None and bool(self.read_out.others)

    def first(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and labels [B] of the first task."""
        return next(iter(by_task(self.read_out, logits, labels)))

    def lower(self, logits: Tensor, batch: Any, shift: Tensor | None = None) -> Tensor:
        """Mean loss of a lower batch, a scalar; shift: [W], as in `Terms`, of no account to what is distilled."""
        losses = self._lower_losses(logits, batch, shift)
        if self.method.by_group and self.groups is not None:
            losses = losses * self.method.group_weights(losses.detach(), self.groups[batch.rows])
        weights = None if self.method.balanced else weights_of(batch)
        return mean(self._with_held(losses, logits, batch.rows), weights)

    def learn(self, logits: Tensor, batch: Any) -> None:
        """Let a method that weighs groups see how they fared in a lower step; logits [B, W] without a gradient."""
        if self.method.by_group and self.groups is not None:
            self.method.after_lower(self._lower_losses(logits, batch), self.groups[batch.rows])

    def _lower_losses(self, logits: Tensor, batch: Any, shift: Tensor | None = None) -> Tensor:
        """The tasks' mean loss of each image, [B]."""
        parts = list(by_task(self.read_out, logits, batch.labels))
        moved = parts if shift is None else list(by_task(self.read_out, shifted(logits, shift), batch.labels))
        # A table that serves the outputs that are held alone is nothing to the tasks.
        known = self.teacher[batch.rows] if self.teacher is not None and self.method.teacher else None
        tables = (self._scores(known, batch), self._scores(batch.dense if self.distill else None, batch))
        every = zip(parts, moved, *tables, strict=True)
        return _mean_of([self._image_loss(*part, own, *known) for part, (own, _), *known in every])

    def _scores(self, table: Tensor | None, batch: Any) -> list[Tensor] | list[None]:
        """The scores of each task in a table [B, W]; None of each without one."""
        if table is None:
            return [None] * (1 if self.read_out is None else len(self.read_out.tasks))
        return [scores for scores, _ in by_task(self.read_out, table, batch.labels)]

    def _image_loss(
        self, logits: Tensor, labels: Tensor, moved: Tensor, teacher: Tensor | None, seen: Tensor | None
    ) -> Tensor:
        losses = self.method.image_loss(moved, labels, teacher)
        if seen is not None:
            losses = (1.0 - self.distill) * losses + self.distill * distillation(logits, seen, self.temperature)
        return losses

    def upper(
        self, logits: Tensor, labels: Tensor, weights: Tensor | None = None, rows: Tensor | None = None,
        shift: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Mean cross-entropy of (a part of) an upper batch, a scalar; rows [B] where outputs are held."""
        tasks = by_task(self.read_out, shifted(logits, shift), labels)
        losses = _mean_of([F.cross_entropy(scores, own, reduction="none") for scores, own in tasks])
        return mean(losses if rows is None else self._with_held(losses, logits, rows), weights)

    def _with_held(self, losses: Tensor, logits: Tensor, rows: Tensor) -> Tensor:
        """The losses [B], with the distance of the outputs that are held."""
        if not self.holds or self.teacher is None or self.spread is None or self.read_out is None:
            return losses
        rest = self.read_out.rest
        return losses + self.hold * distance(logits[:, rest], self.teacher[rows][:, rest], self.spread[rest])

    def terms(self, known: Known, device: torch.device) -> Terms | None:
        """What the multipliers say about a batch, on the device.

        None where none of them is above zero; zeros on an accelerator, where passes with the term and without it would
        be recorded apart, each with gradients of its own.
        """
        if not self.constraint.active and on_host(device):
            return None
        term = self.constraint.term(known.labels, known.groups, known.weights)
        scale, shift = sent(np.asarray(1.0 + self.constraint.weight, dtype=np.float32), device), None
        if self.strata is not None:
            shift = sent(self.constraint.shift(self.strata.labels, self.strata.groups, self.strata.sizes), device)
        return Terms(sent(term, device), scale, shift)

    def lagrangian(self, loss: Tensor, logits: Tensor, terms: Terms | None) -> Tensor:
        """(loss + penalty) / (1 + sum of multipliers): growing multipliers turn the step, not lengthen it."""
        if terms is None:
            return loss
        return (loss + self.constraint.soften(shifted(logits, terms.shift), terms.term)) / terms.scale


def shifted(logits: Tensor, shift: Tensor | None) -> Tensor:
    """Logits [B, W] with the shift [W], if there is one."""
    return logits if shift is None else logits + shift


def weights_of(batch: Any) -> Tensor | None:
    """[B] what each image of a batch stands for; None where each stands for itself."""
    weights: Tensor | None = getattr(batch, "weights", None)
    return weights


def mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Weighted mean of values [B], a scalar."""
    if weights is None:
        return values.mean()
    return (weights * values).sum() / weights.sum()


def distance(outputs: Tensor, dense: Tensor, spread: Tensor) -> Tensor:
    """Mean over outputs of r^2, or 2 |r| - 1 where |r| > 1 (Huber), of each image, [B].

    r = (outputs - dense) / the dense outputs' standard deviation.

    An output that says nearly the same of all images has a tiny deviation, and a square would drown the tasks.

    Args:
        outputs, dense: [B, H]; spread: [H], variance of the dense outputs, above 0.
    """
    deviation = spread.sqrt()
    return 2.0 * F.huber_loss(outputs / deviation, dense / deviation, reduction="none").mean(1)


def _mean_of(losses: Sequence[Tensor]) -> Tensor:
    """The mean of the tasks' losses, [B]."""
    return losses[0] if len(losses) == 1 else torch.stack(list(losses)).mean(0)


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(logits / T)) of each image, [B]; both [B, K]."""
    student = F.log_softmax(logits / temperature, dim=1)
    target = F.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * F.kl_div(student, target, reduction="none", log_target=True).sum(1)
