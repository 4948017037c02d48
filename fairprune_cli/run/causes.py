"""Why a model is not better than one answer to all images: which other ways to read its images and outputs are named.

Nothing is tried of a model that is better. A change is named where it makes the model better than one answer and better
than it is, both beyond chance, however many changes were tried (Bonferroni). Trying other readings of images needs the
model (cause_search.py); other orders of the classes follow from its counts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fairprune_cli.audit.class_order import ClassOrder, class_orders, likely, log_chance
from fairprune_cli.audit.doubt import Cause, ConstantAnswer
from fairprune_cli.audit.intervals import share_interval
from fairprune_cli.audit.rates import Counts

if TYPE_CHECKING:
    from fairprune_cli.run.image_readings import Reading

SHOWN = 3  # changes that are named
AS_GOOD = 0.02  # by how much less a change that is simpler may reach and yet be preferred
MUCH_WORSE = 0.1  # than the best one: not worth a word


@dataclass(frozen=True)
class Tried:
    """A change, how often it is right, and a bound of the logarithm of the chance that it is so without a reason."""

    reading: Reading | None
    order: ClassOrder | None
    correct: int
    log_p: float

    @property
    def changes(self) -> int:
        return (self.reading is not None) + (self.order is not None)


def with_causes(
    found: ConstantAnswer, tried: Sequence[Tried], n: int, classes: Sequence[str], confidence: float
) -> ConstantAnswer:
    """The same with the changes that would make the model better, of all that were tried on `n` images."""
    causes = tuple(_cause(one, n, classes, confidence) for one in _worth_naming(likely(tried, confidence), n))
    return replace(found, causes=causes, tried=len(tried), tried_on=n)


def by_counts_alone(found: ConstantAnswer, counts: Counts, classes: Sequence[str], confidence: float) -> ConstantAnswer:
    """The same where nothing but the counts is at hand: int64 [K, K], label x prediction."""
    tried = [of_order(None, order) for order in class_orders(counts, classes)]
    # That no other order of the classes helps is not worth a word.
    return with_causes(found, tried, int(counts.sum()), classes, confidence) if likely(tried, confidence) else found


def tried_of(
    reading: Reading | None, predicted: np.ndarray, now: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[Tried]:
    """A reading alone, and with the classes in other orders.

    Args:
        predicted, now: int64 [n], what the model predicts with it and without; labels: int64 [n].
    """
    found = []
    if reading is not None:
        correct, share = int((predicted == labels).sum()), float(np.bincount(labels).max() / len(labels))
        log_p = max(log_chance(correct, len(labels), share), _gained(predicted, now, labels))
        found.append(Tried(reading, None, correct, log_p))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    for order in class_orders(counts, classes):
        one = of_order(reading, order)
        found.append(replace(one, log_p=max(one.log_p, _gained(order.read(predicted), now, labels))))
    return found


def of_order(reading: Reading | None, order: ClassOrder) -> Tried:
    """An order of the classes as it was counted, with a reading of the images or with their own."""
    return Tried(reading, order, order.correct, order.log_p)


def _gained(predicted: np.ndarray, before: np.ndarray, labels: np.ndarray) -> float:
    """Logarithm of the chance that predictions are so much oftener right than others, McNemar's one-sided test."""
    right, was = predicted == labels, before == labels
    gained, lost = int((right & ~was).sum()), int((was & ~right).sum())
    return log_chance(gained, gained + lost, 0.5)


def _worth_naming(likely: Sequence[Tried], n: int) -> list[Tried]:
    """The best ones; two changes at once only where one alone is not as good."""
    if not likely:
        return []
    single = max((one.correct for one in likely if one.changes == 1), default=0)
    left = [one for one in likely if one.changes == 1 or one.correct > single + AS_GOOD * n]
    best = max(one.correct for one in left)
    left = [one for one in left if one.correct >= best - MUCH_WORSE * n]
    return sorted(left, key=lambda one: -one.correct)[:SHOWN]


def _cause(one: Tried, n: int, classes: Sequence[str], confidence: float) -> Cause:
    changes, mends = [], []
    mean, std, size, named = None, None, None, None
    if one.reading is not None:
        changes.append(one.reading.change)
        mends.append(one.reading.mend)
        transform, own = one.reading.transform, one.reading.own
        mean, std = (transform.mean, transform.std) if "mean" in own else (None, None)
        size = (transform.shape.height, transform.shape.width) if "size" in own else None
    if one.order is not None:
        named = tuple(classes[k] for k in one.order.order)
        changes.append(f"with the classes {one.order.how}")
        mends.append(f"write `classes: [{', '.join(named)}]`, the order of its outputs, or mend the labels")
    low, high = map(float, share_interval(one.correct, n, confidence))
    return Cause(" and ".join(changes), "; and ".join(mends), one.correct / n, low, high, n, mean, std, size, named)
