"""The passes over upper data: gradients for the method that scores the mask, or logits alone for the multipliers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.transfer import sent
from fairprune_cli.data.batches.batch import Known
from fairprune_cli.models.frozen import asking_for_gradients, training_mode
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.training.objective import Objective, Terms, weights_of
from fairprune_cli.training.passes import Passes


class UpperStep:
    """Looks at upper batches; no weight moves."""

    def __init__(self, model: nn.Module, masks: Masks, objective: Objective, compute: Passes) -> None:
        self.model, self.masks, self.objective, self.compute = model, masks, objective, compute
        self._inference = compute.captured(model, self._logits)
        self._passes = compute.captured(model, self._gradient)

    def forget(self) -> None:
        """Let go of what gradients were recorded with: none is looked at any more."""
        self._passes.forget()

    def forward(self, batch: Any) -> Tensor:
        """Logits [B, K] of a batch."""
        return self.compute.fitting(len(batch.images), lambda: self._inference(batch.images, batch.labels))[0]

    def gradient(self, batch: Any, known: Known, fair: bool) -> Tensor:
        """Give the method a batch's gradients, part by part, with the fairness term where `fair`; logits [B, K]."""
        method = self.objective.method
        terms = self.objective.terms(known, batch.labels.device) if fair else None
        every: Tensor | None = None
        (nn.Module.eval if method.eval_gradient else training_mode)(self.model)
        with self.masks.probing(), asking_for_gradients(self.masks.tensors.values()):
            for part, chosen in enumerate(method.parts(known.groups)):
                if len(chosen) == len(known.labels):  # all of it, so there is nothing to pick
                    every = self._whole(batch, terms)
                    method.upper_step(part, *self.objective.first(every, batch.labels))
                    continue
                index, labels, logits = self._part(batch, np.asarray(chosen))
                method.upper_step(part, *self.objective.first(logits, labels))
                if every is None:
                    every = logits.new_zeros(len(known.labels), logits.shape[1])
                every[index] = logits
        self.model.zero_grad(set_to_none=True)
        training_mode(self.model)
        assert every is not None
        return every

    def _rows(self, batch: Any) -> Tensor | None:
        """The batch's rows in the manifest, where the loss asks for the dense model's outputs there."""
        rows: Tensor | None = batch.rows if self.objective.holds else None
        return rows

    def _whole(self, batch: Any, terms: Terms | None) -> Tensor:
        return self.compute.fitting(
            len(batch.images),
            lambda: self._passes(
                batch.images, batch.labels, weights_of(batch), self._rows(batch), *(terms or (None, None, None))
            ),
        )[0]

    def _part(self, batch: Any, chosen: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Positions on the device, labels, and logits of a part, whose gradient it leaves in the parameters."""
        index = sent(chosen, batch.labels.device)
        labels, weights, rows = batch.labels[index], weights_of(batch), self._rows(batch)
        own, counts = part_of(chosen, len(batch.labels), self.compute.ranks)
        images = batch.images[sent(own, batch.images.device)]
        weights = None if weights is None else weights[index]
        rows = None if rows is None else rows[index]
        (logits,) = self.compute.fitting(
            len(images), lambda: self._gradient(images, labels, weights, rows, counts=counts)
        )
        return index, labels, logits

    def _gradient(
        self, images: Tensor, labels: Tensor, weights: Tensor | None, rows: Tensor | None = None,
        term: Tensor | None = None, scale: Tensor | None = None, shift: Tensor | None = None, *,
        counts: Sequence[int] | None = None,
    ) -> tuple[Tensor]:  # fmt: skip
        """Leave the gradient in the parameters; logits [B, K]."""
        every = self.compute.ranks.counts(len(labels)) if counts is None else list(counts)
        done = self.compute.forward(self.model, images, every)
        loss = self.objective.upper(done.logits, labels, weights, rows, shift)
        if term is not None and scale is not None:
            loss = self.objective.lagrangian(loss, done.logits, Terms(term, scale, shift))
        self.model.zero_grad(set_to_none=True)
        done.backward(loss)
        for weight in self.masks.unused:
            if weight.grad is None:  # what no image is multiplied by changes no loss
                weight.grad = torch.zeros_like(weight)
        return (done.logits.detach(),)

    def _logits(self, images: Tensor, labels: Tensor) -> tuple[Tensor]:
        return (self.compute.infer(self.model, images, self.compute.ranks.counts(len(labels))),)


def part_of(chosen: np.ndarray, images: int, ranks: Ranks) -> tuple[np.ndarray, list[int]]:
    """Where this process's own images have those of `chosen`, and how many each process has.

    Args:
        chosen: positions in a batch of so many `images`, over all processes.
    """
    edges = ranks.bounds(images)
    counts = [int(((chosen >= a) & (chosen < b)).sum()) for a, b in itertools.pairwise(edges)]
    own = ranks.share(images)
    return chosen[(chosen >= own.start) & (chosen < own.stop)] - own.start, counts
