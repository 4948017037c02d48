"""Every class is recognised equally well in every group (equal opportunity, Hardt et al. 2016)."""

from __future__ import annotations

import numpy as np

from fairprune_cli.fairness.notion import Notion

ALSO = ("equal-opportunity", "equality-of-opportunity", "true-positive-rate", "recall", "tpr", "eopp")

TITLE, ORDER = "True positives (opportunity)", 20


def build(classes: int) -> Notion:
    """Recall per class; of the last class alone where there are two (the positive one)."""
    classes_looked_at = [1] if classes == 2 else list(range(classes))
    event = np.stack([np.eye(classes, dtype=bool) for _ in classes_looked_at])
    population = np.eye(classes, dtype=bool)[classes_looked_at]
    return Notion("opportunity", event, population, np.ones(len(event), dtype=int))
