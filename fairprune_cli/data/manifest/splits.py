"""The split of every image: as the data names it, a val part cut from train, or drawn by shares.

What is drawn keeps persons whole where it is asked to, and images of equal bytes together in any case: a copy of a
training image in test would be counted as something that was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.content_hashes import content_numbers
from fairprune_cli.data.manifest.rows import Records
from fairprune_cli.data.manifest.split_spec import SplitSpec
from fairprune_cli.data.tables.coded_cells import distinct, replaced
from fairprune_cli.data.tables.codes import encode
from fairprune_cli.data.tables.partition import assign_parts, random_keys
from fairprune_cli.data.tables.table import SPLITS


def assign_splits(
    spec: SplitSpec,
    records: Records,
    labels: np.ndarray,
    persons: np.ndarray | None,
    hashes: Callable[[Sequence[str]], np.ndarray],
    rows: Sequence[int],
    warnings: list[str],
    problems: Problems,
) -> np.ndarray | None:
    """Positions in SPLITS, int64 [N], -1 where a cell is at fault; None where nothing says the splits.

    Args:
        labels: int64 [N], -1 where at fault; parts that are drawn are alike in them.
        persons: int64 [N], a number per person; None where persons are unknown.
        hashes: of images by their names, uint8 [n, 16]; zeros of what cannot be read.
        rows: [N], for messages.
    """
    fractions = spec.fractions or records.fractions
    drawn = fractions is not None and records.splits is None
    if records.splits is not None:
        meant = {cell: spec.split_of(cell) or cell for cell in distinct(records.splits)}
        cells = replaced(records.splits, meant)
        splits = encode(cells, SPLITS, "split", records.table, rows, problems)
        share = spec.val_share or records.val_share
        if spec.val_share and (splits == 1).any():
            problems.add("splits.val: the data has a val split already: remove `val: from-train`", "splits")
        elif share:
            splits = _carved(records, hashes, labels, persons if spec.val_share else None, splits, share, spec.seed)
    elif fractions is not None and records.files is not None:
        if spec.fractions is None and (spec.names or spec.source or spec.val_share):
            problems.add("splits: this data names no splits: give shares of train, val and test", "splits")
        # By name and class alone: neither the order of the rows nor an attribute added later moves an image.
        keys = random_keys(records.files, spec.seed)
        whole = persons if spec.by_person or records.by_person else None
        splits = _drawn(np.maximum(labels, 0), whole, fractions, keys, _equal_bytes(hashes(records.files)))
    else:
        return None
    if persons is not None:
        known = splits >= 0  # the others are errors already
        pairs = np.unique(np.stack([persons[known], splits[known]]), axis=1)[0]
        if twice := len(pairs) - len(np.unique(pairs)):
            more = ": `by: person` under splits keeps them whole" if drawn else ""
            warnings.append(f"{twice:,} persons stand in more than one split{more}")
    return splits


def _carved(
    records: Records,
    hashes: Callable[[Sequence[str]], np.ndarray],
    labels: np.ndarray,
    persons: np.ndarray | None,
    splits: np.ndarray,
    share: float,
    seed: int,
) -> np.ndarray:
    """The splits with a share of train as val, alike in labels, drawn by name from the seed."""
    if (splits == 1).any() or records.files is None:
        return splits
    train = np.flatnonzero(splits == 0)
    names = [records.files[i] for i in train.tolist()]
    whole = None if persons is None else persons[train]
    part = _drawn(
        np.maximum(labels[train], 0), whole, (1 - share, share), random_keys(names, seed), _equal_bytes(hashes(names))
    )
    splits = splits.copy()
    splits[train[part == 1]] = 1
    return splits


def _drawn(
    cells: np.ndarray, persons: np.ndarray | None, shares: Sequence[float], keys: np.ndarray, copies: np.ndarray | None
) -> np.ndarray:
    """`assign_parts` with images of equal bytes in one part; int64 [N].

    Without persons a copy goes where the image of its bytes with the lowest key goes, so no other image moves.
    """
    if copies is None:
        return assign_parts(cells, persons, shares, keys)
    if persons is not None:
        return assign_parts(cells, _joined(persons, copies), shares, keys)
    part = assign_parts(cells, None, shares, keys)
    order = np.lexsort((keys, copies))
    first = np.unique(copies[order], return_index=True)[1]
    return part[order[first]][np.unique(copies, return_inverse=True)[1]]


def _joined(persons: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Persons who share an image's bytes under one number, int64 [N]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    person = np.unique(persons, return_inverse=True)[1]
    copy = np.unique(copies, return_inverse=True)[1] + person.max(initial=-1) + 1
    size = int(copy.max(initial=-1)) + 1
    edges = coo_matrix((np.ones(len(person)), (person, copy)), shape=(size, size))
    return connected_components(edges, directed=False)[1][person].astype(np.int64)


def _equal_bytes(hashes: np.ndarray) -> np.ndarray | None:
    """As `content_numbers`; None where no two images are equal."""
    numbers = content_numbers(hashes)
    return None if len(np.unique(numbers)) == len(hashes) else numbers
