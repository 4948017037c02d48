"""The largest difference between groups, with an interval for the largest of the true ones; from counts alone.

A gap is the largest of many differences, so an interval made for one difference is wrong for it: the maximum of noise
is never zero. Its two sides need different care. Any pair could be the observed maximum by chance, so the lower end
must hold for all of them at once; the upper end must hold for the one pair that truly differs most:

    d_ij = c_i - c_j                          c_i with reach down_i and up_i, exact limits of the group's own figure
    low  = largest of d_ij - sqrt(down_i^2 + up_j^2), at least 0             reach at the normal quantile q
    high = largest of d_ij + sqrt(up_i^2 + down_j^2 + 2 r up_i down_j)       reach at the quantile z of one pair

    q    = quantile of the range of as many standard normal values as there are groups, over sqrt(2) (Tukey, Kramer;
           for groups of unequal size it errs less often than it says, Hayter 1984), at a Sidak level where a metric
           has several rates

Squares add as in Zou and Donner 2008. Two limits that lie close to an end of the scale, on the side of that end, are
counts of rare events whose errors do not average out as squares do; r corrects for that. `benchmarks/coverage.py`
measures how often the intervals hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from fairprune_cli.audit.options import CONFIDENCE
from fairprune_cli.audit.outcomes import Array, Outcomes, losses_of, shared, shares_of, sum_reach

# The share of the permitted error that the lower end spends. Limits of groups are exact, but what squares make of them
# is exact for normal errors only; the value leaves what the simulations found to be missing at the bound.
_SPENT = 0.9
# Of r, over the square root of the events in the commoner of the two limits: the least round value with which no
# enumeration of two groups errs at the upper end in more than a point beyond its half of the permitted error.
_RARE = 0.6


@dataclass(frozen=True)
class Gap:
    """Largest difference between two groups.

    Attributes:
        value: observed maximum minus minimum, at least 0.
        low, high: interval for the largest of the true differences; it contains `value`.
        pair: indices of the groups with the highest and the lowest figure, in the order they were given.
        rate: which of several rates the gap was found in; 0 where there is only one.
    """

    value: float
    low: float
    high: float
    pair: tuple[int, int]
    rate: int = 0


@lru_cache(maxsize=256)
def range_quantile(groups: int, alpha: float) -> float:
    """What the largest difference of `groups` standard normal values exceeds with the chance `alpha`, over sqrt(2).

    P(range <= w) = G times the integral of phi(x) (Phi(x) - Phi(x - w))^(G - 1), solved for w by halving.
    """
    from scipy.special import ndtr

    x, step = np.linspace(-8.5, 8.5, 1701, retstep=True)
    weight = groups * np.exp(-x * x / 2) / math.sqrt(2 * math.pi) * step
    low, high = 0.0, 16.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        beyond = 1 - (weight * (ndtr(x) - ndtr(x - middle)) ** (groups - 1)).sum()
        low, high = (middle, high) if beyond > alpha else (low, middle)
    return high / math.sqrt(2)


def gap_bounds(rates: Sequence[Outcomes], confidence: float, family: int = 1) -> tuple[Array, Array]:
    """Interval of the largest gap of several rates, for many tables at once: figures [..., G] give bounds [...]."""
    return gap_low(rates, confidence, family), gap_high(rates, confidence)


def gap_low(rates: Sequence[Outcomes], confidence: float, family: int = 1, of: int = 0) -> Array:
    """The lower end alone; arguments as for `gap_bounds`, and `of` how many rates these were chosen among, if any."""
    ends = []
    for figures in rates:
        q = range_quantile(figures.n.shape[-1], shared(_SPENT * (1 - confidence) / family, of or len(rates)))
        ends.append(_largest_of_pairs(figures, -_narrowing(figures, NormalDist().cdf(-q))))
    return _possible(ends, rates)


def gap_high(rates: Sequence[Outcomes], confidence: float) -> Array:
    """The upper end alone, which holds for one pair whatever the family."""
    return _possible([_largest_of_pairs(one, _widening(one, (1 - confidence) / 2)) for one in rates], rates)


def _largest_of_pairs(figures: Outcomes, moved: Array) -> Array:
    """The largest difference of two groups, each moved by so much; [..., G, G] gives [...]."""
    values = figures.values
    apart = ~np.eye(values.shape[-1], dtype=bool)
    found: Array = (values[..., :, None] - values[..., None, :] + moved)[..., apart].max(-1)
    return found


def _possible(ends: Sequence[Array], rates: Sequence[Outcomes]) -> Array:
    return np.clip(np.max(ends, 0), 0, 2.0 if rates[0].paired else 1.0)


def _narrowing(figures: Outcomes, tail: float) -> Array:
    """How far a true difference, group of the row minus that of the column, may lie below its figure, [..., G, G]."""
    down, up = figures.reach(tail)
    return sum_reach(down[..., :, None], up[..., None, :])


def _widening(figures: Outcomes, tail: float) -> Array:
    """How far it may lie above."""
    down, up = figures.reach(tail)
    to_least, to_largest = figures.room()
    events = np.maximum(np.maximum(to_largest[..., :, None], to_least[..., None, :]), 1)
    return sum_reach(up[..., :, None], down[..., None, :], _RARE / np.sqrt(events))


def _gap(rates: Sequence[Outcomes], confidence: float, least: int, family: int) -> Gap | None:
    kept = [figures.kept(least) for figures in rates]
    if not rates or min(map(len, kept)) < 2:
        return None
    judged = [figures.only(groups) for figures, groups in zip(rates, kept, strict=True)]
    low, high = gap_bounds(judged, confidence, family)
    best: tuple[float, int, tuple[int, int]] | None = None
    for rate, figures in enumerate(judged):
        values = figures.values
        # From both ends, so that the pair has two members even when all figures are equal.
        top, bottom = int(values.argmax()), len(values) - 1 - int(values[::-1].argmin())
        value = float(values[top] - values[bottom])
        if best is None or value > best[0]:
            best = value, rate, (int(kept[rate][top]), int(kept[rate][bottom]))
    assert best is not None
    # They hold it but for rounding.
    return Gap(best[0], min(float(low), best[0]), max(float(high), best[0]), best[2], best[1])


def pairwise(
    k: ArrayLike,
    n: ArrayLike,
    confidence: float = CONFIDENCE,
    least: int = 1,
    family: int = 1,
) -> Gap | None:
    """Gap between the rates k / n of groups.

    Args:
        k, n: successes and trials per group, [G].
        confidence: between 0 and 1.
        least: groups with fewer trials stay out of the gap.
        family: over how many such figures (an attribute's each) a bound may be broken by chance with 1 - confidence in
            all; it moves the end that is nearer to equality.

    Returns:
        The gap, or None where fewer than two groups have `least` trials.
    """
    return joint([(k, n)], confidence, least, family)


def joint(
    rates: Sequence[tuple[ArrayLike, ArrayLike]],
    confidence: float = CONFIDENCE,
    least: int = 1,
    family: int = 1,
) -> Gap | None:
    """Largest gap over several rates (k, n) of the same groups, with one interval for all of them.

    Arguments as for `pairwise`; `least` applies to every rate's own denominators, and the gap is None as soon
    as one rate has fewer than two groups left, because the largest gap might be the one not seen.
    """
    return _gap([shares_of(k, n) for k, n in rates], confidence, least, family)


def paired(tables: ArrayLike, confidence: float = CONFIDENCE, least: int = 1, family: int = 1) -> Gap | None:
    """Gap between the degradations R_g = accuracy of the dense model - accuracy of the pruned one.

    Both models saw the same images, so that only the images on which they differ carry noise.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].

    Returns:
        The gap; its pair is (most degraded, least degraded). None where fewer than two groups are left.
    """
    return _gap([losses_of(tables)], confidence, least, family)
