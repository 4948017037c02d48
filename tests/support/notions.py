"""Notions that are in no folder."""

from __future__ import annotations

import numpy as np

from fairprune_cli.fairness.notion import Notion


def alarms_of_the_first(classes: int) -> Notion:
    """A made-up notion: how often the first class is predicted for images of the others. One rate."""
    event, population = np.zeros((1, classes, classes), bool), np.ones((1, classes), bool)
    event[0, :, 0] = True
    population[0, 0] = False
    return Notion("first-alarms", event, population, np.array([-1]))


def losses_of_the_first(classes: int) -> Notion:
    """Another: how much of the first class is lost against the dense model, which no audit counts."""
    return Notion(
        "first-lost", np.eye(classes, dtype=bool)[None], np.eye(classes, dtype=bool)[:1], np.array([1]), relative=True
    )
