"""Confidence intervals for rates of groups, their gaps, and changes on the same images; from counts alone.

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
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

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


@dataclass(frozen=True)
class Extreme:
    """The worst group's figure, with an interval that holds whichever group is the worst.

    Attributes:
        value: observed figure of the worst group.
        low, high: interval for the worst of the true figures; it contains `value`.
        group: index of the worst group, in the order they were given.
    """

    value: float
    low: float
    high: float
    group: int


def _normal(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _two_sided(alpha: float, comparisons: int) -> float:
    """Normal quantile for `comparisons` independent two-sided statements that err with `alpha` in all."""
    return _normal(1 - -math.expm1(math.log1p(-alpha) / comparisons) / 2)


def wilson(k: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> tuple[Array, Array]:
    """Wilson's score interval of a rate, for each entry on its own (Wilson 1927).

    Args:
        k: successes, any shape.
        n: trials, same shape; 0 gives NaN, because nothing was seen.
        confidence: between 0 and 1.

    Returns:
        Lower and upper bounds in 0..1, float64, shape of `k`.
    """
    return _wilson(np.asarray(k, float), np.asarray(n, float), _two_sided(1 - confidence, 1))


# scipy.stats.binomtest takes one rate at a time: 64 groups cost it 100 ms, and this 0.1 ms.
def _wilson(k: Array, n: Array, z: float) -> tuple[Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (k + z * z / 2) / (n + z * z)
        half = z * np.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    # Rounding would leave 1e-17 instead of the exact ends.
    low = np.where(k == 0, 0.0, np.clip(centre - half, 0, 1))
    high = np.where(k == n, 1.0, np.clip(centre + half, 0, 1))
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


@dataclass(frozen=True)
class _Figures:
    """Figures of independent groups: (gained - lost) / n. A plain rate has gained = k and lost = 0.

    gained, lost, n: float64 [G]. `paired` says that both moves are possible, which changes the added counts.
    """

    gained: Array
    lost: Array
    n: Array
    paired: bool

    @property
    def values(self) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.gained - self.lost) / self.n

    def kept(self, least: int) -> NDArray[np.intp]:
        """Indices of the groups with at least `least` images, at least one.

        Their order depends on the counts only, so that renaming groups cannot change an interval.
        """
        order = np.lexsort((self.lost, self.gained, self.n))
        return order[self.n[order] >= max(least, 1)]

    def only(self, groups: NDArray[np.intp]) -> _Figures:
        return _Figures(self.gained[groups], self.lost[groups], self.n[groups], self.paired)

    def shrunk(self, added: float) -> tuple[Array, Array]:
        """Centres and variances, [G] each, after adding `added` to either outcome of each group."""
        total = self.n + 2 * added
        gained = (self.gained + added) / total
        if not self.paired:
            return gained, gained * (1 - gained) / total
        lost = (self.lost + added) / total
        return gained - lost, (gained + lost - (gained - lost) ** 2) / total


def _changes(tables: ArrayLike) -> _Figures:
    cells = np.asarray(tables, float)
    return _Figures(cells[:, 0, 1], cells[:, 1, 0], cells.sum((1, 2)), True)


def _degradations(tables: ArrayLike) -> _Figures:
    cells = np.asarray(tables, float)
    return _Figures(cells[:, 1, 0], cells[:, 0, 1], cells.sum((1, 2)), True)


def _rates(k: ArrayLike, n: ArrayLike) -> _Figures:
    successes = np.asarray(k, float)
    return _Figures(successes, np.zeros_like(successes), np.asarray(n, float), False)


@lru_cache(maxsize=64)
def _noise(groups: int, draws: int, seed: int, rate: int) -> NDArray[np.float32]:
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
        return _two_sided(alpha, 1)  # a single difference needs no simulation
    draws = max(_DRAWS, math.ceil(20 / alpha))
    largest = np.zeros(draws, np.float32)
    for rate, variance in enumerate(variances):
        spread = variance.astype(np.float32)
        noise = _noise(len(spread), draws, seed, rate) * np.sqrt(spread)[:, None]
        for i in range(len(spread) - 1):
            squared = (noise[i] - noise[i + 1 :]) ** 2 / (spread[i] + spread[i + 1 :])[:, None]
            np.maximum(largest, squared.max(0), out=largest)
    return float(np.sqrt(np.quantile(largest, 1 - alpha)))


def _gap(rates: Sequence[_Figures], confidence: float, seed: int, least: int, limit: float) -> Gap | None:
    kept = [figures.kept(least) for figures in rates]
    if not rates or min(map(len, kept)) < 2:
        return None
    alpha = _SPENT * (1 - confidence)
    comparisons = sum(len(groups) * (len(groups) - 1) // 2 for groups in kept)
    added = _two_sided(alpha, comparisons) ** 2 / 4
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
    return _gap([_rates(k, n) for k, n in rates], confidence, seed, least, 1.0)


def paired(tables: ArrayLike, confidence: float = 0.95, seed: int = 0, least: int = 1) -> Gap | None:
    """Gap between the degradations R_g = accuracy of the dense model - accuracy of the pruned one.

    Both models saw the same images, so that only the images on which they differ carry noise.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].

    Returns:
        The gap; its pair is (most degraded, least degraded). None where fewer than two groups are left.
    """
    return _gap([_degradations(tables)], confidence, seed, least, 2.0)


def changes(tables: ArrayLike, confidence: float = 0.95) -> tuple[Array, Array, Array]:
    """Change of accuracy per group, pruned minus dense (so a loss is negative), each interval on its own.

    Args:
        tables: as for `paired`, [G, 2, 2].

    Returns:
        Change, lower and upper bound, each [G] in -1..1; NaN for a group without images.
    """
    return _change_intervals(_changes(tables), _two_sided(1 - confidence, 1))


def _change_intervals(figures: _Figures, z: float) -> tuple[Array, Array, Array]:
    value = figures.values
    centre, variance = figures.shrunk(z * z / 4)
    half = z * np.sqrt(variance)
    # As for the gap: shrinking must not push the observed change out of its own interval.
    low = np.minimum(np.clip(centre - half, -1, 1), value)
    high = np.maximum(np.clip(centre + half, -1, 1), value)
    return value, np.where(figures.n > 0, low, np.nan), np.where(figures.n > 0, high, np.nan)


def largest_loss(tables: ArrayLike, confidence: float = 0.95, least: int = 1) -> Extreme | None:
    """The largest degradation R_g = accuracy dense - accuracy pruned of any group.

    Args:
        tables: as for `paired`, [G, 2, 2].
        least: groups with fewer images are left out.

    Returns:
        The worst group; negative when every group gained. None where no group has `least` images.
    """
    figures = _degradations(tables)
    kept = figures.kept(least)
    if not len(kept):
        return None
    value, low, high = _change_intervals(figures.only(kept), _two_sided(1 - confidence, len(kept)))
    worst = int(value.argmax())
    return Extreme(float(value[worst]), float(low.max()), float(high.max()), int(kept[worst]))


def lowest_rate(k: ArrayLike, n: ArrayLike, confidence: float = 0.95, least: int = 1) -> Extreme | None:
    """The lowest rate k / n of any group; arguments as for `pairwise`. None where no group is left."""
    figures = _rates(k, n)
    kept = figures.kept(least)
    if not len(kept):
        return None
    figures = figures.only(kept)
    low, high = _wilson(figures.gained, figures.n, _two_sided(1 - confidence, len(kept)))
    value = figures.values
    worst = int(value.argmin())
    return Extreme(float(value[worst]), float(low.min()), float(high.min()), int(kept[worst]))
