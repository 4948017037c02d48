"""The mask's moves: from the method's scores to the wanted sparsity, and back to the first weights where it rewinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.transfer import Arriving, on_host
from fairprune_cli.pruning.methods import Method
from fairprune_cli.training.diverged import SCORES, NotFinite
from fairprune_cli.training.lower_step import LowerStep
from fairprune_cli.training.snapshots import copy_of


class Moved(NamedTuple):
    """What is to be known of a move, on its device."""

    extremes: Tensor  # [2], the least and the largest score
    returned: Tensor  # [], share of the kept units that were masked before


class _Due(NamedTuple):
    scores: Arriving
    extremes: Tensor
    sparsity: float


class MaskMoves:
    """Moves the mask of a model whose weights `lower` trains.

    Args:
        scope: "auto" is the method's own.
        rewinds: remember the weights as they are now.
    """

    def __init__(self, method: Method, lower: LowerStep, ranks: Ranks, scope: str, rewinds: bool) -> None:
        self.method, self.masks, self.lower, self.ranks = method, lower.masks, lower, ranks
        self.scope = method.scope if scope == "auto" else scope
        self._due: _Due | None = None
        self._start = copy_of(lower.model.state_dict()) if rewinds else {}

    def move(self, sparsity: float, late: bool = False) -> Moved | None:
        """Put the mask at a sparsity.

        Args:
            late: where units are chosen on the host and the scores are not there yet, leave the move to `follow`.

        Raises:
            NotFinite: on the CPU, a score is not; the mask has not moved.
            FairpruneError: the method gives other than one score per unit; processes do not agree (exit code 3).
        """
        scores = self._scores(sparsity)
        extremes = torch.stack(torch.aminmax(scores))
        if on_host(extremes) and not np.isfinite(extremes.numpy()).all():
            raise NotFinite(SCORES)
        if self.scope == "layer":
            scores = self.masks.rank_within(scores)
        self._due = None
        if late and self.masks.chooses_on_host and not on_host(scores):
            self._due = _Due(Arriving(scores), extremes, sparsity)
            return None
        return self._move(self.masks.select(scores, sparsity), extremes)

    def follow(self) -> Moved | None:
        """The move that waited for its scores, if one did; they have arrived while a step was computed.

        Raises:
            NotFinite: a score is not; the mask has not moved.
        """
        due, self._due = self._due, None
        if due is None:
            return None
        scores = due.scores.numpy()
        if not np.isfinite(scores).all():
            raise NotFinite(SCORES)
        return self._move(self.masks.choose(scores, due.sparsity), due.extremes)

    def _scores(self, sparsity: float) -> Tensor:
        scores = self.method.scores(sparsity)
        if scores.shape != self.masks.keep.shape:
            raise FairpruneError(
                f"scores of shape {tuple(scores.shape)} for {len(self.masks.keep)} units",
                where=f"{type(self.method).__module__}.{type(self.method).__qualname__}",
                hint="a method gives one number per unit",
            )
        return scores

    def _move(self, keep: Tensor, extremes: Tensor) -> Moved:
        before = self.masks.keep
        self.masks.apply(keep)
        self.ranks.refuse_differences("the mask", self.masks.keep)
        self.masks.mask_state(self.lower.optimizer.state)
        return Moved(extremes, _share(self.masks.keep > before, self.masks.keep))

    def state_dict(self) -> dict[str, Any]:
        """The move that waits for its scores; empty without one."""
        due = self._due
        if due is None:
            return {}
        return {
            "scores": torch.from_numpy(due.scores.numpy().copy()),
            "extremes": due.extremes,
            "sparsity": due.sparsity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._due = None
        if state:  # what the host looks at may stay there, what goes on with the figures of steps may not
            extremes = state["extremes"].to(self.masks.keep.device)
            self._due = _Due(Arriving(state["scores"]), extremes, state["sparsity"])

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
