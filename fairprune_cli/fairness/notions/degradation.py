"""No group loses more by pruning than another (performance-degradation fairness, arXiv 2312.10181)."""

from __future__ import annotations

from fairprune_cli.fairness.notion import Notion, correct_only

ALSO = ("performance-degradation", "excess-loss", "drop")

TITLE, ORDER = "Loss of accuracy (degradation)", 40


def build(classes: int) -> Notion:
    """R_g = A_g(dense) - A_g(pruned); held against the group that lost least."""
    return Notion("degradation", *correct_only(classes), relative=True)
