"""Rates of groups as a notion defines them, counted and put into words.

For two classes the last one is the positive class: a rate of the first class is told as its complement, that of the
positive one, which has the same gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairprune_cli.fairness.notions.base import Notion

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rate:
    """A rate of every group: `k` of `n` [G]; `name` and `of` say in words what is counted and out of what."""

    name: str
    of: str
    k: Counts
    n: Counts


def rates_of(notion: Notion, counts: Counts, classes: Sequence[str]) -> list[Rate]:
    """The rates that a notion compares, in the order in which it wants them audited.

    Args:
        notion: for as many classes as there are.
        counts: [G, label, prediction].
        classes: their names.
    """
    order = notion.rate_order or range(len(notion.event))
    return [rate_of(notion.event[m], notion.population[m], counts, classes) for m in order]


def rate_of(event: Mask, population: Mask, counts: Counts, classes: Sequence[str]) -> Rate:
    """One rate: the share, among the images with a label in `population`, of those with a pair in `event`.

    Args:
        event: [label, prediction]; population: [label]; counts: [G, label, prediction].
    """
    rows = event[population]
    if len(classes) == 2 and rows[:, 0].all() and not rows[:, 1].any():
        event = ~event
    event = event & population[:, None]
    of = "images" if population.all() else f"images labelled {_either(classes, population)}"
    name = _event_in_words(event, population, classes)
    name = name if population.all() else f"{name} among {of}"
    return Rate(name, of, (counts * event).sum((1, 2)), counts[:, population].sum((1, 2)))


def _event_in_words(event: Mask, population: Mask, classes: Sequence[str]) -> str:
    rows = event[population]
    if (rows == rows[0]).all():
        return f"predicted {_either(classes, rows[0])}"
    right = np.eye(len(classes), dtype=bool)
    if (rows == right[population]).all():
        return "classified right"
    if (rows == ~right[population]).all():
        return "classified wrong"
    told = [f"{_either(classes, row)} for {label}" for label, row in zip(classes, event, strict=True) if row.any()]
    return f"predicted {' or '.join(told)}"


def _either(classes: Sequence[str], chosen: Mask) -> str:
    return " or ".join(name for name, member in zip(classes, chosen, strict=True) if member)
