"""The largest difference between groups, with an interval that holds for all pairs at once; from counts alone.

A gap is the largest of many differences, so an interval made for one difference is wrong for it: the
maximum of noise is never zero. Here all differences get intervals that hold together, and the gap's follows:

    t_ij = |z_i - z_j| / sqrt(v_i + v_j)     z_i normal with variance v_i     d_ij = c_i - c_j
    q    = quantile of the max of t over all pairs (and over all rates of a metric), by simulation
    low  = largest of |d_ij| - q sqrt(v_i + v_j), at least 0     high = largest of |d_ij| + q sqrt(v_i + v_j)

c_i and v_i come from counts with q^2/4 successes and failures added to each group, which keeps the intervals
honest for small groups and rates near 0 or 1 (Agresti and Caffo 2000; for paired data Bonett and Price 2012;
the studentised maximum as in Agresti, Bini, Bertaccini and Ryu 2008). `benchmarks/coverage.py` measures how
often they hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairprune_cli.audit.outcomes import Array, Outcomes, losses_of, shares_of, two_sided

# The share of the permitted error that is spent: counts are discrete and their spread is itself estimated, so
# intervals at the nominal level fail up to one point too often for small and for very uneven groups. The value is
# the largest round one at which no enumeration of two groups of 30 images or more exceeds the permitted error.
_SPENT = 0.75
_DRAWS = 16384


@dataclass(frozen=True)
class Gap:
    """Largest difference between two groups.

    Attributes:
        value: observed maximum minus minimum, at least 0.
        low, high: interval that holds simultaneously for every pair of groups; it contains `value`.
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
    draws = max(_DRAWS, math.ceil(20 / alpha))
    largest = np.zeros(draws, np.float32)
    for rate, variance in enumerate(variances):
        spread = variance.astype(np.float32)
        drawn = noise(len(spread), draws, seed, rate) * np.sqrt(spread)[:, None]
        for i in range(len(spread) - 1):
            squared = (drawn[i] - drawn[i + 1 :]) ** 2 / (spread[i] + spread[i + 1 :])[:, None]
            np.maximum(largest, squared.max(0), out=largest)
    return float(np.sqrt(np.quantile(largest, 1 - alpha)))


def _gap(rates: Sequence[Outcomes], confidence: float, seed: int, least: int, limit: float) -> Gap | None:
    kept = [figures.kept(least) for figures in rates]
    if not rates or min(map(len, kept)) < 2:
        return None
    alpha = _SPENT * (1 - confidence)
    comparisons = sum(len(groups) * (len(groups) - 1) // 2 for groups in kept)
    added = two_sided(alpha, comparisons) ** 2 / 4
    judged = [figures.only(groups) for figures, groups in zip(rates, kept, strict=True)]
    shrunk = [figures.shrunk(added) for figures in judged]
    q = _critical([variance for _, variance in shrunk], alpha, seed)
    low, high = 0.0, 0.0
    best: tuple[float, int, tuple[int, int]] | None = None
    for rate, (centre, variance) in enumerate(shrunk):
        difference = np.abs(centre[:, None] - centre[None])
        half = q * np.sqrt(variance[:, None] + variance[None])
        np.fill_diagonal(half, 0.0)
        low = max(low, float((difference - half).max()))
        high = max(high, float((difference + half).max()))
        values = judged[rate].values
        # From both ends, so that the pair has two members even when all figures are equal.
        top, bottom = int(values.argmax()), len(values) - 1 - int(values[::-1].argmin())
        value = float(values[top] - values[bottom])
        if best is None or value > best[0]:
            best = value, rate, (int(kept[rate][top]), int(kept[rate][bottom]))
    assert best is not None
    # The centres are shrunk, so the observed gap may just miss its interval; the interval gives way.
    return Gap(best[0], min(low, best[0]), max(min(high, limit), best[0]), best[2], best[1])


def pairwise(k: ArrayLike, n: ArrayLike, confidence: float = 0.95, seed: int = 0, least: int = 1) -> Gap | None:
    """Gap between the rates k / n of groups.

    Args:
        k, n: successes and trials per group, [G].
        confidence: between 0 and 1, of all pairs together.
        seed: of the simulation; the same seed gives the same interval.
        least: groups with fewer trials stay out of the gap.

    Returns:
        The gap, or None where fewer than two groups have `least` trials.
    """
    return joint([(k, n)], confidence, seed, least)


def joint(
    rates: Sequence[tuple[ArrayLike, ArrayLike]], confidence: float = 0.95, seed: int = 0, least: int = 1
) -> Gap | None:
    """Largest gap over several rates (k, n) of the same groups, with one interval for all of them.

    Arguments as for `pairwise`; `least` applies to every rate's own denominators, and the gap is None as soon
    as one rate has fewer than two groups left, because the largest gap might be the one not seen.
    """
    return _gap([shares_of(k, n) for k, n in rates], confidence, seed, least, 1.0)


def paired(tables: ArrayLike, confidence: float = 0.95, seed: int = 0, least: int = 1) -> Gap | None:
    """Gap between the degradations R_g = accuracy of the dense model - accuracy of the pruned one.

    Both models saw the same images, so that only the images on which they differ carry noise.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].

    Returns:
        The gap; its pair is (most degraded, least degraded). None where fewer than two groups are left.
    """
    return _gap([losses_of(tables)], confidence, seed, least, 2.0)
