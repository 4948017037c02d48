"""One bias per class and group for three classes or more, by coordinate search.

The errors and what is beyond the bound are one sum, whose weight w on the latter grows:

    errors + w n sum over rates m of max(max over groups of (r_g - s_g) - min over groups of (r_g + s_g) - bound, 0)

The bias of one class is moved at a time, in one group or in two at once, to the best of the values between which
predictions change. What is returned is the best that was met: least beyond the bound, then fewest errors, then smallest
biases. No search of this kind is exact; tests hold it against all combinations of small grids.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fairprune_cli.fairness.notion import Notion
from fairprune_cli.fairness.window_search import EQUAL

WEIGHTS = (0.25, 1.0, 4.0, 16.0, 64.0)
SWEEPS = 8  # at one weight, at most
MOST_VALUES = 64  # of one bias that are looked at
MOST_CLASSES = 100
_OF_TWO = 24  # the same where the biases of two groups move at once
_MOST_PAIRS = 30  # of groups that move at once
_ROOM = 4_000_000  # counts at once


@dataclass(frozen=True)
class GroupScores:
    """A group's images.

    Attributes:
        scores: float64 [n, K]; labels: int64 [n].
        dense: [M], the dense model's rates, zeros where none are asked for.
        slack: [M], to within what the group's rates are known: s_g.
    """

    scores: np.ndarray
    labels: np.ndarray
    dense: np.ndarray
    slack: np.ndarray

    def counts(self, biases: np.ndarray) -> np.ndarray:
        """Label x prediction, [K, K], at these biases [K]."""
        return self.table(self.labels, (self.scores + biases).argmax(1))

    def table(self, labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Label x prediction, [K, K], of images."""
        classes = self.scores.shape[1]
        return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class _Line:
    """What a group comes to along one bias: its values [C], the errors [C], the rates [M, C], and the cost [C]."""

    values: np.ndarray
    errors: np.ndarray
    rates: np.ndarray
    cost: np.ndarray


