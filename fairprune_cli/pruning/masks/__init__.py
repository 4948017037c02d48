"""Masks over weights or channels: what is kept, what the scores are made of, and the projection onto a sparsity."""

from __future__ import annotations

from fairprune_cli.pruning.masks.base import Masks, mask_gradient
from fairprune_cli.pruning.masks.channels import PROBE, ChannelMasks
from fairprune_cli.pruning.masks.selection import top_k_mask
from fairprune_cli.pruning.masks.two_of_four import TwoOfFourMasks, unfit_weights
from fairprune_cli.pruning.masks.weights import WeightMasks, prunable_weights

__all__ = [
    "PROBE", "ChannelMasks", "Masks", "TwoOfFourMasks", "WeightMasks", "mask_gradient", "prunable_weights",
    "top_k_mask", "unfit_weights",
]  # fmt: skip
