"""Whether a model's outputs mean its classes in another order, from its confusion counts alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from fairprune_cli.audit.rates import Counts


class _Tried(Protocol):
    """What was tried; `log_p` as of `ClassOrder`."""

    @property
    def log_p(self) -> float: ...


T = TypeVar("T", bound=_Tried)


@dataclass(frozen=True)
class ClassOrder:
    """What the outputs would mean.

    Attributes:
        how: in words, "reversed".
        order: of output j the class, by number.
        correct: images that would be right.
        log_p: bound of the logarithm of the chance that it is as good as this, or as much better than the order there
            is, with predictions that do not depend on the labels; the choice among all orders is counted in.
    """

    how: str
    order: tuple[int, ...]
    correct: int
    log_p: float

    def read(self, predictions: np.ndarray) -> np.ndarray:
        """Predictions by the outputs' numbers, int64 [n], as classes."""
        return np.array(self.order)[predictions]


def class_orders(counts: Counts, classes: Sequence[str]) -> list[ClassOrder]:
    """Other orders of the classes that mistakes are known to make, and the one that fits the counts best.

    Args:
        counts: int64 [K, K], label x prediction.
        classes: K names, in the order that is believed.
    """
    n, labels = int(counts.sum()), counts.sum(1)
    if n == 0:
        return []
    share, own = float(labels.max() / n), np.arange(len(classes))
    found: list[ClassOrder] = []
    for how, order, choices in _candidates(counts, classes):
        moved = order != own
        if not moved.any() or any(np.array_equal(order, one.order) for one in found):
            continue
        correct = int(counts[order, own].sum())
        gained, lost = int(counts[order, own][moved].sum()), int(np.diagonal(counts)[moved].sum())
        log_p = max(log_chance(correct, n, share), log_chance(gained, gained + lost, 0.5)) + choices
        found.append(ClassOrder(how, tuple(order.tolist()), correct, min(log_p, 0.0)))
    return found


def better_order(counts: Counts, classes: Sequence[str], confidence: float) -> tuple[int, ...]:
    """The order in which the outputs fit the classes better beyond chance, as in `ClassOrder`; () where none does."""
    orders = likely(class_orders(counts, classes), confidence)
    return max(orders, key=lambda one: one.correct).order if orders else ()


def likely(tried: Sequence[T], confidence: float) -> list[T]:
    """Those that are better beyond chance, with the `confidence` that no other is among them (Bonferroni)."""
    level = math.log((1 - confidence) / 2 / max(len(tried), 1))
    return [one for one in tried if one.log_p <= level]


def log_chance(k: int, n: int, rate: float) -> float:
    """An upper bound of the logarithm of P(at least k of n), each with a chance of at most `rate` on average.

    It is -n KL(k / n || rate) (Chernoff), which holds for unequal chances as well and never underflows; 0 where k is
    not above n times the rate.
    """
    if n == 0 or k <= n * rate:
        return 0.0
    if rate <= 0:
        return -math.inf
    share = k / n
    rest = 0.0 if k == n else (1 - share) * math.log((1 - share) / (1 - rate))
    return -n * (share * math.log(share / rate) + rest)


def _candidates(counts: Counts, classes: Sequence[str]) -> Iterator[tuple[str, np.ndarray, float]]:
    """In words, the class of each output, and the logarithm of the number of orders that it was chosen from."""
    own = np.arange(len(classes))
    yield "in reverse", own[::-1], 0.0
    yield "sorted as text", np.array(sorted(own, key=lambda k: classes[int(k)])), 0.0
    if all(name.strip().lstrip("+-").isdecimal() for name in classes):
        yield "sorted as numbers", np.array(sorted(own, key=lambda k: int(classes[int(k)]))), 0.0
    yield "one place further", np.roll(own, 1), 0.0
    yield "one place back", np.roll(own, -1), 0.0
    if (np.diagonal(counts) == counts.max(0)).all():
        return  # no order fits better than the own one, which is no candidate
    # Half a second, which only those pay whose model calls some class by another's name.
    from scipy.optimize import linear_sum_assignment

    labels, outputs = linear_sum_assignment(counts, maximize=True)
    best = own.copy()
    best[outputs] = labels
    yield "in the order that fits best", best, math.lgamma(len(classes) + 1)
