"""Masks in the pattern 2:4: of every four consecutive weights along the input dimension, two are kept.

The pattern is that of NVIDIA's sparse tensor cores (Mishra et al., arXiv 2104.08378). It is laid over the 2-D view
[out, in * kh * kw] of a weight, row-major, so it fits a tensor whose in * kh * kw is a multiple of four.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.pruning.masks.weights import WeightMasks, prunable_weights, top_k_mask

BLOCK, KEPT = 4, 2
SPARSITY = 1.0 - KEPT / BLOCK


def pattern_fits(shape: torch.Size) -> bool:
    """Whether the blocks of four divide the rows of the 2-D view [out, in * kh * kw]."""
    return shape[0] > 0 and shape[1:].numel() % BLOCK == 0


def unfit_weights(model: nn.Module) -> list[str]:
    """Names of the convolution and linear weights that the pattern does not fit, and that stay dense."""
    return [name for name, weight in prunable_weights(model).items() if not pattern_fits(weight.shape)]


class TwoOfFourMasks(WeightMasks):
    """A mask entry for every weight of the tensors that the pattern fits.

    On the way to the pattern, at a sparsity below one half, only the two weights of a block that the pattern would
    drop are candidates, and the lowest of all candidates go first. So no block ever loses more than two, and at one
    half every block has lost exactly two.

    Args:
        alive: what an earlier pruning left, as for `WeightMasks`; also of tensors that the pattern does not fit. Where
            it left fewer than two weights of a block, the mask keeps two places and one of them holds a zero.
    """

    def __init__(self, model: nn.Module, alive: Mapping[str, Tensor] | None = None) -> None:
        fitting = [name for name, weight in prunable_weights(model).items() if pattern_fits(weight.shape)]
        if not fitting:
            raise FairpruneError(
                "no convolution or linear weight has rows that blocks of four divide", where="--granularity 2:4",
                hint="use channel or weight",
            )  # fmt: skip
        super().__init__(model, layer_floor=0.0, names=fitting, alive=alive)
        self.held = {name: mask.to(self.keep.device) for name, mask in (alive or {}).items()}

    @property
    def start(self) -> float:
        if self._alive is not None and int(self._alive.view(-1, BLOCK).sum(1).max()) <= KEPT:
            return SPARSITY  # the pattern is there already, though some blocks may have lost more
        return super().start

    def _line(self, tensor: Tensor, parameter: Tensor) -> Tensor:
        return tensor.reshape(-1)  # blocks lie along the rows of the 2-D view, wherever they lie in memory

    def _shaped(self, line: Tensor, parameter: Tensor) -> Tensor:
        return line.view_as(parameter)

    def select(self, scores: Tensor, sparsity: float) -> Tensor:
        """bool [U]; ties go to the lower index.

        Args:
            scores: [U].
            sparsity: 0 to one half.
        """
        if not 0.0 <= sparsity <= SPARSITY + 1e-9:
            raise FairpruneError(
                f"the pattern 2:4 removes half of the weights, not {sparsity:g}",
                where="--sparsity",
                hint="leave it out",
            )
        blocks = self._ranked(scores).view(-1, BLOCK)
        order = torch.argsort(blocks, dim=1, descending=True, stable=True)
        candidates = torch.zeros_like(blocks, dtype=torch.bool).scatter_(1, order[:, KEPT:], True).view(-1)
        keep = round((1.0 - sparsity) * len(scores))
        ranked = torch.where(candidates, self._ranked(scores), torch.inf)
        return top_k_mask(ranked, max(keep, len(scores) * KEPT // BLOCK))

    def meets(self, sparsity: float, given: nn.Module, stored: nn.Module) -> bool:
        """The right number of weights, and two in every block of four."""
        return super().meets(sparsity, given, stored) and not self.broken_blocks()

    def broken_blocks(self) -> int:
        """Blocks of four that do not keep exactly two, at the present mask."""
        return int((self.keep.view(-1, BLOCK).sum(1) != KEPT).sum())
