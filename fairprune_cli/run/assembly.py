"""From settings to a trainer: constraint, objective, batches and budget of one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.audit.counts import audit_models
from fairprune_cli.core.distributed import Ranks
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.sampler import EndlessBatches
from fairprune_cli.data.batches.stratified import Strata, StratifiedSampler
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.pruning.schedule import FORWARD_ONLY, Budget, Plan
from fairprune_cli.run.inputs import Data, PruningPools
from fairprune_cli.run.options import Settings
from fairprune_cli.training.objective import Objective
from fairprune_cli.training.trainer import Groups, Trainer


def constrained_notion(settings: Settings, method: type[methods.Method], classes: int) -> fairness.Notion:
    """The notion that is constrained: the method's own where it prescribes one."""
    asked, dual = fairness.get(settings.notion, classes), method.dual
    if dual.notion is None:
        return asked
    prescribed = fairness.get(dual.notion, classes)
    return dataclasses.replace(prescribed, against=dual.against or prescribed.against)


@dataclass(frozen=True)
class Assembly:
    """What a trainer is made of, beside the images.

    Attributes:
        method: its class.
        notion: that is constrained.
        dense: the model as it came; student: its copy, which is pruned, with `masks` over it.
        ranks: processes that train it together.
        channels_last: whether the student lies so in memory, and wants its images so.
    """

    settings: Settings
    method: type[methods.Method]
    notion: fairness.Notion
    dense: nn.Module
    student: nn.Module
    masks: Masks
    data: Data
    device: torch.device
    ranks: Ranks = field(default_factory=Ranks)
    channels_last: bool = True

    def trainer(self, pools: PruningPools) -> Trainer:
        """A trainer at its first step; what it spends on references beforehand is in its budget."""
        settings = self.settings
        method = self.method(self.masks, settings)
        plan = self.method.plan(method.options)
        constraint, reference = self._constraint(pools)
        teacher, outputs = self._teacher(pools.lower)
        saliency = plan.rounds * settings.saliency_batches if self.method.upper_gradient else 0
        return Trainer(
            self.student, self.masks,
            Objective(method, constraint, teacher, settings.distill, settings.temperature),
            Groups({g.name: g.groups for g in self.data.groupings}),
            self._sampler(pools.lower, 1, lambda strata: constraint.pull(strata.labels, strata.groups, strata.sizes)),
            self._sampler(pools.upper, 2, None),
            self._budget(plan, len(pools.lower), reference + outputs + saliency),
            settings.sparsity, dataclasses.replace(settings, multiplier_data=self._multiplier_data), self.ranks,
        )  # fmt: skip

    @property
    def _multiplier_data(self) -> str:
        return self.method.dual.data or self.settings.multiplier_data

    def _constraint(self, pools: PruningPools) -> tuple[Constraint, float]:
        """The constraint, and the passes that its reference to the dense model costs."""
        settings, dual = self.settings, self.method.dual
        groups = [len(g.groups) for g in self.data.groupings]
        reference, cost = None, 0.0
        if self.notion.relative:
            pool = pools.lower if self._multiplier_data == "lower" else pools.upper
            result = audit_models(
                {"dense": self.dense}, pool, self.data.groupings, self.data.manifest.classes, self.device
            )
            reference = [result.counts("dense", g.name).astype(float) for g in self.data.groupings]
            cost = FORWARD_ONLY * len(pool) / settings.batch_size
        constraint = Constraint(
            self.notion, groups, relaxations.get(dual.relaxation or settings.relaxation),
            tolerance=settings.tolerance, rate=settings.multiplier_rate,
            cap=settings.multiplier_cap if dual.cap is None else dual.cap,
            # A buffer per group remembers as many images in all as one for everybody.
            memory=settings.multiplier_memory / (max(groups) if dual.per_group else 1),
            bound=dual.bound or settings.bound, dense=reference, normalise=dual.normalise, per_group=dual.per_group,
            levelling=settings.levelling if dual.levelling is None else dual.levelling,
            decay=settings.multiplier_decay if dual.decay is None else dual.decay,
        )  # fmt: skip
        return constraint, cost

    def _teacher(self, lower: Pool) -> tuple[Tensor | None, float]:
        """The dense model's logits by row of the manifest, on the images as they are, and the passes they cost."""
        if not self.settings.distill and not self.method.teacher:
            return None, 0.0
        manifest = self.data.manifest
        table = torch.zeros(len(manifest), len(manifest.classes), device=self.device)
        with torch.no_grad():
            for batch in lower.batches(self.settings.batch_size, self.device):
                table[batch.rows] = self.dense(batch.images)
        return table, FORWARD_ONLY * len(lower) / self.settings.batch_size

    def _sampler(self, pool: Pool, offset: int, adaptive: Callable[[Strata], np.ndarray] | None) -> EndlessBatches:
        """Batches in the student's layout; even shares where none adapt, be it here or by the settings."""
        settings = self.settings
        size, seed = settings.batch_size, settings.seed + offset
        sampler: EndlessBatches
        if settings.balance == "none":
            sampler = pool.sampler(size, self.device, seed, settings.augment, channels_last=self.channels_last)
        else:
            pull = None if settings.balance == "even" else adaptive
            sampler = StratifiedSampler(
                pool, size, self.device, seed, settings.augment, pull or Strata.even,
                adaptive=pull is not None, channels_last=self.channels_last,
            )  # fmt: skip
        if self.ranks.several:
            sampler.divide(self.ranks.share)
        return sampler

    def _budget(self, plan: Plan, lower: int, extra: float) -> Budget:
        settings = self.settings
        constrained = self.method.constrained and settings.fairness_on != "none"
        return Budget(
            passes=settings.epochs * max(lower // settings.batch_size, 1), plan=plan,
            upper_every=settings.upper_every, gradient=self.method.upper_gradient,
            feeds=constrained and self._multiplier_data in ("upper", "both"), extra=extra,
        )  # fmt: skip
