"""What every fairness notion is made of: rates of groups, exact from counts. Training, audit and gates all start here.

A notion looks at M rates per group. Rate m of group g is the share of the group's images with a label in
population m whose (label, prediction) pair belongs to event m:

    r[m, g] = sum over y, p of event[m, y, p] n[g, y, p] / sum over y, p of population[m, y] n[g, y, p]

with n the counts per group x label x prediction. The exact gap of a notion is the largest difference between
two groups in any of its rates. fairness/term.py relaxes the rates, audit/rates.py puts them into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Notion:
    """One notion of fairness for K classes.

    Attributes:
        name: as in `--notion`.
        event: bool [M, K, K], label x prediction.
        population: bool [M, K], labels that count towards rate m.
        direction: int [M]; +1 where a rate below the others is the wrong (recall), -1 where one above them is
            (false alarms), 0 where both are (selection rates). The exact gap is the same for all three; the
            direction decides which group's rate is moved to close it.
        against: "best" holds a group against the best group, "whole" against all images together.
        relative: rates are held against the dense model's own (performance degradation).
        rate_order: the rates in the order in which an audit takes them; it decides which of two equal gaps is named.
            As they stand where empty.

    Raises:
        ValueError: arrays that do not fit together or are not bool, or a rate without a population.
    """

    name: str
    event: np.ndarray
    population: np.ndarray
    direction: np.ndarray
    against: str = "best"
    relative: bool = False
    rate_order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        rates, classes = len(self.event), self.event.shape[-1]
        shapes = (self.event.shape, self.population.shape, np.shape(self.direction))
        if shapes != ((rates, classes, classes), (rates, classes), (rates,)) or not rates:
            raise ValueError(f"the notion {self.name!r} has events, populations and directions of shapes {shapes}")
        if self.event.dtype != bool or self.population.dtype != bool:
            raise ValueError(f"the notion {self.name!r} has events or populations that are not of type bool")
        if not self.population.any(axis=1).all():
            raise ValueError(f"the notion {self.name!r} has a rate that no label belongs to")
        if sorted(self.rate_order) not in ([], list(range(rates))):
            raise ValueError(f"the notion {self.name!r} orders its {rates} rates as {self.rate_order}")

    @property
    def compares(self) -> str:
        """What a gap of this notion is a difference of: "accuracies", "losses" of accuracy, or other "rates"."""
        counted = self.event & self.population[:, :, None]
        if not (self.population.all() and (counted == np.eye(self.event.shape[1], dtype=bool)).all()):
            return "rates"
        return "losses" if self.relative else "accuracies"

    @cached_property
    def right_answers(self) -> np.ndarray:
        """Which rates are shares of right answers that may be too low, bool [M]: more images of a group raise these."""
        wrong = ~np.eye(self.event.shape[1], dtype=bool)
        right: np.ndarray = (self.direction > 0) & ~self.event[:, wrong].any(axis=1)
        return right

    @cached_property
    def false_alarms(self) -> np.ndarray:
        """Which rates may be too high alone, bool [M]."""
        high: np.ndarray = self.direction < 0
        return high

    def rates(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Exact rates.

        Args:
            counts: [G, K, K] group x label x prediction; need not be whole numbers (running averages).

        Returns:
            (rate, n), both [M, G]; rate is NaN where n, the population, is zero.
        """
        hits, size = self.hits(counts), self.sizes(counts.sum(axis=2))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(size > 0, hits / size, np.nan), size

    def hits(self, table: np.ndarray) -> np.ndarray:
        """What lies in the event of each rate, [M, G]; table: [G, K, K], group x label x prediction."""
        order, first, present = self._cells_of_rates
        result = np.zeros((len(self.event), len(table)))
        result[present] = np.add.reduceat(table.reshape(len(table), -1)[:, order], first, axis=1).T
        return result

    def sizes(self, images: np.ndarray) -> np.ndarray:
        """The population of each rate, [M, G]; images: [G, K], group x label."""
        size: np.ndarray = self.members @ images.T
        return size

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The way back from `hits`: [S, G, K, K], each cell the sum of the values [S, M, G] of the rates it is in."""
        order, first, present = self._rates_of_cells
        classes = self.event.shape[1]
        result = np.zeros((len(values), values.shape[2], classes * classes))
        result[:, :, present] = np.add.reduceat(values[:, order], first, axis=1).transpose(0, 2, 1)
        return result.reshape(*result.shape[:2], classes, classes)

    @cached_property
    def members(self) -> np.ndarray:
        """The populations as numbers, float [M, K]."""
        return self.population.astype(float)

    @cached_property
    def _cells_of_rates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cells, label x prediction, that rates watch in their populations, rate by rate; see `_runs`."""
        rates, cells = np.nonzero((self.event & self.population[:, :, None]).reshape(len(self.event), -1))
        return cells, *_runs(rates)

    @cached_property
    def _rates_of_cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same cell by cell: the rates that watch each."""
        rates, cells = np.nonzero((self.event & self.population[:, :, None]).reshape(len(self.event), -1))
        order = np.argsort(cells, kind="stable")
        return rates[order], *_runs(cells[order])

    def exact(self, counts: np.ndarray, dense: np.ndarray | None = None, left_out: np.ndarray | None = None) -> float:
        """Exact gap in 0..1: the largest difference between two groups in any rate.

        Args:
            counts: [G, K, K] of the model at hand.
            dense: [M, G] rates of the dense model, needed by notions that are relative to it.
            left_out: bool [M, G], rates that do not count.

        Returns:
            NaN where fewer than two groups have a population.
        """
        rate, _ = self.rates(counts)
        if self.relative:
            rate = rate - self._needed(dense)
        return largest_gap(rate, ~np.isnan(rate) if left_out is None else ~(np.isnan(rate) | left_out))

    def usable_rates(
        self, counts: np.ndarray, dense: np.ndarray | None = None, least: float = 1.0, images: np.ndarray | None = None
    ) -> np.ndarray:
        """Exact rates (minus the dense model's, for relative notions), [M, G]; NaN below a population of `least`.

        Args:
            images: [M, G], the populations in images, where counts are of what images stand for.
        """
        rate, size = self.rates(counts)
        if self.relative:
            rate = rate - self._needed(dense)
        return np.where((size if images is None else images) >= least, rate, np.nan)

    def whole_rates(self, counts: np.ndarray, dense: np.ndarray | None = None) -> np.ndarray | None:
        """What groups are held against where that is all images together, [M]; None where it is the best group.

        Args:
            counts: [G, K, K].
            dense: [M] rates of the dense model over all groups, needed by notions that are relative to it.
        """
        if self.against != "whole":
            return None
        whole: np.ndarray = self.rates(counts.sum(axis=0, keepdims=True))[0][:, 0]
        return whole - self._needed(dense) if self.relative else whole

    def violation(
        self, rate: np.ndarray, whole: np.ndarray | None, tolerance: float, errors: np.ndarray | None = None,
        leading: bool = False,
    ) -> np.ndarray:  # fmt: skip
        """How far each rate of each group is beyond the tolerance; negative inside it.

        Args:
            rate: [M, G], as `usable_rates` gives them; groups without one neither give nor get a violation.
            whole: as `whole_rates` gives them.
            tolerance: allowed difference, 0..1.
            errors: [M, G], noise of each rate. The allowed difference of two groups is then theirs together (the root
                of the sum of squares) where that is above the tolerance; of a group to the whole, its own.
            leading: with the allowed difference added instead: negative where a group is ahead of all others by more.

        Returns:
            [2, M, G]: first row "too low" (reference - rate - tolerance), second "too high"
            (rate - reference - tolerance). The reference is the best of the other groups, so that a group in the lead
            is inside its constraint by its lead and the tolerance. NaN where undefined or where the direction rules it
            out.
        """
        slack = -1.0 if leading else 1.0
        result = np.full((2, *rate.shape), np.nan)
        for side, sign, asked in ((0, 1.0, self.direction >= 0), (1, -1.0, self.direction <= 0)):
            if asked.any():
                own = sign * rate[asked]
                noise = None if errors is None else errors[asked]
                if whole is not None:
                    allowed = tolerance if noise is None else np.maximum(tolerance, noise)
                    result[side, asked] = sign * whole[asked, None] - own - slack * allowed
                elif noise is None:
                    result[side, asked] = best_of_others(own) - own - slack * tolerance
                else:
                    result[side, asked] = _worst_pair(own, slack * allowed_differences(tolerance, noise))
        return result

    def least_tolerance(self, rate: np.ndarray, whole: np.ndarray | None) -> float:
        """The smallest tolerance at which no group's rate is a violation, 0..1; NaN where none could be one.

        Args:
            rate: as `usable_rates` gives them; whole: as `whole_rates` does.
        """
        beyond = self.violation(rate, whole, 0.0)
        there = ~np.isnan(beyond)
        return float(max(beyond[there].max(), 0.0)) if there.any() else float("nan")

    def _needed(self, dense: np.ndarray | None) -> np.ndarray:
        if dense is None:
            raise ValueError(f"the notion {self.name!r} needs the dense model's rates")
        return dense


def largest_gap(rate: np.ndarray, there: np.ndarray) -> float:
    """Largest difference between two groups in any rate, both [M, G]; NaN where no rate has two groups `there`."""
    enough = np.count_nonzero(there, axis=1) >= 2
    if not enough.any():
        return float("nan")
    high = np.maximum.reduce(rate, axis=1, where=there, initial=-np.inf)
    low = np.minimum.reduce(rate, axis=1, where=there, initial=np.inf)
    return float((high - low)[enough].max())


def _runs(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each value of an ordered array begins, and the values."""
    values, first = np.unique(ordered, return_index=True)
    return first, values


def best_of_others(rate: np.ndarray) -> np.ndarray:
    """For each entry the largest other entry of its row; rate: [M, G] with NaN for what is left out.

    Returns:
        [M, G]; NaN where no other entry is there, and where the entry itself is NaN.
    """
    if rate.shape[1] < 2:
        return np.full(rate.shape, np.nan)
    filled = np.where(np.isnan(rate), -np.inf, rate)
    # The largest is every other entry's answer, the second largest its own.
    top = np.partition(filled, -2, axis=1)[:, -2:]
    at = filled.argmax(axis=1)[:, None]
    others = np.where(np.arange(rate.shape[1]) == at, top[:, :1], top[:, 1:])
    return np.where(np.isnan(rate) | np.isinf(others), np.nan, others)


def allowed_differences(tolerance: float, errors: np.ndarray | None) -> float | np.ndarray:
    """The larger of the tolerance and the noise of a difference, for each pair of groups, [M, G, G]; errors: [M, G]."""
    return tolerance if errors is None else np.maximum(tolerance, np.hypot(errors[:, :, None], errors[:, None, :]))


def _worst_pair(rate: np.ndarray, allowed: float | np.ndarray) -> np.ndarray:
    """By how much the rate of each group is below that of another one more than allowed, at worst, [M, G].

    Args:
        rate: [M, G] with NaN for what is left out; allowed: [M, G, G].
    """
    beyond = rate[:, None, :] - rate[:, :, None] - allowed
    beyond[:, np.eye(rate.shape[1], dtype=bool)] = np.nan
    worst: np.ndarray = np.fmax.reduce(beyond, axis=2)  # NaN only where all others are
    return worst


def correct_only(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Event, population and direction of plain accuracy: right answers among all images, low is wrong."""
    return np.eye(classes, dtype=bool)[None], np.ones((1, classes), dtype=bool), np.ones(1, dtype=int)
