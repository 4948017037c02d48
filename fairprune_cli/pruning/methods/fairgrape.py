"""FairGRAPE: keep each group's share of importance as it was (Lin, Kim and Joo, arXiv 2207.10888, algorithm 1).

    I_i,g = mean over batches of (theta_i g_i)^2, g_i the gradient of group g's loss

In each layer units are kept one by one: always for the group whose share of the kept importance has fallen most behind
its share in the dense model, and of its units the most important one that is not kept yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.pruning import group_method, method
from fairprune_cli.pruning.masks import Masks

ROUND, EPOCHS_AFTER = 0.1, 3  # of a round of its own budget


class Method(group_method.GroupMethod):
    """Selects in rounds, layer by layer with the same share kept in each; the wanted shares are the dense model's.

    Scores compare within a layer only.
    """

    reads = ("ramp_share", "rounds", "fairgrape_budget")
    scope = "layer"

    @classmethod
    def own_budget(cls, options: method.MethodOptions, sparsity: float) -> Mapping[str, Any]:
        """As the authors' code: a tenth of what is left goes in each round, and three epochs follow it."""
        if options.fairgrape_budget == "equal":
            return {}
        rounds = max(math.ceil(math.log(1.0 - sparsity) / math.log(1.0 - ROUND) - 1e-9), 1)
        return {"rounds": rounds, "epochs": EPOCHS_AFTER * rounds, "ramp_share": (rounds - 1) / rounds}

    def __init__(self, masks: Masks, options: method.MethodOptions) -> None:
        super().__init__(masks, options)
        self._shares = np.empty((0, 0))  # [layers, G]

    def scores(self, sparsity: float = 0.0) -> Tensor:
        importance, _, _ = self.take()
        layers = np.split(importance.double().cpu().numpy(), np.cumsum(self.masks.sizes)[:-1], axis=1)
        if not len(self._shares):
            self._shares = np.stack([_shares(layer) for layer in layers])
        kept = np.split(self.masks.keep.cpu().numpy(), np.cumsum(self.masks.sizes)[:-1])
        scores = [
            _ranked(layer * mask, wanted, sparsity)
            for layer, mask, wanted in zip(layers, kept, self._shares, strict=True)
        ]
        return self.only_kept(torch.from_numpy(np.concatenate(scores)).float().to(self.masks.keep.device))

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), "shares": torch.from_numpy(self._shares)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._shares = state["shares"].cpu().numpy()


def _shares(importance: np.ndarray) -> np.ndarray:
    """Each group's share of the importance of a layer, [G]; importance: [G, U]."""
    totals: np.ndarray = importance.sum(axis=1)
    return totals / max(totals.sum(), np.finfo(float).tiny)


def _ranked(importance: np.ndarray, wanted: np.ndarray, sparsity: float) -> np.ndarray:
    """Scores of a layer: by turn for as many units as may be kept, plus some for rounding; the rest by importance."""
    groups, units = importance.shape
    shares = np.zeros(groups)
    shares[: len(wanted)] = wanted  # a group first seen in a later round has none
    order = keep_in_turn(importance, shares, min(units, round((1.0 - sparsity) * units) + 1))
    scores: np.ndarray = importance.sum(axis=0) / max(importance.sum(), np.finfo(float).tiny)  # 0..1
    scores[order] = 2.0 + np.arange(len(order), 0, -1)
    return scores


def keep_in_turn(importance: np.ndarray, shares: np.ndarray, keep: int) -> np.ndarray:
    """Units in the order in which they are kept.

    Args:
        importance: float [G, U], at least 0.
        shares: [G], the wanted share of the kept importance of each group.
        keep: number of units, 0..U.

    Returns:
        int64 [keep]. Ties go to the lower group and the lower unit.
    """
    groups, units = importance.shape
    orders = np.argsort(-importance, axis=1, kind="stable").tolist()
    columns = importance.T.tolist()
    position = [0] * groups
    sums = [0.0] * groups
    wanted = shares.tolist()
    taken = bytearray(units)
    chosen: list[int] = []
    for _ in range(min(keep, units)):
        total = sum(sums)
        behind = [w - (s / total if total else 0.0) for w, s in zip(wanted, sums, strict=True)]
        group = behind.index(max(behind))
        order, at = orders[group], position[group]
        while taken[order[at]]:
            at += 1
        unit = order[at]
        position[group] = at + 1
        taken[unit] = 1
        chosen.append(unit)
        for g, value in enumerate(columns[unit]):
            sums[g] += value
    return np.asarray(chosen, dtype=np.int64)
