"""Gradual magnitude pruning with fine-tuning (Zhu & Gupta, arXiv 1710.01878); the yardstick."""

from __future__ import annotations

from torch import Tensor

from fairprune_cli.pruning import method


class Method(method.Method):
    """Keep the units with the largest weights; a channel's weight is its filters' root mean square."""

    def scores(self, sparsity: float = 0.0) -> Tensor:
        return self.masks.magnitude()
