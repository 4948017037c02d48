"""Confidence intervals for rates of groups, changes on the same images, and the worst of either; from counts alone.

A group's own interval holds by itself. That of the worst group holds whichever group is the worst. Gaps between groups
are in simultaneous.py, their changes in gap_changes.py.

The two sides of a worst group's interval say different things. That the worst is at least as bad as the nearer end
must hold for all groups at once, because any of them could look bad by chance. That it is no worse than the farther
end must hold for the one that is truly the worst, and so no allowance is needed for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairprune_cli.audit.options import CONFIDENCE
from fairprune_cli.audit.outcomes import Array, Outcomes, changes_of, clopper_pearson, losses_of, shared, shares_of


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


def share_interval(k: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
    """Exact interval of a rate, for each entry on its own (Clopper and Pearson 1934).

    It holds at least as often as `confidence` says for every true rate, and errs to either side in at most half of
    the rest; Wilson's, which is narrower by about one image, does not near 0 and 1.

    Args:
        k: successes, any shape.
        n: trials, same shape; 0 gives NaN, because nothing was seen.
        confidence: between 0 and 1.

    Returns:
        Lower and upper bounds in 0..1, float64, shape of `k`.
    """
    return clopper_pearson(k, n, (1 - confidence) / 2)


def changes(tables: ArrayLike, confidence: float = CONFIDENCE) -> tuple[Array, Array, Array]:
    """Change of accuracy per group, pruned minus dense (so a loss is negative), each interval on its own.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].

    Returns:
        Change, lower and upper bound, each [G] in -1..1; NaN for a group without images.
    """
    figures = changes_of(tables)
    down, up = figures.reach((1 - confidence) / 2)
    return figures.values, figures.values - down, figures.values + up


def largest_loss(tables: ArrayLike, confidence: float = CONFIDENCE, least: int = 1, family: int = 1) -> Extreme | None:
    """The largest degradation R_g = accuracy dense - accuracy pruned of any group.

    Args:
        tables: images per group by [dense right?, pruned right?] (0 wrong, 1 right), [G, 2, 2].
        least: groups with fewer images are left out.
        family: as for `simultaneous.pairwise`.

    Returns:
        The worst group; negative when every group gained. None where no group has `least` images.
    """
    return _largest(losses_of(tables), confidence, least, family)


def lowest_rate(
    k: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE, least: int = 1, family: int = 1
) -> Extreme | None:
    """The lowest rate k / n of any group; arguments as for `simultaneous.pairwise`.

    None where no group is left.
    """
    trials = np.asarray(n, float)
    worst = highest_rate(trials - np.asarray(k, float), trials, confidence, least, family)
    if worst is None:
        return None
    right = np.asarray(k, float)[worst.group] / trials[worst.group]  # not 1 - (1 - rate), which is not quite the rate
    return Extreme(float(right), 1 - worst.high, 1 - worst.low, worst.group)


def highest_rate(
    k: ArrayLike, n: ArrayLike, confidence: float = CONFIDENCE, least: int = 1, family: int = 1
) -> Extreme | None:
    """The highest rate k / n of any group; as `lowest_rate`."""
    return _largest(shares_of(k, n), confidence, least, family)


def largest_bounds(figures: Outcomes, confidence: float, family: int = 1) -> tuple[Array, Array]:
    """Interval of the largest true figure, for many tables at once: figures [..., G] give bounds [...]."""
    return largest_low(figures, confidence, family), largest_high(figures, confidence)


def largest_low(figures: Outcomes, confidence: float, family: int = 1) -> Array:
    """The lower end alone, which holds for all groups and the whole family at once."""
    nearer = shared((1 - confidence) / 2 / family, figures.n.shape[-1])
    low: Array = (figures.values - figures.reach(nearer)[0]).max(-1)
    return low


def largest_high(figures: Outcomes, confidence: float) -> Array:
    """The upper end alone."""
    high: Array = (figures.values + figures.reach((1 - confidence) / 2)[1]).max(-1)
    return high


def _largest(figures: Outcomes, confidence: float, least: int, family: int) -> Extreme | None:
    kept = figures.kept(least)
    if not len(kept):
        return None
    figures = figures.only(kept)
    low, high = largest_bounds(figures, confidence, family)
    worst = int(figures.values.argmax())
    return Extreme(float(figures.values[worst]), float(low), float(high), int(kept[worst]))
