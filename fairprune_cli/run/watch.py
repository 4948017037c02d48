"""What goes on beside a training run: display, events, a state saved now and then, failure signs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import torch
from torch import nn

from fairprune_cli.core.progress import Progress
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.pruning.methods import Method
from fairprune_cli.pruning.schedule import Plan
from fairprune_cli.run.folder import RunFolder
from fairprune_cli.run.options import Settings
from fairprune_cli.training.dense import pool_accuracy
from fairprune_cli.training.failure_signs import Limits, Sign, find_signs
from fairprune_cli.training.trainer import StepFigures, Trainer

# Enough to know the dense model's accuracy to a point; a sign looks for falls of ten.
LOOK_AT = 2000


class TimedSave:
    """Saves where so many seconds have passed since the last time."""

    def __init__(self, save: Callable[[], None], seconds: float) -> None:
        self._save, self._seconds, self._saved = save, seconds, time.monotonic()

    def __call__(self) -> None:
        """Called between two steps."""
        if time.monotonic() - self._saved >= self._seconds:
            self._save()
            self._saved = time.monotonic()


class Watch:
    """Called after every step of `trainer`.

    Args:
        save: writes the state; called when `save_seconds` have passed since the last time, between two steps.
    """

    def __init__(
        self, trainer: Trainer, folder: RunFolder, terminal: Terminal, display: Progress, limits: Limits,
        save: Callable[[], None], save_seconds: float,
    ) -> None:  # fmt: skip
        self.trainer, self.folder, self.terminal, self.display = trainer, folder, terminal, display
        self.limits, self._save_in_time = limits, TimedSave(save, save_seconds)
        self._records = [asdict(record) for record in trainer.records]  # an earlier process wrote these
        self._said: set[str] = set()

    def __call__(self, now: StepFigures) -> None:
        self.display.update(now.step, _figures(now))
        self.catch_up()
        self._save_in_time()

    def catch_up(self) -> None:
        """Write the events that are not written yet, and say signs that are not said yet."""
        new = [asdict(record) for record in self.trainer.records[len(self._records) :]]
        if not new:
            return
        for record in new:
            self.folder.event("epoch", record)
        self._records += new
        for sign in self._signs():
            if sign.code not in self._said:
                self.terminal.note(f"epoch {new[-1]['epoch']}: {sign.text}; {sign.advice}")
                self._said.add(sign.code)

    def conclude(self) -> None:
        """Give the signs that hold at the end of the run to the report."""
        self.catch_up()
        for sign in self._signs():
            self.terminal.warn(f"{sign.text}; {sign.advice}", code=sign.code)

    def _signs(self) -> list[Sign]:
        """Signs as of now; a constraint whose stage is over has no say any more."""
        start, end = self.trainer.plan.fair_edges(self.trainer.steps)
        acts = self.limits.constrained and start < self.trainer.done <= end
        return find_signs(self._records, replace(self.limits, constrained=acts))


def some_images(pool: Pool, seed: int) -> Pool:
    """So many of a pool's images as say well enough how often the dense model is right."""
    chosen = np.random.default_rng(seed).permutation(len(pool))[:LOOK_AT]
    return pool.images.pool(pool.rows[np.sort(chosen)])


def limits_of(
    settings: Settings, method: type[Method], plan: Plan, dense: nn.Module, upper: Pool, device: torch.device
) -> Limits:
    """What the records of a run are held against; the dense model is looked at on some of the upper images.

    Of several tasks these are means, as the accuracy of an epoch is.
    """
    some = some_images(upper, settings.seed)
    labels = some.labels.reshape(len(some), -1).T
    cap = settings.multiplier_cap if method.dual.cap is None else method.dual.cap
    return Limits(
        tolerance=settings.tolerance, multiplier_cap=cap, sparsity=settings.sparsity,
        epochs=settings.epochs, constrained=method.constrains(settings.fairness_on),
        moves_mask_by_gradient=method.upper_gradient and not plan.rounds,
        dense_accuracy=pool_accuracy(dense, some, device),
        majority_share=float(np.mean([np.bincount(own).max() / len(some) for own in labels])),
        memory=settings.multiplier_memory,
    )  # fmt: skip


def _figures(now: StepFigures) -> dict[str, str]:
    """The figures beside the progress bar."""
    return {
        "loss": f"{now.loss:.3f}", "sparsity": f"{now.sparsity:.3f}", "gap": f"{now.exact_gap:.3f}",
        "surrogate": f"{now.surrogate_gap:.3f}", "multiplier": f"{now.multiplier:.2f}",
        "img/s": f"{now.images_per_second:.0f}",
    }  # fmt: skip
