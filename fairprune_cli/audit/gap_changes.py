"""How much a gap changed through pruning, with its sign and an interval, both models having seen the same images.

A gap is a maximum over pairs of groups, and which pair it is may differ between the two models, so that a gap's change
is not the change of any one pair. But with a and b for ordered pairs of groups,

    change = max over a of P_a - max over b of D_b        P, D: differences of pruned and dense accuracies
    C_ab   = P_a - D_b,  between L_ab and U_ab
    low    = min over b of max over a of L_ab             high = max over a of min over b of U_ab

Let a* and b* be the pairs that truly differ most. No C_ab* is above the change and no C_a*b below it, so `low` is above
it only if one of the L_ab* is above its C_ab*, and `high` below it only if one of the U_a*b is below its C_a*b. Each
side therefore holds for as many contrasts at once as there are pairs, whichever pairs those are (Bonferroni). Where
the pair of largest gap is plain, the others do not count and the interval is that of one paired change.

The worst group's change is the same with groups for pairs, and minimum for maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprune_cli.audit.options import CONFIDENCE
from fairprune_cli.audit.outcomes import Array, changes_of, shares_of, sum_reach

# Pairs that are held against all others. Leaving out more only widens the interval, and 16 groups have no more.
_RIVALS = 240

Index = NDArray[np.intp]
Interval = tuple[Array, Array, Array]


@dataclass(frozen=True)
class Change:
    """A change, pruned minus dense, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Reach:
    """How far the truth may lie beyond the figures on one side, [..., G] each.

    Of the rate of the pruned model, of the opposite of the dense model's, of their difference pruned minus dense, and
    of their sum. For the opposite of any of these the reach is that of the other side.
    """

    pruned: Array
    minus_dense: Array
    change: Array
    both: Array


def gap_change(tables: ArrayLike, confidence: float = CONFIDENCE, least: int = 1) -> Change | None:
    """Gap of the pruned model's accuracies minus the dense one's.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].
        confidence: between 0 and 1.
        least: groups with fewer images stay out.

    Returns:
        The change in -1..1, negative where the gap shrank; None where fewer than two groups are left.
    """
    return _of_kept(tables, confidence, least, 2)


def worst_change(tables: ArrayLike, confidence: float = CONFIDENCE, least: int = 1) -> Change | None:
    """Lowest accuracy of any group of the pruned model minus that of the dense one; arguments as for `gap_change`.

    None where no group is left.
    """
    return _of_kept(tables, confidence, least, 1)


def _of_kept(tables: ArrayLike, confidence: float, least: int, fewest: int) -> Change | None:
    cells = np.asarray(tables, float)
    cells = cells[changes_of(cells).kept(least)]
    if len(cells) < fewest:
        return None
    found = (gap_changes if fewest == 2 else worst_changes)(cells, confidence)
    return Change(*(float(figure) for figure in found))


def gap_changes(tables: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """`gap_change` of many tables at once, [..., G, 2, 2]: value, low and high, [...] each."""
    cells = np.asarray(tables, float)
    i, j = np.nonzero(~np.eye(cells.shape[-3], dtype=bool))
    down, up = _reaches(cells, (1 - confidence) / 2 / len(i))
    dense, pruned = _rates(cells)
    before, now = dense[..., i] - dense[..., j], pruned[..., i] - pruned[..., j]
    rivals = _foremost(before)
    contrast = now[..., :, None] - before[..., None, rivals]
    high = contrast + _pair_reach(up, down, (i[:, None], j[:, None]), (i[None, rivals], j[None, rivals]))
    rivals = _foremost(now)
    contrast = now[..., rivals, None] - before[..., None, :]
    low = contrast - _pair_reach(down, up, (i[rivals, None], j[rivals, None]), (i[None], j[None]))
    value = now.max(-1) - before.max(-1)
    # The ends hold the value but for rounding.
    return value, np.clip(low.max(-2).min(-1), -1, value), np.clip(high.min(-1).max(-1), value, 1)


def worst_changes(tables: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """`worst_change` of many tables at once, [..., G, 2, 2]: value, low and high, [...] each."""
    cells = np.asarray(tables, float)
    groups = np.arange(cells.shape[-3])
    down, up = _reaches(cells, (1 - confidence) / 2 / len(groups))
    dense, pruned = _rates(cells)
    i, k = groups[:, None], groups[None]
    contrast = pruned[..., :, None] - dense[..., None, :]
    low = contrast - np.where(i == k, down.change[..., i], sum_reach(down.pruned[..., i], down.minus_dense[..., k]))
    high = contrast + np.where(i == k, up.change[..., i], sum_reach(up.pruned[..., i], up.minus_dense[..., k]))
    value = pruned.min(-1) - dense.min(-1)
    return value, np.clip(low.max(-1).min(-1), -1, value), np.clip(high.min(-2).max(-1), value, 1)


def _rates(cells: Array) -> tuple[Array, Array]:
    """Accuracies of dense and pruned model, [..., G] each."""
    n = cells.sum((-2, -1))
    return cells[..., 1, :].sum(-1) / n, cells[..., 1].sum(-1) / n


def _reaches(cells: Array, tail: float) -> tuple[_Reach, _Reach]:
    """Reach below and above, erring with `tail` each."""
    n = cells.sum((-2, -1))
    dense, pruned = (shares_of(cells[index].sum(-1), n).reach(tail) for index in ((..., 1, slice(None)), (..., 1)))
    change = changes_of(cells).reach(tail)
    # Their sum: as if both erred in the same direction, which is never too narrow.
    both = [pruned[side] + dense[side] for side in (0, 1)]
    return (
        _Reach(pruned[0], dense[1], change[0], both[0]),
        _Reach(pruned[1], dense[0], change[1], both[1]),
    )


def _foremost(differences: Array) -> Index:
    """Indices of the pairs with the largest differences, in any of the tables."""
    return np.argsort(-differences.reshape(-1, differences.shape[-1]).max(0), kind="stable")[:_RIVALS]


def _pair_reach(side: _Reach, other: _Reach, now: tuple[Index, Index], before: tuple[Index, Index]) -> Array:
    """Reach on one side of the difference of the pair `now`, pruned, minus that of the pair `before`, dense.

    `side` is the reach on that side, `other` that on the opposite one. A group may stand in both pairs.
    Indices [A, 1] and [1, B] give [..., A, B].
    """
    (i, j), (k, m) = now, before
    of_i = np.where(i == k, side.change[..., i], np.where(i == m, side.both[..., i], side.pruned[..., i]))
    of_j = np.where(j == m, other.change[..., j], np.where(j == k, other.both[..., j], other.pruned[..., j]))
    of_k = np.where((k == i) | (k == j), 0.0, side.minus_dense[..., k])
    of_m = np.where((m == i) | (m == j), 0.0, other.minus_dense[..., m])
    return np.sqrt(of_i**2 + of_j**2 + of_k**2 + of_m**2)
