"""What happened to the images of independent groups, as counts from which rates, changes and losses follow alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def two_sided(alpha: float, comparisons: int) -> float:
    """Normal quantile for `comparisons` independent two-sided statements that err with `alpha` in all."""
    return NormalDist().inv_cdf(1 - -math.expm1(math.log1p(-alpha) / comparisons) / 2)


@dataclass(frozen=True)
class Outcomes:
    """Figures of groups that share no image: (gained - lost) / n. A plain rate has gained = k and lost = 0.

    gained, lost, n: float64 [G]. `paired` says that both moves are possible, which changes the added counts.
    """

    gained: Array
    lost: Array
    n: Array
    paired: bool

    @property
    def values(self) -> Array:
        """The figures, [G]; NaN for a group without images."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.gained - self.lost) / self.n

    def kept(self, least: int) -> NDArray[np.intp]:
        """Indices of the groups with at least `least` images, at least one.

        Their order depends on the counts only, so that renaming groups cannot change an interval.
        """
        order = np.lexsort((self.lost, self.gained, self.n))
        return order[self.n[order] >= max(least, 1)]

    def only(self, groups: NDArray[np.intp]) -> Outcomes:
        """The groups of these indices alone."""
        return Outcomes(self.gained[groups], self.lost[groups], self.n[groups], self.paired)

    def shrunk(self, added: float) -> tuple[Array, Array]:
        """Centres and variances, [G] each, after adding `added` to either outcome of each group."""
        total = self.n + 2 * added
        gained = (self.gained + added) / total
        if not self.paired:
            return gained, gained * (1 - gained) / total
        lost = (self.lost + added) / total
        return gained - lost, (gained + lost - (gained - lost) ** 2) / total


def changes_of(tables: ArrayLike) -> Outcomes:
    """Changes of accuracy on the same images; tables: [G, 2, 2], dense right? x pruned right?."""
    cells = np.asarray(tables, float)
    return Outcomes(cells[:, 0, 1], cells[:, 1, 0], cells.sum((1, 2)), True)


def losses_of(tables: ArrayLike) -> Outcomes:
    """The opposite of `changes_of`: accuracy dense minus pruned."""
    cells = np.asarray(tables, float)
    return Outcomes(cells[:, 1, 0], cells[:, 0, 1], cells.sum((1, 2)), True)


def shares_of(k: ArrayLike, n: ArrayLike) -> Outcomes:
    """Plain rates k / n, [G]."""
    successes = np.asarray(k, float)
    return Outcomes(successes, np.zeros_like(successes), np.asarray(n, float), False)
