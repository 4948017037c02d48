"""One candidate per group at the least cost, all rates of all groups within a window: exact, by enumeration.

Groups g = 1..G have C_g candidates with rates r_g[m, c] and costs, and each group's rates are known to within s_g[m].
Wanted are candidates c_g with

    min  sum over g of cost_g[c_g]    subject to    max over g of (r_g - s_g) - min over g of (r_g + s_g) <= bound

for every rate m. Whatever the best choice is, the smallest of its r_g + s_g is that of some candidate, so all groups
reach into a window [a, a + bound] that begins at one. With one rate each window is looked at, and every group takes its
cheapest candidate that reaches into it. With two rates this is a lower bound for all choices with that window of the
first; the windows are taken from the least bound upwards, those of the second looked at within each, until no bound is
below what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EXACT_RATES = 2
EQUAL = 1e-9  # rates are divisions: equal means equal up to rounding


@dataclass(frozen=True)
class Candidates:
    """What a group may choose from: rates [M, C] with M = 1 or 2, costs [C], all finite; slack [M] is s."""

    rates: np.ndarray
    costs: np.ndarray
    slack: np.ndarray


def cheapest_within(groups: Sequence[Candidates], bound: float) -> list[int] | None:
    """The candidate of each group, [G]; None where no choice keeps the bound, which is 0 or more."""
    costs = [one.costs for one in groups]
    first = _Windows([(one.rates[0], one.slack[0]) for one in groups], bound)
    if len(groups[0].rates) == 1:
        best = first.cheapest(costs)
        return None if best is None else first.choice(best[1], costs)
    second = _Windows([(one.rates[1], one.slack[1]) for one in groups], bound)
    least, found, totals = np.inf, None, first.totals(costs)
    for window in np.argsort(totals, kind="stable"):
        if totals[window] >= least:
            break
        within = first.restricted(int(window), costs)
        best = second.cheapest(within)
        if best is not None and best[0] < least:
            least, found = best[0], second.choice(best[1], within)
    return found


def least_bound(groups: Sequence[Candidates], known: float) -> float:
    """The smallest bound that some choice keeps, to within EQUAL; known: one that is kept."""
    low, high = 0.0, known
    while high - low > EQUAL:
        middle = (low + high) / 2
        found = cheapest_within(groups, middle)
        if found is None:
            low = middle
        else:
            high = min(range_of(groups, found), middle)
    return high


def range_of(groups: Sequence[Candidates], choice: Sequence[int]) -> float:
    """The least bound that a choice keeps."""
    low = np.stack([one.rates[:, c] - one.slack for one, c in zip(groups, choice, strict=True)])
    high = np.stack([one.rates[:, c] + one.slack for one, c in zip(groups, choice, strict=True)])
    return max(float((low.max(axis=0) - high.min(axis=0)).max()), 0.0)


class _Windows:
    """The windows of one rate, W of them, one from each value that a candidate reaches up to.

    Args:
        rates: of each group, [C_g], and its slack.
    """

    def __init__(self, rates: Sequence[tuple[np.ndarray, float]], bound: float) -> None:
        starts = np.unique(np.concatenate([own + slack for own, slack in rates]))
        self.order = [np.argsort(own, kind="stable") for own, _ in rates]
        ordered = [(own[order], slack) for (own, slack), order in zip(rates, self.order, strict=True)]
        self.first = [np.searchsorted(own + slack, starts - EQUAL, "left") for own, slack in ordered]
        self.last = [np.searchsorted(own - slack, starts + bound + EQUAL, "right") for own, slack in ordered]

    def totals(self, costs: Sequence[np.ndarray]) -> np.ndarray:
        """The sum over groups of the cheapest candidate within each window, [W]; inf where a group has none."""
        total = np.zeros(len(self.first[0]))
        for cost, order, first, last in zip(costs, self.order, self.first, self.last, strict=True):
            total += _least_of_runs(cost[order], first, last)
        return total

    def cheapest(self, costs: Sequence[np.ndarray]) -> tuple[float, int] | None:
        """The least total and its window."""
        totals = self.totals(costs)
        window = int(totals.argmin())
        return (float(totals[window]), window) if np.isfinite(totals[window]) else None

    def choice(self, window: int, costs: Sequence[np.ndarray]) -> list[int]:
        """Each group's cheapest candidate within the window."""
        within = self.restricted(window, costs)
        return [int(cost.argmin()) for cost in within]

    def restricted(self, window: int, costs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The costs with inf for candidates outside of the window."""
        result = []
        for cost, order, first, last in zip(costs, self.order, self.first, self.last, strict=True):
            own = np.full(len(cost), np.inf)
            inside = order[first[window] : last[window]]
            own[inside] = cost[inside]
            result.append(own)
        return result


def _least_of_runs(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The smallest value of each run first..last - 1, inf of an empty one, from minima of runs of 2^k."""
    levels = [values]
    while 2 << (len(levels) - 1) <= len(values):
        half = 1 << (len(levels) - 1)
        levels.append(np.minimum(levels[-1][:-half], levels[-1][half:]))
    length = last - first
    result = np.full(len(first), np.inf)
    for k, level in enumerate(levels):
        at = (length >= 1 << k) & (length < 2 << k)
        result[at] = np.minimum(level[first[at]], level[last[at] - (1 << k)])
    return result
