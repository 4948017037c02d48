"""Every class is predicted equally often given the true label, in every group (equalized odds, Hardt et al. 2016)."""

from __future__ import annotations

import numpy as np

from fairprune_cli.fairness.notion import Notion

ALSO = ("equalized-odds", "equal-odds", "equality-of-odds", "eodds", "eo")

TITLE, ORDER = "True and false positives (odds)", 30


def build(classes: int) -> Notion:
    """One rate per label and predicted class.

    For two classes the recall of each suffices: the false positive rate is one minus the negatives' recall.
    A group is pulled towards fewer errors, never towards more.
    """
    pairs = [(y, p) for y in range(classes) for p in range(classes) if classes > 2 or p == y]
    event = np.zeros((len(pairs), classes, classes), dtype=bool)
    population = np.zeros((len(pairs), classes), dtype=bool)
    for m, (y, p) in enumerate(pairs):
        event[m, y, p] = True
        population[m, y] = True
    direction = np.array([1 if y == p else -1 for y, p in pairs])
    positives_first = tuple(sorted(range(len(pairs)), key=lambda m: -pairs[m][0]))
    return Notion("odds", event, population, direction, rate_order=positives_first)
