"""How many images would decide a gate that is inconclusive, searched with the interval that the gate looks at.

If the shares that were observed (of groups, labels and answers) are the true ones, N fresh images decide the gate with
a certain chance, which grows with N. Named is about the least N for which it is 95 %. Fresh images are drawn from the
observed shares, always by the same random numbers, and each draw's interval is the gate's own: no end of it is taken to
shrink with the square root of N, to be normal, or to be that of the group which now is the worst. The root serves only
to guess the next N to be tried.

Groups below the least denominator take part as soon as N brings them above it, again with a high chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairprune_cli.audit.evidence import Evidence
from fairprune_cli.audit.gates import EQUAL
from fairprune_cli.audit.outcomes import Array, Outcomes

CHANCE = 0.95
MOST = 10_000_000
# What the search aims at, so that what the draws themselves err by does not lead below `CHANCE`, and the chance with
# which all groups are to be large enough.
_AIM, _LARGE_ENOUGH = 0.975, 0.985
# Draws per N that is tried: as many as cost about as much, whatever the groups and rates.
_DRAWS, _FEWEST_DRAWS, _COST = 1000, 200, 1_500_000
_CLOSE, _TRIES, _FIRST = 1.03, 16, 2.0

End = Callable[[Sequence[Outcomes]], Array]


@dataclass(frozen=True)
class Question:
    """What a gate asks: the figure's bound, from below where `floor`; `bare`: of the value without its interval.

    `all_groups`: it passes only with every group in it.
    """

    bound: float
    floor: bool
    bare: bool = False
    all_groups: bool = True


@dataclass(frozen=True)
class Deciding:
    """How many images would decide: in all, instead of `now`; None where no number would, or none below `MOST`.

    Attributes:
        passes: whether it would pass; None where the value lies on the bound, or there is none.
        value: what the shares come to, with all groups in it.
        without: groups that have nothing to count, and would have nothing with more images in the same shares.
    """

    images: int | None
    now: int
    passes: bool | None
    value: float | None = None
    without: tuple[str, ...] = ()


def images_that_decide(evidence: Evidence, question: Question) -> Deciding:
    """About the least number of images with which the gate is decided with a chance of `CHANCE`; more than there are.

    Args:
        evidence: of a figure that did not decide it.
    """
    population = _Population(evidence)
    now = population.images
    value = population.value
    if value is None or abs(value - question.bound) <= EQUAL:
        return Deciding(None, now, None, value)
    passes = (value > question.bound) == question.floor
    without = tuple(name for name, n in zip(evidence.groups, population.n.T, strict=True) if not n.all())
    if passes and without and question.all_groups:
        return Deciding(None, now, passes, value, without)
    scale = _scale(population, question, passes)
    if scale is None:
        return Deciding(None, now, passes, value)
    return Deciding(max(rounded_up(scale * now), now + 1), now, passes, value)


def rounded_up(images: float) -> int:
    """Up to two digits: an estimate should not look like a count."""
    unit = 10.0 ** max(math.floor(math.log10(max(images, 1))) - 1, 0)
    return int(math.ceil(images / unit - 1e-6) * unit)


def _scale(population: _Population, question: Question, passes: bool) -> float | None:
    """How many times the images decide; None where more than `MOST` are needed."""
    least = population.all_large if passes and question.all_groups else population.defined
    most = max(MOST / population.images, 1.0)
    if least > most:
        return None
    fails, decides = 1.0, math.inf
    scale = max(least, _FIRST)
    for _ in range(_TRIES):
        scale = min(max(scale, least), most)
        ratio = population.reach(scale, question, passes)
        if ratio <= 1:
            decides = scale
            if scale <= least or ratio * ratio * _CLOSE > 1:
                break
        elif scale >= most:
            return None
        else:
            fails = scale
        if decides <= fails * _CLOSE:
            break
        # Widths shrink about with the root; and where that leads out of what is known, between its ends.
        scale *= min(max(ratio, 0.1), 10.0) ** 2 * (1.0 if ratio <= 1 else _CLOSE**0.5)
        if not fails * _CLOSE**0.5 < scale < decides:
            scale = math.sqrt(fails * decides) if math.isfinite(decides) else fails * _CLOSE
    return decides if math.isfinite(decides) else None


class _Population:
    """Images in the shares that were observed, of which any number can be drawn."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.images = int(evidence.images.sum())
        self.gained, self.lost, self.n = (
            np.array([getattr(rate, part) for rate in evidence.rates]) for part in ("gained", "lost", "n")
        )
        self.seen: NDArray[np.bool_] = self.n > 0

    @cached_property
    def value(self) -> float | None:
        """The figure that the shares come to, in all groups that have anything to count."""
        if (self.seen.sum(1) < self.fewest).any():
            return None
        return float(self.evidence.value(self._judged(self.gained, self.lost, self.n, self.seen)))

    @property
    def fewest(self) -> int:
        """How many groups a rate needs."""
        return 2 if self.evidence.extreme == "gap" else 1

    @cached_property
    def large_from(self) -> Array:
        """From how many times the images on each group is surely large enough for each rate, [M, G]."""
        n, least = self.n, max(self.evidence.least, 1)
        tail = (1 - _LARGE_ENOUGH) / max(int((self.seen & (n < 2 * least)).sum()), 1)
        with np.errstate(divide="ignore"):
            low = np.where(self.seen, least / n, np.inf)  # so many on average
        high = np.where(self.seen, low * (8 + 40 / least), np.inf)
        for _ in range(30):
            middle = np.where(self.seen, np.sqrt(low * high), np.inf)
            enough = _chance_of(least, self.images * middle, n / self.images) >= 1 - tail
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return high

    @property
    def all_large(self) -> float:
        """From how many times the images on all groups are."""
        return float(self.large_from.max())

    @property
    def defined(self) -> float:
        """From how many times the images on there are enough groups for a figure."""
        return float(np.sort(self.large_from, axis=1)[:, self.fewest - 1].max())

    def reach(self, scale: float, question: Question, passes: bool) -> float:
        """How far the end that has to clear the bound reaches with so many times the images, in all but few draws.

        In terms of the distance from the value to the bound: below 1 it does not come to the bound.
        """
        assert self.value is not None
        end = self.evidence.low if passes == question.floor else self.evidence.high
        end = self.evidence.value if question.bare else end
        judged = self.large_from <= scale
        groups = self.n.shape[1]
        draws_of_all = _COST // (groups * (groups + 1))
        kept = self._farthest(scale, judged, end, max(draws_of_all // _FEWEST_DRAWS, 1))
        drawn = self._drawn(scale, kept, min(max(draws_of_all // len(kept), _FEWEST_DRAWS), _DRAWS))
        ends = end(self._judged(*drawn, judged[kept]))
        distance = question.bound - self.value
        ratio = float(np.quantile((ends - self.value) / distance, _AIM, method="higher"))
        # A figure on its bound passes and does not fail.
        return ratio if passes or abs(ratio - 1) * abs(distance) > EQUAL else math.nextafter(1, 2)

    def _farthest(self, scale: float, judged: NDArray[np.bool_], end: End, most: int) -> NDArray[np.intp]:
        """The rates whose ends are on average the highest, at most so many; the others have no part in the largest."""
        if len(self.n) <= most:
            return np.arange(len(self.n))
        # A group that is not judged is as one that is, which moves nothing that is looked at here.
        group = np.where(judged, np.arange(judged.shape[1]), judged.argmax(1)[:, None])
        gained, lost, n = (np.take_along_axis(part, group, 1) * scale for part in (self.gained, self.lost, self.n))
        ends = end([Outcomes(gained, lost, n, self.evidence.rates[0].paired)])
        return np.sort(np.argsort(ends)[-most:])

    def _drawn(self, scale: float, kept: NDArray[np.intp], draws: int) -> tuple[Array, Array, Array]:
        """Gained, lost and n of the rates that are kept, [T, M, G], with T draws.

        So many images fall into groups and labels by chance. The rates are drawn one by one: those that look at other
        labels are independent but for that, and what the others have in common is left out.
        """
        rng = np.random.default_rng(0)
        shape = (draws, len(kept), self.n.shape[1])
        before = np.maximum(self.n[kept], 1)
        total = round(self.images * scale)
        n = np.maximum(_coarse(rng.binomial(total, np.minimum(self.n[kept] / self.images, 1), shape), 1), 1)
        gained = rng.binomial(n.astype(np.int64), self.gained[kept] / before)
        lost = np.zeros(shape)
        if self.evidence.rates[0].paired:  # of the images that were not gained
            left = np.maximum(self.n[kept] - self.gained[kept], 1)
            drawn = rng.binomial(n.astype(np.int64) - gained, self.lost[kept] / left)
            lost = _near(drawn, n * (self.lost[kept] / before), n)
        return _near(gained, n * (self.gained[kept] / before), n), lost, n

    def _judged(self, gained: Array, lost: Array, n: Array, judged: NDArray[np.bool_]) -> list[Outcomes]:
        """The rates of the groups that are judged; counts: [..., M, G], judged: [M, G]."""
        paired = self.evidence.rates[0].paired
        return [
            Outcomes(gained[..., m, kept], lost[..., m, kept], n[..., m, kept], paired) for m, kept in enumerate(judged)
        ]


def _near(drawn: NDArray[np.int64], expected: Array, n: Array) -> Array:
    """Counts with their distance from what is expected made coarse."""
    return np.clip(expected + _coarse(drawn - expected, 4), 0, n)


def _coarse(drawn: NDArray[Any], steps: int) -> Array:
    """Draws [T, ...] in so many steps of how they scatter: few differ, and it is their limits that take time."""
    step = drawn.std(0) / steps
    return np.where(step > 1, np.rint(drawn / np.maximum(np.rint(step), 1)) * np.rint(step), drawn)


def _chance_of(least: int, images: Array, share: Array) -> Array:
    """That of so many images at least `least` are of a kind with this share."""
    from scipy.special import betainc

    others = np.maximum(images - least + 1, 1e-9)
    found: Array = np.where(images >= least, betainc(least, others, np.minimum(share, 1.0)), 0.0)
    return found
