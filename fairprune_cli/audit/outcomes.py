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


def clopper_pearson(k: ArrayLike, n: ArrayLike, tail: float) -> tuple[Array, Array]:
    """Exact limits of a rate: each lies beyond the truth with a chance of at most `tail`, whatever the truth.

    Args:
        k: successes, any shape.
        n: trials, same shape; 0 gives NaN, because nothing was seen.

    Returns:
        Lower and upper limits in 0..1, float64, shape of `k` (Clopper and Pearson 1934).
    """
    # A quarter of a second, which only those pay who audit.
    from scipy.special import betaincinv

    k, n = np.asarray(k, float), np.asarray(n, float)
    inner = np.maximum(k, 0.5), np.maximum(n - k, 0.5)  # ends are put in below; the function knows no 0
    low = np.where(k == 0, 0.0, betaincinv(inner[0], n - k + 1, tail))
    high = np.where(k == n, 1.0, betaincinv(k + 1, inner[1], 1 - tail))
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


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
