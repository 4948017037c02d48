"""Gradual magnitude pruning with fine-tuning (Zhu & Gupta, arXiv 1710.01878); the yardstick."""

from __future__ import annotations

from torch import Tensor

from fairprune_cli.pruning import method

ALSO = ("l1", "l2", "l1-norm", "l2-norm", "norm", "gmp", "gradual-magnitude")


class Method(method.Method):
    """Keep the units with the largest weights; a channel's weight is its filters' root mean square."""

    reads: tuple[str, ...] | None = ("ramp_share",)

    def scores(self, sparsity: float = 0.0) -> Tensor:
        return self.masks.magnitude()