class BiasDescent:
    """The search over all groups.

    Args:
        groups: those that are fitted.
        levelling: whether a group may make more errors than without biases.
    """

    def __init__(self, groups: Sequence[GroupScores], notion: Notion, bound: float, levelling: bool) -> None:
        self.groups, self.notion, self.bound = groups, notion, bound
        self.images = sum(len(one.labels) for one in groups)
        self.classes = groups[0].scores.shape[1]
        self.biases = np.zeros((len(groups), self.classes))
        counts = [one.counts(zeros)[None] for one, zeros in zip(groups, self.biases, strict=True)]
        self.rates = np.concatenate([self._rates(one, own) for one, own in zip(groups, counts, strict=True)], axis=1)
        self.slack = np.stack([one.slack for one in groups], axis=1)
        self.errors = np.array([_errors(own)[0] for own in counts])
        self.most_errors = np.full(len(groups), self.images) if levelling else self.errors.copy()
        self.best: tuple[tuple[float, float, float], np.ndarray] | None = None

    def search(self) -> np.ndarray:
        """The biases [G, K], of which each group's median is 0, as the same number on all classes changes nothing."""
        self._remember()
        for weight in WEIGHTS:
            for _ in range(SWEEPS):
                moves = [self._move(which, k, weight) for k in range(self.classes) for which in self._sets()]
                self._remember()
                if not any(moves):
                    break
        assert self.best is not None
        found = self.best[1]
        return found - np.sort(found, axis=1)[:, (self.classes - 1) // 2, None]

    def _sets(self) -> Iterator[tuple[int, ...]]:
        """The groups that move together."""
        yield from ((g,) for g in range(len(self.groups)))
        yield from itertools.islice(itertools.combinations(range(len(self.groups)), 2), _MOST_PAIRS)

    def _rates(self, group: GroupScores, counts: np.ndarray) -> np.ndarray:
        """[M, C] of counts [C, K, K]."""
        return np.asarray(self.notion.rates(counts)[0] - group.dense[:, None])

    def _remember(self) -> None:
        """Keep where the search is, if it is the best that was met."""
        apart = (self.rates - self.slack).max(axis=1) - (self.rates + self.slack).min(axis=1)
        beyond = float(np.maximum(apart - self.bound - EQUAL, 0.0).max())
        key = (beyond, float(self.errors.sum()), float(np.abs(self.biases).sum()))
        if self.best is None or key < self.best[0]:
            self.best = key, self.biases.copy()

    def _move(self, which: tuple[int, ...], k: int, weight: float) -> bool:
        """Set the bias of class k in these groups to the best values; whether that helped."""
        lines = [self._along(g, k, MOST_VALUES if len(which) == 1 else _OF_TWO) for g in which]
        rest = np.setdiff1d(np.arange(len(self.groups)), which)
        # Of the groups that stay: none of them is beyond infinity.
        high = (self.rates - self.slack)[:, rest].max(axis=1, keepdims=True, initial=-np.inf)
        low = (self.rates + self.slack)[:, rest].min(axis=1, keepdims=True, initial=np.inf)
        cost = np.zeros(1)
        for g, line in zip(which, lines, strict=True):
            slack = self.slack[:, g, None]
            high = np.maximum(high[:, :, None], (line.rates - slack)[:, None, :]).reshape(len(high), -1)
            low = np.minimum(low[:, :, None], (line.rates + slack)[:, None, :]).reshape(len(low), -1)
            cost = (cost[:, None] + line.cost).reshape(-1)
        cost = cost + weight * self.images * np.maximum(high - low - self.bound - EQUAL, 0.0).sum(axis=0)
        shape = tuple(len(line.values) for line in lines)
        now = np.ravel_multi_index(
            tuple(int(np.searchsorted(line.values, self.biases[g, k])) for g, line in zip(which, lines, strict=True)),
            shape,
        )
        best = int(cost.argmin())
        if not cost[best] < cost[now] - EQUAL:
            return False
        for g, line, c in zip(which, lines, np.unravel_index(best, shape), strict=True):
            self.biases[g, k], self.errors[g], self.rates[:, g] = line.values[c], line.errors[c], line.rates[:, c]
        return True

    def _along(self, g: int, k: int, most: int) -> _Line:
        """A group along the bias of class k."""
        group, size = self.groups[g], self.biases[g, k]
        values, counts = counts_along(group, self.biases[g], k, max(min(most, _ROOM // self.classes**2), 4))
        errors = _errors(counts)
        # Errors are whole numbers, and the biases of all groups together are worth less than one.
        others = np.abs(self.biases[g]).sum() - abs(size)
        lengths = others + np.abs(values)
        cost = errors + lengths / (1.0 + lengths) / (2 * len(self.groups))
        cost[errors > self.most_errors[g]] = np.inf
        return _Line(values, errors, self._rates(group, counts), cost)


def counts_along(group: GroupScores, biases: np.ndarray, k: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of the bias of class k, ascending, the present one and 0 among them, and counts [C, K, K] at each.

    Args:
        biases: of all classes, [K].
        most: of many values some at even ranks are taken, so many.
    """
    classes = len(biases)
    shifted = group.scores + biases
    shifted[:, k] = -np.inf
    other = shifted.argmax(1)
    turns = shifted.max(1) - group.scores[:, k]  # beyond this bias the image is taken for k
    values = np.unique(np.concatenate([_between(turns, most), [0.0, biases[k]]]))
    # Where scores are equal, the first class is predicted.
    first = np.where(k < other, np.searchsorted(values, turns, "left"), np.searchsorted(values, turns, "right"))
    cells = np.zeros((len(values) + 1, classes, classes))
    np.add.at(cells, (first, group.labels, np.full_like(other, k)), 1)
    np.add.at(cells, (first, group.labels, other), -1)
    return values, np.cumsum(cells[:-1], axis=0) + group.table(group.labels, other)


def _errors(counts: np.ndarray) -> np.ndarray:
    """[C] of counts [C, K, K]."""
    found: np.ndarray = counts.sum((1, 2)) - np.trace(counts, axis1=1, axis2=2)
    return found


def _between(turns: np.ndarray, most: int) -> np.ndarray:
    """Values between those at which a prediction changes, and beyond them; of many, some at even ranks."""
    distinct = np.unique(turns)
    middles = np.concatenate([[distinct[0] - 1.0], (distinct[:-1] + distinct[1:]) / 2, [distinct[-1] + 1.0]])
    if len(middles) <= most:
        return middles
    return np.asarray(middles[np.unique(np.linspace(0, len(middles) - 1, most).round().astype(int))])
