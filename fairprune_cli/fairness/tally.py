"""Running counts: what the rates that multipliers follow are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.margins import class_margins
from fairprune_cli.fairness.notion import Notion, largest_gap
from fairprune_cli.fairness.relaxations import Surrogate


@dataclass(frozen=True)
class Violation:
    """Exact and relaxed gap of one attribute, always side by side; 0..1 for the exact one, NaN if undefined."""

    exact: float
    surrogate: float


class GroupTally:
    """Running counts and relaxed rates of one attribute, forgetting with a memory measured in images.

    Args:
        groups: G.
        notion: what is counted; gives K and M.
        memory: number of images after which a count has fallen to 1/e.
        per_group: memory counts the images of each group by itself (a replay buffer per group).
    """

    def __init__(self, groups: int, notion: Notion, memory: float, per_group: bool = False) -> None:
        classes = notion.event.shape[1]
        self.counts = np.zeros((groups, classes, classes))
        self.soft = np.zeros((2, notion.event.shape[0], groups))  # relaxed hits, population
        self.seen = np.zeros((groups, classes))  # images, whatever each stands for
        self.memory, self.per_group = memory, per_group

    def add(self, counts: np.ndarray, soft: np.ndarray, seen: np.ndarray | None = None) -> None:
        """Add a batch: counts [G, K, K], relaxed (hits, population) [2, M, G], and images [G, K] if counts are not."""
        size = counts.sum(axis=(1, 2)) if self.per_group else np.full(len(counts), counts.sum())
        keep = np.exp(-size / self.memory)
        self.counts = self.counts * keep[:, None, None] + counts
        self.soft = self.soft * keep + soft
        self.seen = self.seen * keep[:, None] + (counts.sum(axis=2) if seen is None else seen)

    def forget(self) -> None:
        """Drop everything."""
        for table in (self.counts, self.soft, self.seen):
            table[...] = 0.0

    @property
    def accuracy(self) -> np.ndarray:
        """Running accuracy of each group, [G]; NaN where it has not been seen."""
        size, right = self.counts.sum(axis=(1, 2)), np.einsum("gyy->g", self.counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(size > 0, right / size, np.nan)

    @property
    def whole_accuracy(self) -> float:
        """Running accuracy over all groups; NaN before an image was counted."""
        counts = self.counts.sum(axis=0)
        return float(counts.trace() / counts.sum()) if counts.sum() else float("nan")

    def surrogate_gap(self) -> float:
        """Largest difference of relaxed rates between two groups; NaN with fewer than two."""
        hits, size = self.soft
        there = size > 0
        return largest_gap(hits / np.where(there, size, 1.0), there)


def add_batch(
    tallies: Sequence[GroupTally],
    rows: GroupRows,
    notion: Notion,
    surrogates: Sequence[Surrogate],
    logits: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None,
) -> None:
    """Add a batch to the tallies, one per attribute: exact counts (whole numbers without weights) and relaxed hits.

    Args:
        surrogates: of 1[a > 0], applied to the margin of each class; the second, if there is one, for false alarms.
        logits: float32 [B, K]; labels: int [B]; groups: int [B, A], -1 for none; weights: [B], 1 each where None.
    """
    cells = rows.cells(labels, groups)
    first = cells * rows.classes  # of an image's row and label, the cell of the first class
    exact = exact_counts(rows, logits, cells, weights)
    seen = rows.images(cells, None)
    at = (first[:, :, None] + np.arange(rows.classes)).reshape(-1)
    shape = (rows.total + 1, rows.classes, rows.classes)  # the last row is for images in no group
    margins = class_margins(torch.from_numpy(logits))

    def relaxed_hits(indicator: Surrogate) -> np.ndarray:
        with torch.no_grad():
            soft = indicator(margins).numpy().astype(float)
        if weights is not None:
            soft *= weights[:, None]
        everywhere = soft if len(rows.counts) == 1 else np.repeat(soft[:, None], len(rows.counts), axis=1)
        return notion.hits(np.bincount(at, everywhere.reshape(-1), np.prod(shape)).reshape(shape)[:-1])

    relaxed = relaxed_hits(surrogates[0])
    for surrogate in surrogates[1:]:
        relaxed = np.where(notion.false_alarms[:, None], relaxed_hits(surrogate), relaxed)
    hits = np.stack([relaxed, notion.sizes(exact.sum(axis=2))])
    parts = rows.per_attribute(exact), rows.per_attribute(hits, axis=2), rows.per_attribute(seen)
    for tally, counts, own, images in zip(tallies, *parts, strict=True):
        tally.add(counts, own, images)


def exact_counts(rows: GroupRows, logits: np.ndarray, cells: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Group x label x prediction of a batch, float [R, K, K].

    Args:
        cells: as from `rows.cells`; logits, weights: as in `add_batch`.
    """
    shape = (rows.total + 1, rows.classes, rows.classes)
    each = None if weights is None else np.repeat(weights, len(rows.counts))
    at = cells * rows.classes + logits.argmax(axis=1)[:, None]
    return np.bincount(at.reshape(-1), each, np.prod(shape)).reshape(shape)[:-1].astype(float, copy=False)
