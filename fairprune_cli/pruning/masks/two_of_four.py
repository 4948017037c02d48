"""Masks in the pattern 2:4: of every four consecutive weights along the input dimension, two are kept.

The pattern is that of NVIDIA's sparse tensor cores (Mishra et al., arXiv 2104.08378). It is laid over the 2-D view
[out, in * kh * kw] of a weight, row-major, so it fits a tensor whose in * kh * kw is a multiple of four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.transfer import on_host
from fairprune_cli.pruning.masks.lines import channels_last, shaped
from fairprune_cli.pruning.masks.selection import top_k_mask
from fairprune_cli.pruning.masks.weights import WeightMasks, prunable_weights

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
        names: tensors that are masked where the pattern fits; all prunable ones when None.
    """

    def __init__(
        self, model: nn.Module, alive: Mapping[str, Tensor] | None = None, names: Sequence[str] | None = None
    ) -> None:
        weights = prunable_weights(model)
        fitting = [name for name in (weights if names is None else names) if pattern_fits(weights[name].shape)]
        if not fitting:
            raise FairpruneError(
                "no convolution or linear weight has rows that blocks of four divide", where="--granularity 2:4",
                hint="use channel or weight",
            )  # fmt: skip
        super().__init__(model, layer_floor=0.0, names=fitting, alive=alive)
        self.held = {name: mask.to(self.keep.device) for name, mask in (alive or {}).items()}
        self._counted_names = frozenset(weights if names is None else names)
        # The pattern may be there already, though some blocks may have lost more.
        self._there = self._alive is not None and int(self._alive.view(-1, BLOCK).sum(1).max()) <= KEPT

    @property
    def start(self) -> float:
        return SPARSITY if self._there else super().start

    # Blocks lie along the rows of the 2-D view, wherever they lie in memory.

    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.tensors, self._by_rows(keep), strict=True))

    def _by_rows(self, units: Tensor) -> list[Tensor]:
        """Views of units [U] in the shapes of the tensors."""
        return [part.view_as(p) for part, p in zip(units.split(self.sizes), self.tensors.values(), strict=True)]

    def _entry_mask(self, keep: Tensor) -> Tensor:
        if all(map(self._in_order, self.tensors.values())):
            return keep
        flat = torch.empty_like(keep)
        torch._foreach_copy_(shaped(flat, self.tensors.values()), self._by_rows(keep))
        return flat

    def _by_unit(self, flat: Tensor, out: Tensor | None = None) -> Tensor:
        if all(map(self._in_order, self.tensors.values())):
            return flat
        units = torch.empty_like(flat) if out is None else out
        torch._foreach_copy_(self._by_rows(units), shaped(flat, self.tensors.values()))
        return units

    def _in_order(self, parameter: Tensor) -> bool:
        return not channels_last(parameter)

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
        scores = self._ranked(scores)
        keep = max(round((1.0 - sparsity) * len(scores)), len(scores) * KEPT // BLOCK)
        if on_host(scores):
            values = scores.detach().numpy()
            ranked = torch.from_numpy(np.where(_second_half(values), values, values.dtype.type(np.inf)))
        else:
            ranked = scores.masked_fill(_best_two(scores), torch.inf)
        mask = top_k_mask(ranked, keep)
        self._counted, self._kept = mask, keep
        return mask

    def meets(self, sparsity: float, given: nn.Module, stored: nn.Module) -> bool:
        """The right number of weights, and two in every block of four."""
        return super().meets(sparsity, given, stored) and not self.broken_blocks()

    def broken_blocks(self) -> int:
        """Blocks of four that do not keep exactly two, at the present mask."""
        return int((self.keep.view(-1, BLOCK).sum(1) != KEPT).sum())


def _second_half(scores: np.ndarray) -> np.ndarray:
    """bool [n]: the two lowest of every block of four, of equal ones the later."""
    blocks = scores.reshape(-1, BLOCK)
    better = np.zeros(blocks.shape, dtype=np.int8)  # how many of its block come before it
    for i in range(BLOCK):
        for j in range(i + 1, BLOCK):
            first = blocks[:, i] >= blocks[:, j]
            better[:, j] += first
            better[:, i] += ~first
    return (better >= KEPT).reshape(-1)


def _best_two(scores: Tensor) -> Tensor:
    """bool [n]: the two highest of every block of four, of equal ones the earlier."""
    blocks = scores.view(-1, BLOCK)
    one, other = blocks[:, :, None], blocks[:, None, :]
    earlier = torch.ones(BLOCK, BLOCK, dtype=torch.bool, device=scores.device).tril_(-1)  # [i, j]: j before i
    before = (other > one).logical_or_((other == one).logical_and_(earlier))
    return (before.sum(2) < KEPT).view(-1)
