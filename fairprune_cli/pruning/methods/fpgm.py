"""FPGM: filter pruning via geometric median (He et al., arXiv 1811.00250, eq. 4-6), gradual.

    d_c = sum over the other filters j of the layer of ||F_c - F_j||_2

The filters nearest to the layer's geometric median are the most replaceable and go first. Every layer loses the
same share, as distances of different layers cannot be compared.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fairprune_cli.pruning import method

ALSO = ("geometric-median",)


class Method(method.Method):
    """Keep the channels that are furthest from all others of their space."""

    reads = ("ramp_share",)
    scope = "layer"
    granularities = ("channel",)

    def scores(self, sparsity: float = 0.0) -> Tensor:
        return torch.cat([_distances(filters) for filters in self.masks.filters()])


def _distances(filters: Tensor) -> Tensor:
    """Sum over all rows j of ||F_c - F_j||_2, [C]; filters: [C, entries]."""
    # By matrix products cdist loses the order of nearly equal filters.
    return torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
