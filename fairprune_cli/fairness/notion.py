"""What every fairness notion is made of: rates of groups, exact from counts. Training, audit and gates all start here.

A notion looks at M rates per group. Rate m of group g is the share of the group's images with a label in
population m whose (label, prediction) pair belongs to event m:

    r[m, g] = sum over y, p of event[m, y, p] n[g, y, p] / sum over y, p of population[m, y] n[g, y, p]

with n the counts per group x label x prediction. The exact gap of a notion is the largest difference between
two groups in any of its rates. fairness/surrogate.py relaxes the rates, audit/rates.py puts them into words.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        rate_order: the rates in the order in which an audit takes them; it decides the draws behind a rate's interval,
            and which of two equal gaps is named. As they stand where empty.

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

    def rates(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Exact rates.

        Args:
            counts: [G, K, K] group x label x prediction; need not be whole numbers (running averages).

        Returns:
            (rate, n), both [M, G]; rate is NaN where n, the population, is zero.
        """
        hits = np.einsum("myp,gyp->mg", self.event & self.population[:, :, None], counts)
        size = np.einsum("my,gyp->mg", self.population, counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(size > 0, hits / size, np.nan), size

    def exact(self, counts: np.ndarray, dense: np.ndarray | None = None) -> float:
        """Exact gap in 0..1: the largest difference between two groups in any rate.

        Args:
            counts: [G, K, K] of the model at hand.
            dense: [M, G] rates of the dense model, needed by notions that are relative to it.

        Returns:
            NaN where fewer than two groups have a population.
        """
        rate, _ = self.rates(counts)
        if self.relative:
            rate = rate - self._needed(dense)
        gaps = [float(np.ptp(row[~np.isnan(row)])) for row in rate if np.count_nonzero(~np.isnan(row)) >= 2]
        return max(gaps) if gaps else float("nan")

    def usable_rates(self, counts: np.ndarray, dense: np.ndarray | None = None, least: float = 1.0) -> np.ndarray:
        """Exact rates (minus the dense model's, for relative notions), [M, G]; NaN below a population of `least`."""
        rate, size = self.rates(counts)
        if self.relative:
            rate = rate - self._needed(dense)
        return np.where(size >= least, rate, np.nan)

    def violation(
        self,
        counts: np.ndarray,
        tolerance: float,
        dense: np.ndarray | None = None,
        least: float = 1.0,
        dense_whole: np.ndarray | None = None,
    ) -> np.ndarray:
        """How far each rate of each group is beyond the tolerance; negative inside it.

        Args:
            counts: [G, K, K].
            tolerance: allowed difference, 0..1.
            dense: as in `exact`.
            least: groups with a smaller population in rate m neither give nor get a violation there.
            dense_whole: [M] rates of the dense model over all groups, for relative notions held against the whole.

        Returns:
            [2, M, G]: first row "too low" (reference - rate - tolerance), second "too high"
            (rate - reference - tolerance). The reference is the best of the other groups, so that a group in the lead
            is inside its constraint by its lead and the tolerance. NaN where undefined or where the direction rules it
            out.
        """
        rate = self.usable_rates(counts, dense, least)
        if self.against == "whole":
            whole, _ = self.rates(counts.sum(axis=0, keepdims=True))
            if self.relative:
                whole = whole - self._needed(dense_whole)[:, None]
            high = low = np.broadcast_to(whole, rate.shape)
        else:
            high, low = best_of_others(rate), -best_of_others(-rate)
        direction = self.direction[:, None]
        too_low = np.where(direction >= 0, high - rate - tolerance, np.nan)
        too_high = np.where(direction <= 0, rate - low - tolerance, np.nan)
        return np.stack([too_low, too_high])

    def _needed(self, dense: np.ndarray | None) -> np.ndarray:
        if dense is None:
            raise ValueError(f"the notion {self.name!r} needs the dense model's rates")
        return dense


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


def correct_only(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Event, population and direction of plain accuracy: right answers among all images, low is wrong."""
    return np.eye(classes, dtype=bool)[None], np.ones((1, classes), dtype=bool), np.ones(1, dtype=int)
