"""Exact tests of two models on the same images; from counts alone.

Both models see the same images, so their answers are paired: an ordinary chi-square of the two distributions of
predictions, which takes them for two independent samples, would count the images on which the models agree as noise
and find next to nothing. The tests here look at the images on which the models differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprune_cli.audit.outcomes import Array

# Outcomes that are enumerated; beyond, chi-square's own distribution serves.
ENUMERATED = 1 << 14
# Two values of the statistic that differ by less than this, relative to it, are one value told by rounding.
_EQUAL = 1e-9


@dataclass(frozen=True)
class Shift:
    """A test of marginal homogeneity: chi-square `statistic` of `df` degrees of freedom, and its p, exact or not."""

    statistic: float
    df: int
    p: float
    exact: bool


def mcnemar(lost: ArrayLike, gained: ArrayLike) -> Array:
    """McNemar's exact p, two-sided: lost against gained images, which chance would split evenly (McNemar 1947).

    p = min(1, 2 P(X <= min(lost, gained))) with X binomial of lost + gained trials and probability 1/2; 1 where no
    image changed sides.

    Args:
        lost, gained: images that were right in one model only, any shape.
    """
    from scipy.special import bdtr  # two tenths of a second, which only those pay who audit against a dense model

    few, many = np.minimum(lost, gained), np.maximum(lost, gained)
    p: Array = np.minimum(1.0, 2 * bdtr(few, few + many, 0.5))
    return p


def holm(p: Sequence[float]) -> list[float]:
    """p adjusted for how many there are, so that all of them err together with at most the level (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1; none is below a smaller one's.
    """
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = least
    return adjusted


def marginal_homogeneity(table: ArrayLike) -> Shift:
    """Whether two models predict the classes equally often on the same images (Stuart 1955, Maxwell 1970).

    With n_ij the images that the first model gives class i and the second class j:

        d_i  = n_i. - n_.i        V_ii = n_i. + n_.i - 2 n_ii        V_ij = -(n_ij + n_ji)
        statistic = d' V^- d      df = rank of V

    V is the Laplacian of a graph that joins two classes by the images that went from one to the other: classes that
    exchanged nothing drop out, and of each connected part one class is redundant, which gives the rank. For two classes
    this is McNemar's test. While there are few enough outcomes p is exact: given which images changed between i and j,
    the direction of each is a coin's toss under the null hypothesis, and V stays as it is. With more the chi-square
    distribution serves, whose tail is the heavier one.

    Args:
        table: counts of whole numbers, [K, K].
    """
    from scipy.sparse.csgraph import connected_components
    from scipy.special import chdtrc

    counts = np.asarray(table, np.int64)
    between = np.triu(counts + counts.T, 1)
    first, second = between.nonzero()
    if not len(first):
        return Shift(0.0, 0, 1.0, True)
    moved = counts.sum(1) - counts.sum(0)
    active, ends = np.unique(np.concatenate([first, second]), return_inverse=True)
    pairs = ends.reshape(2, -1)
    times = between[first, second]
    laplacian = np.zeros((len(active), len(active)))
    laplacian[pairs[0], pairs[1]] = laplacian[pairs[1], pairs[0]] = -times
    np.fill_diagonal(laplacian, -laplacian.sum(1))
    parts, part_of = connected_components(laplacian, directed=False)
    kept = np.setdiff1d(np.arange(len(active)), np.unique(part_of, return_index=True)[1])
    within = laplacian[np.ix_(kept, kept)]
    d = moved[active][kept].astype(float)
    statistic, df = float(d @ np.linalg.solve(within, d)), len(active) - parts
    if len(times) == 1:  # two classes alone: the binomial distribution gives p for any number of images
        there = counts[first[0], second[0]]
        return Shift(statistic, df, float(mcnemar(there, times[0] - there)), True)
    if math.prod((times + 1).tolist()) > ENUMERATED:
        return Shift(statistic, df, float(chdtrc(df, statistic)), False)
    return Shift(statistic, df, _exact(pairs, times, kept, within, statistic, len(active)), True)


def _exact(
    pairs: NDArray[np.intp], times: NDArray[np.int64], kept: NDArray[np.intp], within: Array, statistic: float,
    classes: int,
) -> float:  # fmt: skip
    """The probability of a statistic as large, over all ways in which the changed images could have gone."""
    from scipy.special import gammaln

    moved, probability = np.zeros((1, classes)), np.ones(1)
    for i, j, m in zip(*pairs, times, strict=True):
        forward = np.arange(m + 1)
        tosses = np.exp(gammaln(m + 1) - gammaln(forward + 1) - gammaln(m - forward + 1) - m * math.log(2))
        step = np.zeros((m + 1, classes))
        step[:, i], step[:, j] = 2 * forward - m, m - 2 * forward
        moved = (moved[:, None] + step).reshape(-1, classes)
        probability = (probability[:, None] * tosses).reshape(-1)
    d = moved[:, kept]
    values = (d * np.linalg.solve(within, d.T).T).sum(1)
    return float(min(1.0, probability[values >= statistic * (1 - _EQUAL)].sum()))
