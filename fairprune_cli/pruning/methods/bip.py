"""Bi-level pruning without fairness (Zhang et al., arXiv 2210.04092): bifp with the constraint left out."""

from __future__ import annotations

from fairprune_cli.pruning.methods import bifp

ALSO = ("bi-level", "bilevel", "bi-level-pruning")


class Method(bifp.Method):
    """The same scores and steps; the Lagrangian is the loss alone."""

    constrained = False
    operating_point = "as-trained"
    reads = bifp.Method.reads
