"""The passes over upper data: gradients for the method that scores the mask, or logits alone for the multipliers."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.training.objective import Objective, weights_of
from fairprune_cli.training.passes import Passes


class UpperStep:
    """Looks at upper batches; no weight moves."""

    def __init__(self, model: nn.Module, masks: Masks, objective: Objective, compute: Passes) -> None:
        self.model, self.masks, self.objective, self.compute = model, masks, objective, compute

    def forward(self, batch: Any) -> Tensor:
        """Logits [B, K] of a batch."""
        return self.compute.infer(self.model, batch.images, self.compute.ranks.counts(len(batch.labels)))

    def gradient(self, batch: Any, fair: bool) -> Tensor:
        """Give the method a batch's gradients, part by part, with the fairness term where `fair`; logits [B, K]."""
        method = self.objective.method
        every = torch.zeros(len(batch.labels), 0)
        weights = weights_of(batch)
        self.model.train(not method.eval_gradient)
        with self.masks.probing():
            for part, index in enumerate(method.parts(batch.groups)):
                labels = batch.labels[index]
                images, counts = part_of(batch, index, self.compute.ranks)

                def gradient(
                    images: Tensor = images, counts: list[int] = counts, labels: Tensor = labels, index: Tensor = index
                ) -> Tensor:
                    done = self.compute.forward(self.model, images, counts)
                    loss = self.objective.upper(done.logits, labels, None if weights is None else weights[index])
                    if fair:
                        loss = self.objective.lagrangian(loss, done.logits, batch)
                    self.model.zero_grad(set_to_none=True)
                    done.backward(loss)
                    return done.logits

                logits = self.compute.fitting(len(images), gradient)
                method.upper_step(part, logits.detach(), labels)
                if not every.shape[1]:
                    every = logits.new_zeros(len(batch.labels), logits.shape[1])
                every[index] = logits.detach()
        self.model.zero_grad(set_to_none=True)
        self.model.train()
        return every


def part_of(batch: Any, index: Tensor, ranks: Ranks) -> tuple[Tensor, list[int]]:
    """This process's images among those of `index`, positions in the whole batch, and how many each process has."""
    if len(index) == len(batch.labels):
        return batch.images, ranks.counts(len(batch.labels))
    edges = ranks.bounds(len(batch.labels))
    counts = [int(((index >= a) & (index < b)).sum()) for a, b in itertools.pairwise(edges)]
    own = ranks.share(len(batch.labels))
    return batch.images[index[(index >= own.start) & (index < own.stop)] - own.start], counts
