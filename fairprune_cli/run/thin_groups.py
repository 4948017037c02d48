"""Groups that are too few for what is asked of them: said before training, since it would only show in the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fairprune_cli.audit.counts import audit_tasks
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.stratified import StratifiedSampler, shares
from fairprune_cli.fairness.constraint import LEAST
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.run.dense_reference import images_in
from fairprune_cli.run.opened_data import Data
from fairprune_cli.run.watch import some_images
from fairprune_cli.training.sources import BatchSource

NAMED = 5  # of each kind, in a warning


@dataclass(frozen=True)
class RateRead:
    """A rate that multipliers read.

    Attributes:
        name: of the group, and of the labels that count, where not all do.
        images: that the running rate rests on, at most those of the data.
        error: standard error of the dense model's rate on so many.
        tolerance: what its difference to other groups' is allowed to be.
    """

    name: str
    images: float
    error: float
    tolerance: float


def warn_of_thin_groups(readings: Sequence[RateRead], errors: float, asked: float, terminal: Terminal) -> None:
    """Name the rates that no multiplier follows, and those whose noise is larger than the tolerance.

    Args:
        errors: standard errors up to which a difference is no violation, `tolerance_errors`.
        asked: the tolerance of the settings.
    """
    rare = [r for r in readings if r.images < LEAST]
    noisy = sorted((r for r in readings if r.images >= LEAST and r.error > r.tolerance), key=lambda r: -r.error)
    if rare:
        terminal.warn(
            f"too rare to be constrained: {_listed([f'{r.name} ({r.images:.0f})' for r in rare])}; a rate that rests "
            f"on fewer than {LEAST:g} images moves no multiplier: give more images in val, or fewer groups",
            code="rare-groups",
        )  # fmt: skip
    if noisy:
        left = f"what is within {errors:g} of them is left alone there" if errors > 0 else "they follow noise there"
        named = _listed([f"{r.name} {r.error:.3f} ({r.images:.0f} images)" for r in noisy])
        terminal.warn(
            f"{_allowed(noisy, asked)} is below one standard error of the rates that the "
            f"multipliers read: {named}; {left}: give more images in val, or a larger --tolerance",
            code="noisy-rates",
        )  # fmt: skip


def _allowed(noisy: Sequence[RateRead], asked: float) -> str:
    least = min(r.tolerance for r in noisy)
    return f"the tolerance {least:.2g}" if least == asked else f"the dense model's gap, {least:.2g},"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def readings_of(
    data: Data, notions: Sequence[Notion], tolerances: Sequence[float], drawn: Mapping[Pool, BatchSource],
    memory: float, per_group: bool, dense: nn.Module, device: torch.device,
) -> list[RateRead]:  # fmt: skip
    """What the multipliers of all tasks and attributes read.

    Args:
        tolerances: allowed differences, of each task attribute by attribute.
        drawn: the images that are counted, and the batches in which they come.
        memory: images that the running rates look back on, of each group where `per_group`.
    """
    tasks, groups = data.manifest.tasks, [len(grouping.groups) for grouping in data.groupings]
    some = some_images(next(iter(drawn)), 0)
    counted = audit_tasks({"dense": dense}, some, data.groupings, [task.classes for task in tasks], device)
    found: list[RateRead] = []
    for number, (task, notion, result) in enumerate(zip(tasks, notions, counted, strict=True)):
        rows = GroupRows(groups, len(task.classes))
        there = images_in(list(drawn), rows, number)
        seen = [images_in([pool], rows, number, _odds(pool, source)) for pool, source in drawn.items()]
        for a, grouping in enumerate(data.groupings):
            share = np.sum([own[a] for own in seen], axis=0)
            share = memory * share / np.maximum(share.sum(axis=1, keepdims=True) if per_group else share.sum(), 1e-12)
            # However often an image is drawn, it is one.
            sizes = np.minimum(notion.sizes(there[a]), notion.sizes(share))
            errors = _errors(notion, result.counts("dense", grouping.name), sizes)
            prefix = f"{task.name}: " if len(tasks) > 1 else ""
            for m, members in enumerate(notion.population):
                labels = "" if members.all() else f" labelled {' or '.join(np.array(task.classes)[members])}"
                names = [f"{prefix}{grouping.name} {name}{labels}" for name in grouping.groups]
                read = zip(names, sizes[m].tolist(), errors[m].tolist(), strict=True)
                found += [RateRead(*one, tolerance=tolerances[number * len(groups) + a]) for one in read]
    return list({one.name: one for one in sorted(found, key=lambda one: one.error)}.values())  # rates of one population


def _odds(pool: Pool, source: BatchSource) -> np.ndarray:
    """How often an image comes in batches, relative to the mean of all, [n]."""
    if not isinstance(source, StratifiedSampler):
        return np.ones(len(pool))
    strata = source.strata
    odds: np.ndarray = shares(strata.sizes, source.pull(strata), source.most) / strata.sizes * len(pool)
    return odds[strata.of_image]


def _errors(notion: Notion, counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Standard errors of the dense model's rates, [M, G]; counts [G, K, K]; sizes [M, G], the images of each rate."""
    looked_at = notion.sizes(counts.sum(axis=2))
    rate = (notion.hits(counts) + 1.0) / (looked_at + 2.0)  # a model that was always right may err yet
    errors: np.ndarray = np.sqrt(rate * (1.0 - rate) / np.maximum(sizes, 1.0))
    return errors
