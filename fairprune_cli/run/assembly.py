"""From settings to a trainer: constraint, objective, batches and budget of one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.sampler import EndlessBatches
from fairprune_cli.data.batches.stratified import MOST, Strata, StratifiedSampler
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.accuracy_budget import AccuracyWatch
from fairprune_cli.fairness.constraint import LEAST, Constraint
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.joint import JointConstraint
from fairprune_cli.fairness.multipliers import images_read
from fairprune_cli.models.read_out import read_out_of
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.pruning.schedule import FORWARD_ONLY, Budget, Plan
from fairprune_cli.run.dense_reference import dense_counts, images_in
from fairprune_cli.run.inputs import PruningPools
from fairprune_cli.run.opened_data import Data
from fairprune_cli.run.options import Settings
from fairprune_cli.training.objective import Objective
from fairprune_cli.training.trainer import Groups, Trainer

LEAST_SPREAD = 1e-6  # variance that an output of the dense model counts as having, should it say the same of all images


def constrained_notion(settings: Settings, method: type[methods.Method], classes: int) -> fairness.Notion:
    """The notion that is constrained: the method's own where it prescribes one and none was asked for."""
    own = method.dual.own_notion(settings.method_notion)
    if own is None:
        return fairness.get(settings.notion, classes)
    prescribed = fairness.get(own, classes)
    return dataclasses.replace(prescribed, against=method.dual.against or prescribed.against)


