"""A sample of images in which every group counts alike, however rare it is in the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprune_cli.data.manifest.load import Grouping, Manifest
from fairprune_cli.data.tables.partition import cells_of, random_keys


def balanced_rows(
    manifest: Manifest, rows: np.ndarray, groupings: Sequence[Grouping], count: int, seed: int
) -> np.ndarray:
    """Equally many rows of every combination of groups that occurs, to within one.

    A combination that runs out gives all it has, and the others share the rest. Images in none of an attribute's
    groups stay out.

    Which ones depends on the images' names and the seed, not on the order of `rows`.

    Args:
        rows: int64 [n], positions in the manifest. groupings: as from `manifest.grouping`; none means one group.
        count: rows that are wanted.

    Returns:
        int64, ascending, of length `count` or less where there are fewer.
    """
    rows = np.sort(np.asarray(rows, dtype=np.int64))
    groups = [grouping.index[rows] for grouping in groupings]
    if groups:
        known = np.min(groups, axis=0) >= 0
        rows, groups = rows[known], [index[known] for index in groups]
    if not len(rows):
        return rows
    cells = cells_of(groups) if groups else np.zeros(len(rows), dtype=np.int64)
    keys = random_keys([manifest.files[row] for row in rows], seed)
    order = np.lexsort((keys, cells))
    starts = np.searchsorted(cells[order], np.arange(cells.max() + 1))
    turn = np.empty(len(rows), dtype=np.int64)
    turn[order] = np.arange(len(rows)) - starts[cells[order]]
    # The first of every combination, then the second of every one, and so on; the keys say who misses the last turn.
    return np.sort(rows[np.lexsort((keys, turn))[:count]])


def counts_of(groupings: Sequence[Grouping], rows: np.ndarray) -> dict[str, int]:
    """Images of every combination of groups among the rows, by name such as `female*30-60`, in the groups' order."""
    if not groupings or not len(rows):
        return {}
    combinations, sizes = np.unique(np.stack([g.index[rows] for g in groupings], 1), axis=0, return_counts=True)
    return {
        "*".join(g.groups[index] if index >= 0 else "none" for g, index in zip(groupings, row, strict=True)): int(size)
        for row, size in zip(combinations, sizes, strict=True)
    }
