"""Running counts: what the rates that multipliers follow are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.margins import class_margins
from fairprune_cli.fairness.notion import Notion, largest_gap
from fairprune_cli.fairness.relaxations import Surrogate


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
        self.memory, self.per_group = memory, per_group

    def add(self, counts: np.ndarray, soft: np.ndarray) -> None:
        """Add a batch: counts [G, K, K] and relaxed (hits, population) [2, M, G]."""
        seen = counts.sum(axis=(1, 2)) if self.per_group else np.full(len(counts), counts.sum())
        keep = np.exp(-seen / self.memory)
        self.counts = self.counts * keep[:, None, None] + counts
        self.soft = self.soft * keep + soft

    def surrogate_gap(self) -> float:
        """Largest difference of relaxed rates between two groups; NaN with fewer than two."""
        hits, size = self.soft
        there = size > 0
        return largest_gap(hits / np.where(there, size, 1.0), there)


def add_batch(
    tallies: Sequence[GroupTally],
    rows: GroupRows,
    notion: Notion,
    indicator: Surrogate,
    logits: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None,
) -> None:
    """Add a batch to the tallies, one per attribute: exact counts (whole numbers without weights) and relaxed hits.

    Args:
        indicator: a surrogate of 1[a > 0], applied to the margin of each class.
        logits: float32 [B, K]; labels: int [B]; groups: int [B, A], -1 for none; weights: [B], 1 each where None.
    """
    shape = (rows.total + 1, rows.classes, rows.classes)  # the last row is for images in no group
    size = (rows.total + 1) * rows.classes**2
    first = rows.cells(labels, groups) * rows.classes  # of an image's row and label, the cell of the first class
    each = None if weights is None else np.repeat(weights, len(rows.counts))
    exact = np.bincount((first + logits.argmax(axis=1)[:, None]).reshape(-1), each, size)
    exact = exact.reshape(shape)[:-1].astype(float, copy=False)
    with torch.no_grad():
        soft = indicator(class_margins(torch.from_numpy(logits))).numpy().astype(float)
    if weights is not None:
        soft *= weights[:, None]
    everywhere = soft if len(rows.counts) == 1 else np.repeat(soft[:, None], len(rows.counts), axis=1)
    at = (first[:, :, None] + np.arange(rows.classes)).reshape(-1)
    relaxed = np.bincount(at, everywhere.reshape(-1), size).reshape(shape)[:-1]
    hits = np.stack([notion.hits(relaxed), notion.sizes(exact.sum(axis=2))])
    for tally, counts, own in zip(tallies, rows.per_attribute(exact), rows.per_attribute(hits, axis=2), strict=True):
        tally.add(counts, own)
