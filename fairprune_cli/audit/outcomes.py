"""What happened to the images of independent groups, as counts from which rates, changes and losses follow alike.

A figure comes with its reach: how far the truth may lie below and above it. For a plain rate these are the exact
limits of Clopper and Pearson (1934). A change on the same images is a difference of two rates, and its reach is put
together from theirs (`sum_reach`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
# Counts whose limits are computed one by one.
_FEW = 500


def shared(alpha: float, comparisons: int) -> float:
    """What each of `comparisons` independent statements may err so that they err with `alpha` in all (Sidak 1967)."""
    return -math.expm1(math.log1p(-alpha) / comparisons)


def clopper_pearson(k: ArrayLike, n: ArrayLike, tail: float) -> tuple[Array, Array]:
    """Exact limits of a rate: each lies beyond the truth with a chance of at most `tail`, whatever the truth.

    Args:
        k: successes, any shape.
        n: trials, same shape; 0 gives NaN, because nothing was seen.

    Returns:
        Lower and upper limits in 0..1, float64, shape of `k`.
    """
    k, n = np.broadcast_arrays(np.asarray(k, float), np.asarray(n, float))
    if k.size <= _FEW:
        return _limits(k, n, tail)
    # Simulations meet the same counts again and again, and sorting is a hundred times as fast as the limits.
    pairs, where = np.unique((k + 1j * n).ravel(), return_inverse=True)
    low, high = _limits(pairs.real, pairs.imag, tail)
    return low[where].reshape(k.shape), high[where].reshape(k.shape)


def _limits(k: Array, n: Array, tail: float) -> tuple[Array, Array]:
    # A quarter of a second, which only those pay who audit.
    from scipy.special import betaincinv

    inner = np.maximum(k, 0.5), np.maximum(n - k, 0.5)  # ends are put in below; the function knows no 0
    low = np.where(k == 0, 0.0, betaincinv(inner[0], n - k + 1, tail))
    high = np.where(k == n, 1.0, betaincinv(k + 1, inner[1], 1 - tail))
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def sum_reach(one: Array, other: Array, correlation: Array | float = 0.0) -> Array:
    """The reach of a sum from those of its two parts.

    Squares add up as variances do, and so each side keeps what is its own (Zou and Donner 2008, doi 10.1002/sim.3095).
    """
    return np.sqrt(one * one + other * other + 2 * correlation * one * other)


@dataclass(frozen=True)
class Outcomes:
    """Figures of groups that share no image: (gained - lost) / n. A plain rate has gained = k and lost = 0.

    gained, lost, n: float64 [..., G]. `paired` says that both moves are possible.
    """

    gained: Array
    lost: Array
    n: Array
    paired: bool

    @property
    def values(self) -> Array:
        """The figures, [..., G]; NaN for a group without images."""
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

    def opposite(self) -> Outcomes:
        """Of plain rates, those of the other images."""
        return Outcomes(self.n - self.gained, self.lost, self.n, self.paired)

    def reach(self, tail: float) -> tuple[Array, Array]:
        """How far the truth may lie below and above the figures, [..., G] each, erring with `tail` on either side."""
        gained, below, above = self._limits(self.gained, tail)
        if not self.paired:
            return below, above
        lost, lost_below, lost_above = self._limits(self.lost, tail)
        # An image that was gained was not lost. Half an image in either place, for the estimate of one never seen.
        odds = [(k + 0.5) / (self.n + 1 - k) for k in (self.gained, self.lost)]
        opposed = np.minimum(np.sqrt(odds[0] * odds[1]), 1.0)
        value = gained - lost
        down, up = sum_reach(below, lost_above, opposed), sum_reach(above, lost_below, opposed)
        return np.minimum(down, 1 + value), np.minimum(up, 1 - value)

    def _limits(self, k: Array, tail: float) -> tuple[Array, Array, Array]:
        """A rate, and how far its exact limits lie below and above it."""
        low, high = clopper_pearson(k, self.n, tail)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = k / self.n
        return rate, np.maximum(rate - low, 0), np.maximum(high - rate, 0)

    def room(self) -> tuple[Array, Array]:
        """How many images lie between the figures and the least and the largest possible ones, [..., G] each."""
        moved = self.gained - self.lost
        return moved + (self.n if self.paired else 0), self.n - moved


def changes_of(tables: ArrayLike) -> Outcomes:
    """Changes of accuracy on the same images; tables: [..., G, 2, 2], dense right? x pruned right?."""
    cells = np.asarray(tables, float)
    return Outcomes(cells[..., 0, 1], cells[..., 1, 0], cells.sum((-2, -1)), True)


def losses_of(tables: ArrayLike) -> Outcomes:
    """The opposite of `changes_of`: accuracy dense minus pruned."""
    cells = np.asarray(tables, float)
    return Outcomes(cells[..., 1, 0], cells[..., 0, 1], cells.sum((-2, -1)), True)


def shares_of(k: ArrayLike, n: ArrayLike) -> Outcomes:
    """Plain rates k / n, [..., G]."""
    successes = np.asarray(k, float)
    return Outcomes(successes, np.zeros_like(successes), np.asarray(n, float), False)
