"""The groups of all attributes as rows of one table, so that a batch is counted for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


class GroupRows:
    """R = G_1 + ... + G_A rows: the groups of the first attribute, then those of the second, and so on.

    Args:
        counts: number of groups of each attribute.
        classes: K.
    """

    def __init__(self, counts: Sequence[int], classes: int) -> None:
        self.counts, self.classes, self.total = tuple(counts), classes, sum(counts)
        edges = np.cumsum([0, *counts])
        self._first = edges[:-1]
        self._slices = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        self.attribute = np.zeros((self.total, len(self.counts)))  # [R, A], 1 where the row is a group of the attribute
        for a, rows in enumerate(self._slices):
            self.attribute[rows, a] = 1.0

    def cells(self, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """The cell of each image in a flat table [R + 1, K] of row and label, once per attribute.

        Args:
            labels: int [B]; groups: int [B, A], -1 for none, which is the last row.

        Returns:
            int64 [B, A].
        """
        rows = np.where(groups < 0, self.total, groups + self._first)
        return rows * self.classes + labels[:, None]

    def images(self, cells: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Images in each cell, float [R, K]; cells: [B, A]; weights: [B], 1 each where None."""
        each = None if weights is None else np.repeat(weights, cells.shape[1])
        counts = np.bincount(cells.reshape(-1), each, (self.total + 1) * self.classes)
        return counts.reshape(-1, self.classes)[: self.total].astype(float, copy=False)

    def per_attribute(self, table: np.ndarray, axis: int = 0) -> list[np.ndarray]:
        """Views of a table [R, ...] (along `axis`), one per attribute."""
        before = (slice(None),) * axis
        return [table[(*before, rows)] for rows in self._slices]
