"""No group is recognised worse than the images as a whole (Lagrangian form of group DRO)."""

from __future__ import annotations

from fairprune_cli.fairness.notion import Notion, correct_only

ALSO = ("worst-group-accuracy", "group-dro", "minimax", "rawlsian")

TITLE, ORDER = "Worst group's accuracy", 50


def build(classes: int) -> Notion:
    """A_g held against the overall accuracy; the better groups are not pulled down."""
    return Notion("worst-group", *correct_only(classes), against="whole")
