"""Thresholds of groups for a pruned network: fitted on upper images, written into its file and beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from fairprune_cli.audit.counts import audit_tasks
from fairprune_cli.audit.group_counts import DENSE
from fairprune_cli.audit.logits import Seen
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.manifest.manifest import Grouping
from fairprune_cli.data.manifest.task import Task
from fairprune_cli.fairness import notions
from fairprune_cli.fairness.group_biases import FittingImages, GroupBiases, fitted_group_biases, large_groups
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.models.file.group_points import GroupPoints, points_csv
from fairprune_cli.models.options import GROUP_TABLE
from fairprune_cli.models.read_out import read_out_of
from fairprune_cli.run.options import Settings
from fairprune_cli.run.prepare import Prepared

PRUNED = "pruned"
NOTED_PRICE = 0.01  # more errors, as a share of the images


def fit_thresholds(run: Prepared, upper: Pool) -> tuple[GroupPoints, ...]:
    """The points of each task, as the pruned network stands; () where they were not asked for.

    Args:
        upper: images that no weight was fitted on, but for a last layer that was trained again.
    """
    settings = run.settings
    if not settings.group_thresholds:
        return ()
    if run.method.retrains and settings.sparsity > 0:
        run.terminal.warn(
            f"{settings.method} trains the last layer again on the images that thresholds are fitted on: to what they "
            "promise there the test split may not come", code="group-thresholds",
        )  # fmt: skip
    found = []
    with run.terminal.progress("group thresholds", len(upper)) as display:
        scores = _scores(run, upper, lambda done, _: display.update(done))
    grouping = run.data.groupings[0]
    for number, task in enumerate(run.data.manifest.tasks):
        notion = notions.get(settings.notion, len(task.classes))
        counts = None if DENSE not in scores else _counts(scores[DENSE][number], upper, number, len(grouping.groups))
        images = FittingImages(
            scores[PRUNED][number], _labels(upper, number), upper.groups[:, 0], grouping.groups,
            notion.rates(counts)[0] if counts is not None and notion.relative else None,
        )  # fmt: skip
        tolerance = _tolerance(settings, notion, counts)
        with run.terminal.progress("fitting thresholds", None):  # of a hundred classes it takes minutes
            fitted = fitted_group_biases(images, notion, tolerance, settings.min_group)
        name = f"{task.name}, {grouping.name}" if len(run.data.manifest.tasks) > 1 else grouping.name
        _tell(fitted, name, grouping, settings, run.terminal)
        found.append(_points(fitted, task, grouping, run, number, tolerance))
    return tuple(found)


def _needs_dense(settings: Settings, tasks: Sequence[Task]) -> bool:
    relative = any(notions.get(settings.notion, len(task.classes)).relative for task in tasks)
    return relative or settings.target == "dense"


def _scores(run: Prepared, upper: Pool, progress: Callable[[int, int], None]) -> dict[str, list[np.ndarray]]:
    """Scores [n, K] of each task, of the pruned network and, where it is asked for, the dense one."""
    tasks = run.data.manifest.tasks
    models: dict[str, nn.Module] = {PRUNED: run.student}
    if _needs_dense(run.settings, tasks):
        models[DENSE] = run.dense
    parts: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in tasks] for name in models}

    def keeping(task: int) -> Callable[[Seen, Mapping[str, Tensor]], None]:
        def keep(_: Seen, tables: Mapping[str, Tensor]) -> None:
            for name, table in tables.items():
                parts[name][task].append(table.numpy().copy())

        return keep

    audit_tasks(
        models, upper, run.data.groupings, [task.classes for task in tasks], run.device, progress=progress,
        watches=[keeping(task) for task in range(len(tasks))],
    )  # fmt: skip
    return {name: [np.concatenate(tables) for tables in of_tasks] for name, of_tasks in parts.items()}


def _labels(pool: Pool, task: int) -> np.ndarray:
    return pool.labels if pool.labels.ndim == 1 else pool.labels[:, task]


def _counts(scores: np.ndarray, upper: Pool, task: int, groups: int) -> np.ndarray:
    """Group x label x prediction, [G, K, K]."""
    classes, known = scores.shape[1], upper.groups[:, 0] >= 0
    counts = np.zeros((groups, classes, classes))
    np.add.at(counts, (upper.groups[known, 0], _labels(upper, task)[known], scores.argmax(1)[known]), 1)
    return counts


def _tolerance(settings: Settings, notion: Notion, dense: np.ndarray | None) -> float:
    """The tolerance, or the dense model's own gap on these images where that is asked for and larger.

    It is that between the groups that are large enough for a threshold of their own; dense: counts [G, K, K].
    """
    if settings.target != "dense" or dense is None or notion.relative:
        return settings.tolerance
    large = dense[large_groups(notion, dense.sum(axis=2), settings.min_group)]
    return float(np.fmax(settings.tolerance, notion.exact(large)))


def _tell(fitted: GroupBiases, name: str, grouping: Grouping, settings: Settings, terminal: Terminal) -> None:
    """Say what became of the gap, and name the groups that are too small to be given a point of their own."""
    images = int(fitted.images.sum())
    if fitted.too_small:
        named = ", ".join(f"{grouping.groups[g]} ({fitted.images[g]} images)" for g in fitted.too_small)
        terminal.warn(
            f"{name}: the common threshold stays for {named}: there are fewer than {settings.min_group} upper images "
            f"with one of the labels that {settings.notion} looks at; give more images in val, or fewer groups",
            code="group-thresholds",
        )  # fmt: skip
    if np.isnan(fitted.gap):
        terminal.note(f"{name}: fewer than two groups are large enough for thresholds of their own")
    elif not fitted.moved:
        terminal.note(
            f"{name}: all groups keep the common threshold, whose gap of {settings.notion} on {images} upper images is "
            f"{100 * fitted.gap:.1f} points"
        )
    else:
        terminal.note(
            f"{name}: with thresholds of the groups the gap of {settings.notion} on {images} upper images is "
            f"{100 * fitted.gap:.1f} points instead of {100 * fitted.gap_before:.1f}, with {fitted.errors} errors "
            f"instead of {fitted.errors_before}; they need each image's group at use, which may be unlawful"
        )
        if fitted.errors - fitted.errors_before > NOTED_PRICE * images:
            terminal.warn(
                f"{name}: the gap closes at the price of {fitted.errors - fitted.errors_before} more errors on "
                f"{images} upper images, as the better groups get worse; a larger --tolerance costs less",
                code="group-thresholds",
            )  # fmt: skip


def _points(
    fitted: GroupBiases, task: Task, grouping: Grouping, run: Prepared, number: int, tolerance: float
) -> GroupPoints:
    read_out = read_out_of(run.student)
    scores = None if read_out is None else read_out.tasks[number]
    return GroupPoints(
        task.name, task.classes, grouping.name, run.settings.notion, tolerance,
        {name: tuple(map(float, row)) for name, row in zip(grouping.groups, fitted.biases, strict=True)},
        {name: int(n) for name, n in zip(grouping.groups, fitted.images, strict=True)},
        scores.threshold if scores is not None and len(scores.columns) == 1 else 0.5,
    )  # fmt: skip


def write_points(points: Sequence[GroupPoints], folder: Path) -> None:
    """The table for other tools, in the run folder; nothing where there are no points."""
    if points:
        atomic_write_text(folder / GROUP_TABLE, points_csv(points))
