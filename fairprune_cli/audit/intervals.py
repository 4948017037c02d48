"""Confidence intervals for rates of groups, changes on the same images, and the worst of either; from counts alone.

A group's own interval holds by itself. That of the worst group holds whichever group is the worst. Gaps between groups
are in simultaneous.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairprune_cli.audit.options import CONFIDENCE
from fairprune_cli.audit.outcomes import Array, Outcomes, changes_of, losses_of, shares_of, two_sided


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


def wilson(k: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
    """Wilson's score interval of a rate, for each entry on its own (Wilson 1927).

    Args:
        k: successes, any shape.
        n: trials, same shape; 0 gives NaN, because nothing was seen.
        confidence: between 0 and 1.

    Returns:
        Lower and upper bounds in 0..1, float64, shape of `k`.
    """
    return _wilson(np.asarray(k, float), np.asarray(n, float), two_sided(1 - confidence, 1))


# scipy.stats.binomtest takes one rate at a time: 64 groups cost it 100 ms, and this 0.1 ms.
def _wilson(k: Array, n: Array, z: float) -> tuple[Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (k + z * z / 2) / (n + z * z)
        half = z * np.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    # Rounding would leave 1e-17 instead of the exact ends.
    low = np.where(k == 0, 0.0, np.clip(centre - half, 0, 1))
    high = np.where(k == n, 1.0, np.clip(centre + half, 0, 1))
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def changes(tables: ArrayLike, confidence: float = CONFIDENCE) -> tuple[Array, Array, Array]:
    """Change of accuracy per group, pruned minus dense (so a loss is negative), each interval on its own.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].

    Returns:
        Change, lower and upper bound, each [G] in -1..1; NaN for a group without images.
    """
    return _change_intervals(changes_of(tables), two_sided(1 - confidence, 1))


def _change_intervals(figures: Outcomes, z: float) -> tuple[Array, Array, Array]:
    value = figures.values
    centre, variance = figures.shrunk(z * z / 4)
    half = z * np.sqrt(variance)
    # As for the gap: shrinking must not push the observed change out of its own interval.
    low = np.minimum(np.clip(centre - half, -1, 1), value)
    high = np.maximum(np.clip(centre + half, -1, 1), value)
    return value, np.where(figures.n > 0, low, np.nan), np.where(figures.n > 0, high, np.nan)


def largest_loss(tables: ArrayLike, confidence: float = CONFIDENCE, least: int = 1) -> Extreme | None:
    """The largest degradation R_g = accuracy dense - accuracy pruned of any group.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].
        least: groups with fewer images are left out.

    Returns:
        The worst group; negative when every group gained. None where no group has `least` images.
    """
    figures = losses_of(tables)
    kept = figures.kept(least)
    if not len(kept):
        return None
    value, low, high = _change_intervals(figures.only(kept), two_sided(1 - confidence, len(kept)))
    worst = int(value.argmax())
    return Extreme(float(value[worst]), float(low.max()), float(high.max()), int(kept[worst]))


def lowest_rate(k: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE, least: int = 1) -> Extreme | None:
    """The lowest rate k / n of any group; arguments as for `simultaneous.pairwise`.

    None where no group is left.
    """
    figures = shares_of(k, n)
    kept = figures.kept(least)
    if not len(kept):
        return None
    figures = figures.only(kept)
    low, high = _wilson(figures.gained, figures.n, two_sided(1 - confidence, len(kept)))
    value = figures.values
    worst = int(value.argmin())
    return Extreme(float(value[worst]), float(low.min()), float(high.min()), int(kept[worst]))
