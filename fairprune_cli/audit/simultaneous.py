"""The largest difference between groups, with an interval for the largest of the true ones; from counts alone.

A gap is the largest of many differences, so an interval made for one difference is wrong for it: the maximum of noise
is never zero. Its two sides need different care. Any pair could be the observed maximum by chance, so the lower end
must hold for all of them at once; the upper end must hold for the one pair that truly differs most:

    d_ij = c_i - c_j                          c_i with reach down_i and up_i, exact limits of the group's own figure
    low  = largest of d_ij - sqrt(down_i^2 + up_j^2), at least 0             reach at the normal quantile q
    high = largest of d_ij + sqrt(up_i^2 + down_j^2 + 2 r up_i down_j)       reach at the quantile z of one pair

    t_ij = |z_i - z_j| / sqrt(v_i + v_j)      z_i normal with variance v_i
    q    = quantile of the max of t over all pairs (and over all rates of a metric), by simulation

Squares add as in Zou and Donner 2008 (the method of variance estimates recovery), q is the studentised maximum of
Agresti, Bini, Bertaccini and Ryu 2008. Two limits that lie close to an end of the scale, on the side of that end, are
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
from numpy.typing import ArrayLike, NDArray

from fairprune_cli.audit.options import CONFIDENCE, SEED
from fairprune_cli.audit.outcomes import Array, Outcomes, losses_of, shares_of, together, two_sided

# Of r, over the square root of the events in the commoner of the two limits: the least round value with which no
# enumeration of two groups errs at the upper end in more than a point beyond its half of the permitted error.
_RARE = 0.6
_DRAWS = 16384


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


@lru_cache(maxsize=64)
def noise(groups: int, draws: int, seed: int, rate: int) -> NDArray[np.float32]:
    """Standard normal draws of one rate, [groups, draws]; the same for the same arguments, and kept."""
    generator = np.random.default_rng([seed, groups, rate])
    noise = generator.standard_normal((groups, draws), dtype=np.float32)
    noise.setflags(write=False)
    return noise


def _critical(variances: Sequence[Array], alpha: float, seed: int) -> float:
    """Quantile of the largest studentised difference over all pairs of groups and all rates.

    Rates of one metric are drawn independently: where they are correlated, that can only widen the intervals
    (Royen 2014, Gaussian correlation inequality).
    """
    if len(variances) == 1 and len(variances[0]) == 2:
        return two_sided(alpha, 1)  # a single difference needs no simulation
    draws = max(_DRAWS, math.ceil(60 / alpha))
    alpha -= 2 * math.sqrt(alpha * (1 - alpha) / draws)  # what the simulation itself may err
    largest = np.zeros(draws, np.float32)
    for rate, variance in enumerate(variances):
        spread = variance.astype(np.float32)
        drawn = noise(len(spread), draws, seed, rate) * np.sqrt(spread)[:, None]
        for i in range(len(spread) - 1):
            squared = (drawn[i] - drawn[i + 1 :]) ** 2 / (spread[i] + spread[i + 1 :])[:, None]
            np.maximum(largest, squared.max(0), out=largest)
    return float(np.sqrt(np.quantile(largest, 1 - alpha)))


def _gap(rates: Sequence[Outcomes], confidence: float, seed: int, least: int, family: int, limit: float) -> Gap | None:
    kept = [figures.kept(least) for figures in rates]
    if not rates or min(map(len, kept)) < 2:
        return None
    alpha = 1 - confidence
    judged = [figures.only(groups) for figures, groups in zip(rates, kept, strict=True)]
    comparisons = sum(len(groups) * (len(groups) - 1) // 2 for groups in kept)
    added = two_sided(alpha / family, comparisons) ** 2 / 4
    q = _critical([figures.variances(added) for figures in judged], alpha / family, seed)
    low, high = 0.0, 0.0
    best: tuple[float, int, tuple[int, int]] | None = None
    for rate, figures in enumerate(judged):
        values = figures.values
        differences = values[:, None] - values[None]
        low = max(low, _off_diagonal(differences - _narrowing(figures, NormalDist().cdf(-q))))
        high = max(high, _off_diagonal(differences + _widening(figures, alpha / 2)))
        # From both ends, so that the pair has two members even when all figures are equal.
        top, bottom = int(values.argmax()), len(values) - 1 - int(values[::-1].argmin())
        value = float(values[top] - values[bottom])
        if best is None or value > best[0]:
            best = value, rate, (int(kept[rate][top]), int(kept[rate][bottom]))
    assert best is not None
    return Gap(best[0], min(low, best[0]), max(min(high, limit), best[0]), best[2], best[1])


def _narrowing(figures: Outcomes, tail: float) -> Array:
    """How far a true difference, group of the row minus that of the column, may lie below the observed one, [G, G]."""
    down, up = figures.reach(tail)
    return together(down[:, None], up[None])


def _widening(figures: Outcomes, tail: float) -> Array:
    """How far it may lie above."""
    down, up = figures.reach(tail)
    to_least, to_largest = figures.room()
    events = np.maximum(np.maximum(to_largest[:, None], to_least[None]), 1)
    return together(up[:, None], down[None], _RARE / np.sqrt(events))


def _off_diagonal(table: Array) -> float:
    return float(table[~np.eye(len(table), dtype=bool)].max())


def pairwise(
    k: ArrayLike,
    n: ArrayLike,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
    least: int = 1,
    family: int = 1,
) -> Gap | None:
    """Gap between the rates k / n of groups.

    Args:
        k, n: successes and trials per group, [G].
        confidence: between 0 and 1.
        seed: of the simulation; the same seed gives the same interval.
        least: groups with fewer trials stay out of the gap.
        family: over how many such figures (an attribute's each) a bound may be broken by chance with 1 - confidence in
            all; it moves the end that is nearer to equality.

    Returns:
        The gap, or None where fewer than two groups have `least` trials.
    """
    return joint([(k, n)], confidence, seed, least, family)


def joint(
    rates: Sequence[tuple[ArrayLike, ArrayLike]],
    confidence: float = CONFIDENCE,
    seed: int = SEED,
    least: int = 1,
    family: int = 1,
) -> Gap | None:
    """Largest gap over several rates (k, n) of the same groups, with one interval for all of them.

    Arguments as for `pairwise`; `least` applies to every rate's own denominators, and the gap is None as soon
    as one rate has fewer than two groups left, because the largest gap might be the one not seen.
    """
    return _gap([shares_of(k, n) for k, n in rates], confidence, seed, least, family, 1.0)


def paired(
    tables: ArrayLike, confidence: float = CONFIDENCE, seed: int = SEED, least: int = 1, family: int = 1
) -> Gap | None:
    """Gap between the degradations R_g = accuracy of the dense model - accuracy of the pruned one.

    Both models saw the same images, so that only the images on which they differ carry noise.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].

    Returns:
        The gap; its pair is (most degraded, least degraded). None where fewer than two groups are left.
    """
    return _gap([losses_of(tables)], confidence, seed, least, family, 2.0)
