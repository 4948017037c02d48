"""What a step minimises: the method's loss, distillation, and the constraint's term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fairprune_cli.core.transfer import on_host, sent
from fairprune_cli.data.batches.batch import Known
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.pruning.methods import Method
from fairprune_cli.training.options import TrainOptions


class Answers(NamedTuple):
    """What a loss asks of a batch, beside the logits."""

    labels: Tensor  # int64 [B]
    rows: Tensor  # int64 [B], position in the manifest
    weights: Tensor | None  # float32 [B], what an image stands for; 1 each where None


class Terms(NamedTuple):
    """The multipliers' part in the Lagrangian of a batch."""

    term: Tensor  # float32 [S, B, K], as from `Constraint.term`
    scale: Tensor  # float32 [], 1 + the sum of the multipliers


@dataclass(frozen=True)
class Objective:
    """Loss and Lagrangian of a batch.

    Attributes:
        method: gives the loss of each image.
        constraint: gives the fairness term.
        teacher: [N, K] logits of the dense model by row of the manifest; needed by `distill` > 0 and some methods.
        distill: share of the loss that is distillation from the dense model, 0..1 (Hinton et al., arXiv 1503.02531).
        temperature: of the distillation, > 0.
    """

    method: Method
    constraint: Constraint
    teacher: Tensor | None = None
    distill: float = TrainOptions.distill
    temperature: float = TrainOptions.temperature

    def lower(self, logits: Tensor, batch: Any) -> Tensor:
        """Mean loss of a lower batch, a scalar."""
        teacher = None if self.teacher is None else self.teacher[batch.rows]
        losses = self.method.image_loss(logits, batch.labels, teacher)
        if self.distill and teacher is not None:
            losses = (1.0 - self.distill) * losses + self.distill * distillation(logits, teacher, self.temperature)
        return mean(losses, weights_of(batch))

    def upper(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean cross-entropy of (a part of) an upper batch, a scalar."""
        return mean(F.cross_entropy(logits, labels, reduction="none"), weights)

    def terms(self, known: Known, device: torch.device) -> Terms | None:
        """What the multipliers say about a batch, on the device.

        None where none of them is above zero; zeros on an accelerator, where passes with the term and without it would
        be recorded apart, each with gradients of its own.
        """
        if not self.constraint.active and on_host(device):
            return None
        term = self.constraint.term(known.labels, known.groups, known.weights)
        return Terms(sent(term, device), sent(np.asarray(1.0 + self.constraint.weight, dtype=np.float32), device))

    def lagrangian(self, loss: Tensor, logits: Tensor, terms: Terms | None) -> Tensor:
        """(loss + penalty) / (1 + sum of multipliers): growing multipliers turn the step, not lengthen it."""
        if terms is None:
            return loss
        return (loss + self.constraint.soften(logits, terms.term)) / terms.scale


def weights_of(batch: Any) -> Tensor | None:
    """[B] what each image of a batch stands for; None where each stands for itself."""
    weights: Tensor | None = getattr(batch, "weights", None)
    return weights


def mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Weighted mean of values [B], a scalar."""
    if weights is None:
        return values.mean()
    return (weights * values).sum() / weights.sum()


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(logits / T)) of each image, [B]; both [B, K]."""
    student = F.log_softmax(logits / temperature, dim=1)
    target = F.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * F.kl_div(student, target, reduction="none", log_target=True).sum(1)
