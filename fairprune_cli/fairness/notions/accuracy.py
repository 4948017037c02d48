"""No group is recognised worse than the best one (performance fairness, arXiv 2312.10181)."""

from __future__ import annotations

from fairprune_cli.fairness.notion import Notion, correct_only

ALSO = ("equal-accuracy", "accuracy-parity", "overall-accuracy-equality", "performance")

TITLE, ORDER = "Accuracy", 0


def build(classes: int) -> Notion:
    """A_g, the share of group g that is classified right."""
    return Notion("accuracy", *correct_only(classes))
