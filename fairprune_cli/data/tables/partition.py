"""Rows divided into parts that are alike: every part has its share of each label and group, and persons stay whole."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np


def random_keys(names: Sequence[str], seed: int) -> np.ndarray:
    """A pseudo-random uint64 per name, [N], that depends on name and seed alone: not on order or machine."""
    prefix = f"{seed}:".encode()
    digests = b"".join(hashlib.blake2b(prefix + name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def cells_of(columns: Sequence[np.ndarray]) -> np.ndarray:
    """One number per distinct combination of the columns' codes (each int64 [N]); int64 [N]."""
    combined = columns[0]
    for column in columns[1:]:
        combined = np.unique(combined, return_inverse=True)[1] * (column.max(initial=0) + 2) + column + 1
    return np.unique(combined, return_inverse=True)[1].astype(np.int64)


def assign_parts(
    cells: np.ndarray, persons: np.ndarray | None, shares: Sequence[float], keys: np.ndarray
) -> np.ndarray:
    """Divide rows into parts so that every part has its share of every cell; int64 [N], the part of each row.

    Without persons each cell gives each part its share to within one row (systematic sampling of the rows
    in random order). With persons, whole persons are placed, largest first, each where the sum over parts p
    and cells c of (n_pc - share_p n_c)^2 / (share_p n_c) falls most.

    Args:
        cells: int64 [N], 0..C-1: what is to be kept alike, as label x group.
        persons: int64 [N] or None; rows with one number stay together.
        shares: of each part, summing to 1.
        keys: uint64 [N], the random order, from `random_keys`.
    """
    if persons is not None:
        return _assign_persons(cells, persons, shares, keys)
    result = np.zeros(len(cells), dtype=np.int64)
    left = np.lexsort((keys, cells))
    remaining = 1.0
    for part in range(len(shares) - 1, 0, -1):
        share = min(shares[part] / remaining, 1.0) if remaining > 0 else 0.0
        steps = np.floor(np.arange(len(left) + 1) * share + 0.5 + 1e-9)
        taken = np.diff(steps) > 0
        result[left[taken]] = part
        left = left[~taken]
        remaining -= shares[part]
    return result


def _assign_persons(cells: np.ndarray, persons: np.ndarray, shares: Sequence[float], keys: np.ndarray) -> np.ndarray:
    count = int(cells.max(initial=-1)) + 1
    numbers, person = np.unique(persons, return_inverse=True)
    pairs, sizes = np.unique(person * count + cells, return_counts=True)
    held: list[list[tuple[int, int]]] = [[] for _ in numbers]
    for pair, size in zip(pairs.tolist(), sizes.tolist(), strict=True):
        held[pair // count].append((pair % count, size))
    own_key = np.full(len(numbers), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(own_key, person, keys)
    order = np.lexsort((own_key, -np.bincount(person, minlength=len(numbers))))
    # The last cell stands for the part's whole size, so that parts also keep their share of all rows.
    totals = [*np.bincount(cells, minlength=count).tolist(), len(cells)]
    open_parts = [part for part, share in enumerate(shares) if share > 0]
    target = {part: [shares[part] * total for total in totals] for part in open_parts}
    have = {part: [0] * (count + 1) for part in open_parts}
    chosen = np.zeros(len(numbers), dtype=np.int64)
    for number in order.tolist():
        items = held[number] + [(count, sum(size for _, size in held[number]))]
        best, best_gain = open_parts[0], -math.inf
        for part in open_parts:
            goal, now = target[part], have[part]
            gain = sum(size * (goal[cell] - now[cell] - size / 2) / goal[cell] for cell, size in items)
            if gain > best_gain:
                best, best_gain = part, gain
        for cell, size in items:
            have[best][cell] += size
        chosen[number] = best
    return chosen[person]
