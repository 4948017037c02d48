"""The same run without its constraint, trained first where `max_accuracy_loss` holds the accuracy against it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from fairprune_cli.core.device import strictly_repeatable, tf32
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.signals import StopRequest
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.fairness.accuracy_budget import AccuracyBudget, AccuracyRecord
from fairprune_cli.pruning import target
from fairprune_cli.run.folder import RunFolder
from fairprune_cli.run.inputs import PruningPools
from fairprune_cli.run.origin import of_this_form
from fairprune_cli.run.prepare import Prepared
from fairprune_cli.run.save import reestimate, write_model
from fairprune_cli.run.train import how_to_go_on, trainer_of
from fairprune_cli.run.watch import TimedSave
from fairprune_cli.training.dense import task_accuracies
from fairprune_cli.training.trainer import StepFigures


@dataclass(frozen=True)
class Unconstrained:
    """What the accuracy is held against.

    Attributes:
        running: of each task, its accuracy after each update of the multipliers, 0..1.
        reached: of each task, the accuracy of the finished network on the upper images, 0..1.
        passes: that were spent on it.
    """

    running: tuple[tuple[float, ...], ...]
    reached: tuple[float, ...]
    passes: float

    def budgets(self, loss: float) -> list[AccuracyBudget]:
        """One per task."""
        return [AccuracyBudget(accuracies, loss) for accuracies in self.running]

    def to_state(self) -> dict[str, Any]:
        """Plain values, for the state that a run is continued from."""
        return asdict(self)

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Unconstrained:
        """Back from `to_state`."""
        running = tuple(tuple(float(a) for a in accuracies) for accuracies in state["running"])
        return cls(running, tuple(float(a) for a in state["reached"]), float(state["passes"]))


def train_unconstrained(
    run: Prepared,
    pools: PruningPools,
    folder: RunFolder,
    stop: StopRequest,
    state: Mapping[str, Any] | None,
    keep: Callable[[Mapping[str, Any]], None],
) -> Unconstrained:
    """Train it on the same batches of upper images, and write it into the run's folder.

    Args:
        state: what `keep` was given, where this is continued.
        keep: saves a state; called every `save_minutes`, and where the run is stopped.

    Raises:
        FairpruneError: it was stopped, or diverged.
    """
    settings = dataclasses.replace(run.settings, multiplier_rate=0.0, multiplier_start="zero")
    student = copy.deepcopy(run.student)
    masks = target.build_masks(settings, student, run.transform.shape, run.before)
    own = dataclasses.replace(run, settings=settings, student=student, masks=masks)
    records = [AccuracyRecord() for _ in run.notions]
    trainer = trainer_of(own, pools, folder, None if state is None else state["trainer"], records)
    if state is not None:
        with of_this_form(str(folder.state)):
            for record, seen in zip(records, state["seen"], strict=True):
                record.seen.extend(float(accuracy) for accuracy in seen)

    def save() -> None:
        keep({"trainer": trainer.state_dict(), "seen": [list(record.seen) for record in records]})

    with run.terminal.progress("without the constraint", trainer.steps) as display:
        save_in_time = TimedSave(save, 60.0 * settings.save_minutes)

        def after_step(now: StepFigures) -> None:
            display.update(now.step)
            save_in_time()

        trainer.on_progress = after_step
        with tf32(run.device, True), strictly_repeatable(run.device, lambda: ""):
            done = trainer.run(stop)
    if not done:
        with run.group.together():
            save()
        raise FairpruneError(
            f"stopped at step {trainer.done} of {trainer.steps} of the network without the constraint; the state is "
            "saved", hint=how_to_go_on(run, folder), code=stop.code or ExitCode.TERMINATED,
        )  # fmt: skip
    reached: tuple[float, ...] = ()
    with run.group.together():
        if run.group.number == 0:
            reestimate(own, pools.lower, trainer.lower)
            reached = task_accuracies(student, pools.upper, run.device, settings.batch_size)
            write_model(own, folder.unconstrained, student, masks.sparse_entries(masks.keep))
    reached = run.group.from_first(reached)
    return Unconstrained(tuple(tuple(record.seen) for record in records), reached, trainer.passes)


@dataclass(frozen=True)
class AccuracySpent:
    """What fairness cost, on the upper images as they are.

    Attributes:
        allowed: share of all images.
        unconstrained, reached: accuracy of each task, without the constraint and with it, 0..1.
        images: that were looked at.
        passes: that the unconstrained network took.
    """

    allowed: float
    unconstrained: tuple[float, ...]
    reached: tuple[float, ...]
    images: int
    passes: float


def spent_of(free: Unconstrained, run: Prepared, pruned: nn.Module, upper: Pool) -> AccuracySpent:
    """Look what was spent of the budget, say it, and warn where it was more than allowed."""
    allowed, reached = (
        run.settings.max_accuracy_loss,
        task_accuracies(pruned, upper, run.device, run.settings.batch_size),
    )
    spent = AccuracySpent(allowed, free.reached, reached, len(upper), free.passes)
    for task, before, now in zip(run.data.manifest.tasks, free.reached, reached, strict=True):
        name = f"{task.name}: " if len(reached) > 1 else ""
        text = (
            f"{name}{now:.1%} right on the {len(upper)} upper images, {before:.1%} without the constraint; fairness "
            f"may cost {100 * allowed:g} points"
        )
        if before - now > allowed:
            run.terminal.warn(f"{text} and cost {100 * (before - now):.1f}", code="accuracy-budget")
        else:
            run.terminal.note(text)
    return spent
