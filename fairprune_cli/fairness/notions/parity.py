"""Every class is predicted equally often in every group (statistical parity)."""

from __future__ import annotations

import numpy as np

from fairprune_cli.fairness.notion import Notion

ALSO = ("demographic-parity", "statistical-parity", "independence", "disparate-impact", "dp", "spd")

TITLE, ORDER = "Share predicted positive (parity)", 10


def build(classes: int) -> Notion:
    """One rate per class: the share of the group for which the class is predicted. Two classes need one."""
    predicted = np.arange(classes)[:, None, None] == np.arange(classes)[None, None, :]
    event = np.broadcast_to(predicted, (classes, classes, classes)).copy()
    first = 1 if classes == 2 else 0
    rates = classes - first
    return Notion("parity", event[first:], np.ones((rates, classes), dtype=bool), np.zeros(rates, dtype=int))
