"""Rows of a manifest divided in two, for what must not read the same images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprune_cli.data.manifest.load import Grouping, Manifest
from fairprune_cli.data.tables.partition import assign_parts, cells_of, random_keys


def split_rows(
    manifest: Manifest, rows: np.ndarray, share: float, seed: int, groupings: Sequence[Grouping]
) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows in two, alike in label x groups; the first part has `share` of them.

    Each combination of label and groups is divided to within one row. When the manifest names persons, no
    person is in both parts, and the combinations' shares are as close as whole persons allow. The result
    depends on the images' names and the seed, not on the order of `rows`.

    Args:
        rows: int64 [n], positions in the manifest.
        share: of the first part, 0 to 1.
        groupings: as from `manifest.grouping`.

    Returns:
        Two ascending int64 arrays that together hold `rows`.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, found {share}")
    rows = np.sort(np.asarray(rows, dtype=np.int64))
    cells = cells_of([manifest.labels[rows], *(grouping.index[rows] for grouping in groupings)])
    persons = None if manifest.persons is None else manifest.persons[rows]
    keys = random_keys([manifest.files[row] for row in rows], seed)
    part = assign_parts(cells, persons, (share, 1 - share), keys)
    return rows[part == 0], rows[part == 1]
