"""The mask's moves: from the method's scores to the wanted sparsity, and back to the first weights where it rewinds."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.transfer import on_host
from fairprune_cli.pruning.methods import Method
from fairprune_cli.training.diverged import SCORES, NotFinite
from fairprune_cli.training.lower_step import LowerStep
from fairprune_cli.training.snapshots import copy_of


class MaskMoves:
    """Moves the mask of a model whose weights `lower` trains.

    Args:
        scope: "auto" is the method's own.
        rewinds: remember the weights as they are now.
    """

    def __init__(self, method: Method, lower: LowerStep, ranks: Ranks, scope: str, rewinds: bool) -> None:
        self.method, self.masks, self.lower, self.ranks = method, lower.masks, lower, ranks
        self.scope = method.scope if scope == "auto" else scope
        self._start = copy_of(lower.model.state_dict()) if rewinds else {}

    def move(self, sparsity: float) -> tuple[Tensor, Tensor]:
        """Put the mask at a sparsity.

        Returns:
            Least and largest score, [2], and the share of the kept units that were masked before, [].

        Raises:
            NotFinite: on the CPU, a score is not; the mask has not moved.
            FairpruneError: the method gives other than one score per unit; processes do not agree (exit code 3).
        """
        scores = self.method.scores(sparsity)
        if scores.shape != self.masks.keep.shape:
            raise FairpruneError(
                f"scores of shape {tuple(scores.shape)} for {len(self.masks.keep)} units",
                where=f"{type(self.method).__module__}.{type(self.method).__qualname__}",
                hint="a method gives one number per unit",
            )
        extremes = torch.stack(torch.aminmax(scores))
        if on_host(extremes) and not np.isfinite(extremes.numpy()).all():
            raise NotFinite(SCORES)
        if self.scope == "layer":
            scores = self.masks.rank_within(scores)
        before = self.masks.keep
        self.masks.apply(self.masks.select(scores, sparsity))
        self.ranks.refuse_differences("the mask", self.masks.keep)
        self.masks.mask_state(self.lower.optimizer.state)
        return extremes, _share(self.masks.keep > before, self.masks.keep)

    def rewind(self) -> None:
        """Put what is left back to its values at the start; momentum begins anew."""
        self.lower.model.load_state_dict(self._start)
        self.masks.reset(self._start)
        self.lower.forget()


def _share(some: Tensor, of: Tensor) -> Tensor:
    """True entries of one mask per true entry of another, []."""
    if on_host(of):
        some_true, true = (int(np.count_nonzero(mask.numpy())) for mask in (some, of))
        return torch.from_numpy(np.asarray(some_true / max(true, 1)))
    return some.sum() / of.sum().clamp_min(1)