@dataclass(frozen=True)
class Assembly:
    """What a trainer is made of, beside the images.

    Attributes:
        method: its class.
        notions: that are constrained, one per task.
        dense: the model as it came; student: its copy, which is pruned, with `masks` over it.
        ranks: processes that train it together.
        channels_last: whether the student lies so in memory, and wants its images so.
        accuracies: per task, what is told of its accuracy and weighs it; none where nothing does.
    """

    settings: Settings
    method: type[methods.Method]
    notions: tuple[fairness.Notion, ...]
    dense: nn.Module
    student: nn.Module
    masks: Masks
    data: Data
    device: torch.device
    ranks: Ranks = field(default_factory=Ranks)
    channels_last: bool = True
    accuracies: tuple[AccuracyWatch, ...] = ()

    def trainer(self, pools: PruningPools) -> Trainer:
        """A trainer at its first step; what it spends on references beforehand is in its budget."""
        settings = self.settings
        method = self.method(self.masks, settings)
        plan = self.method.plan(method.options)
        constraint, reference = self._constraint(pools)
        shifts = self._acts and self.method.shifts_scores(settings.operating_point)
        teacher, spread, outputs = self._teacher(pools)
        groups = self._strata(pools.lower, method)
        looks = self.method.retrains + self.method.fits_biases(settings.operating_point)
        features = looks * FORWARD_ONLY * len(pools.upper) / settings.batch_size
        saliency = plan.rounds * settings.saliency_batches if self.method.upper_gradient else 0
        return Trainer(
            self.student, self.masks,
            Objective(
                method, constraint, teacher, settings.distill, settings.temperature, read_out_of(self.dense),
                settings.hold_outputs, spread, groups, self.dense if settings.distill else None,
                Strata.of(pools.lower) if shifts else None,
            ),
            self._groups,
            self._lower_batches(pools.lower, constraint),
            self._sampler(pools.upper, 2, None),
            self._budget(plan, len(pools.lower), reference + outputs + saliency + features),
            settings.sparsity, dataclasses.replace(settings, multiplier_data=self._multiplier_data), self.ranks,
        )  # fmt: skip

    @property
    def _multiplier_data(self) -> str:
        return self.method.dual.data or self.settings.multiplier_data

    @property
    def _groups(self) -> Groups:
        """Names of the groups by attribute, and by task where there are several."""
        tasks = self.data.manifest.tasks
        return Groups({
            f"{task.name}: {g.name}" if len(tasks) > 1 else g.name: g.groups
            for task in tasks for g in self.data.groupings
        })  # fmt: skip

    def _constraint(self, pools: PruningPools) -> tuple[Constraint | JointConstraint, float]:
        """The constraint on all tasks, and the passes that its reference to the dense model costs."""
        read_out, cost = read_out_of(self.dense), 0.0
        modes: list[Sequence[list[np.ndarray] | None]] = [[None] * len(self.notions)] * 2
        if any(notion.relative or self._as_dense(notion) for notion in self.notions):
            modes[0], cost = self._references(pools, evaluated=False)
            both = any(notion.relative for notion in self.notions) and self.method.upper_gradient
            if both and self._acts and self._multiplier_data == "upper":
                modes[1], more = self._references(pools, evaluated=True)
                cost += more
        data = [images_in(self._pools_counted(pools), rows, task) for task, rows in enumerate(self._rows)]
        lower = [images_in([pools.lower], rows, task) for task, rows in enumerate(self._rows)]
        watches = self.accuracies or [None] * len(self.notions)
        parts = [self._task_constraint(*own) for own in zip(self.notions, *modes, data, lower, watches, strict=True)]
        if read_out is None or read_out.plain:
            return parts[0], cost
        return JointConstraint(parts, read_out.columns, read_out.width), cost

    def _as_dense(self, notion: fairness.Notion) -> bool:
        """Whether a gap may be as large as the dense model's; not where it is a difference to that anyway."""
        return self._acts and not notion.relative and self.method.to_dense(self.settings.target, notion.compares)

    @property
    def _acts(self) -> bool:
        """Whether the constraint is part of what is minimised."""
        return self.method.constrains(self.settings.fairness_on)

    def _pools_counted(self, pools: PruningPools) -> list[Pool]:
        """The data that the multipliers' rates come from."""
        both = {"lower": [pools.lower], "upper": [pools.upper], "both": [pools.lower, pools.upper]}
        return both[self._multiplier_data]

    def _references(self, pools: PruningPools, evaluated: bool) -> tuple[list[list[np.ndarray]], float]:
        """The dense model's counts [G, K, K] by attribute, of each task; and the passes that they cost."""
        drawn = [
            self._sampler(pool, 4, None if pool is pools.upper else lambda strata: np.ones(len(strata.sizes)))
            for pool in self._pools_counted(pools)
        ]
        counts, batches = dense_counts(self.dense, drawn, self._rows, evaluated)
        return counts, FORWARD_ONLY * batches

    @property
    def _rows(self) -> list[GroupRows]:
        """The groups of all attributes, beside the labels of each task."""
        groups = [len(g.groups) for g in self.data.groupings]
        return [GroupRows(groups, notion.event.shape[1]) for notion in self.notions]

    def _task_constraint(
        self, notion: fairness.Notion, dense: list[np.ndarray] | None, dense_eval: list[np.ndarray] | None,
        data: list[np.ndarray], lower: list[np.ndarray] | None = None, accuracy: AccuracyWatch | None = None,
    ) -> Constraint:  # fmt: skip
        settings, dual = self.settings, self.method.dual
        groups = [len(g.groups) for g in self.data.groupings]
        return Constraint(
            notion, groups, relaxations.get(dual.relaxation or settings.relaxation),
            tolerance=self._tolerances(notion, dense, data), rate=settings.multiplier_rate,
            cap=settings.multiplier_cap if dual.cap is None else dual.cap,
            # A buffer per group remembers as many images in all as one for everybody.
            memory=settings.multiplier_memory / (max(groups) if dual.per_group else 1),
            bound=dual.bound or settings.bound, dense=dense if notion.relative else None,
            dense_eval=dense_eval if notion.relative else None, data=data, normalise=dual.normalise,
            per_group=dual.per_group,
            start=lower if (dual.start or settings.multiplier_start) == "balanced" else None,
            unit=lower if (dual.unit or settings.multiplier_unit) == "group" else None,
            exponentiated=(dual.step or settings.multiplier_step) == "exponentiated",
            rests=self._rests(notion),
            errors=settings.tolerance_errors if dual.errors is None else dual.errors,
            accuracy=accuracy,
            levelling=settings.levelling if dual.levelling is None else dual.levelling,
            decay=settings.multiplier_decay if dual.decay is None else dual.decay,
        )  # fmt: skip

    def _rests(self, notion: fairness.Notion) -> bool:
        """Whether multipliers fall to where they started, and not to zero."""
        fall = self.method.dual.fall or self.settings.multiplier_fall
        return fall == "start" or (fall == "target" and not self._as_dense(notion))

    def _tolerances(
        self, notion: fairness.Notion, dense: list[np.ndarray] | None, data: list[np.ndarray]
    ) -> list[float]:
        """What each attribute's gap is to come down to.

        Args:
            dense: the dense model's counts by attribute, [G, K, K]; data: the images that they are of, [G, K]. A rate
                that rests on too few of them to move a multiplier says nothing here, either.
        """
        asked = self.settings.tolerance
        if dense is None or not self._as_dense(notion):
            return [asked] * len(self.data.groupings)
        found = []
        for counts, images in zip(dense, data, strict=True):
            read = images_read(notion, images, self.settings.multiplier_memory)
            own = notion.least_tolerance(notion.usable_rates(counts, None, LEAST, read), notion.whole_rates(counts))
            found.append(float(np.fmax(asked, own)))
        return found

    def _teacher(self, pools: PruningPools) -> tuple[Tensor | None, Tensor | None, float]:
        """The dense model's logits [N, W] by row of the manifest, on the images as they are, and what they cost.

        Between them [W], their variance over the lower images, which is what outputs that are held are measured by.
        """
        read_out = read_out_of(self.dense)
        held = self.settings.hold_outputs > 0 and read_out is not None and bool(read_out.others)
        if not held and not self.method.teacher:
            return None, None, 0.0
        manifest = self.data.manifest
        width = len(manifest.classes) if read_out is None else read_out.width
        table = torch.zeros(len(manifest), width, device=self.device)
        looks = [pools.lower, pools.upper] if held and self.method.upper_gradient else [pools.lower]
        with torch.no_grad():
            for pool in looks:
                for batch in pool.batches(self.settings.batch_size, self.device):
                    table[batch.rows] = self.dense(batch.images)
        spread = table[torch.from_numpy(pools.lower.rows).to(self.device)].var(0).clamp_min(LEAST_SPREAD)
        return table, spread if held else None, FORWARD_ONLY * sum(map(len, looks)) / self.settings.batch_size

    def _strata(self, pool: Pool, method: methods.Method) -> Tensor | None:
        """The group of each row of the manifest, int64 [N], for a method that weighs groups; tells it their sizes."""
        if not method.by_group:
            return None
        strata = Strata.of(pool)
        cells = strata.cells(self.settings.balance_over)
        table = np.full(len(self.data.manifest), -1)
        table[pool.rows] = cells[strata.of_image]
        known = cells >= 0
        method.begin(torch.from_numpy(np.bincount(cells[known], strata.sizes[known])).float().to(self.device))
        return torch.from_numpy(table).to(self.device)

    def _lower_batches(self, pool: Pool, constraint: Constraint | JointConstraint) -> EndlessBatches:
        """Batches of the weight steps: as the method has them, or as the multipliers weigh their images."""
        if not self.method.balanced:
            return self._sampler(pool, 1, lambda strata: constraint.pull(strata.labels, strata.groups, strata.sizes))
        over = self.settings.balance_over
        return self._stratified(pool, 1, lambda strata: strata.balanced(over), adaptive=False, most=np.inf)

    def _sampler(self, pool: Pool, offset: int, adaptive: Callable[[Strata], np.ndarray] | None) -> EndlessBatches:
        """Batches in the student's layout; even shares where none adapt, be it here or by the settings."""
        settings = self.settings
        if settings.balance != "none":
            pull = None if settings.balance == "even" else adaptive
            return self._stratified(pool, offset, pull or Strata.even, adaptive=pull is not None, most=MOST)
        return self._divided(
            pool.sampler(
                settings.batch_size, self.device, settings.seed + offset, settings.augment,
                channels_last=self.channels_last,
            )
        )  # fmt: skip

    def _stratified(
        self, pool: Pool, offset: int, pull: Callable[[Strata], np.ndarray], *, adaptive: bool, most: float
    ) -> EndlessBatches:
        settings = self.settings
        return self._divided(
            StratifiedSampler(
                pool, settings.batch_size, self.device, settings.seed + offset, settings.augment, pull,
                adaptive=adaptive, most=most, channels_last=self.channels_last,
            )
        )  # fmt: skip

    def _divided(self, sampler: EndlessBatches) -> EndlessBatches:
        """The same batches, of which each of several processes forms its part."""
        if self.ranks.several:
            sampler.divide(self.ranks.share)
        return sampler

    def _budget(self, plan: Plan, lower: int, extra: float) -> Budget:
        settings = self.settings
        return Budget(
            passes=settings.epochs * max(lower // settings.batch_size, 1), plan=plan,
            upper_every=settings.upper_every, gradient=self.method.upper_gradient,
            feeds=self._acts and self._multiplier_data in ("upper", "both"), extra=extra,
            lower=1.0 + (FORWARD_ONLY if settings.distill else 0.0),
        )  # fmt: skip
