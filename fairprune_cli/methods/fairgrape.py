"""FairGRAPE: keep each group's share of importance as it was (Lin, Kim and Joo, arXiv 2207.10888, algorithm 1).

    I_i,g = mean over batches of (theta_i g_i)^2, g_i the gradient of group g's loss

Units are kept one by one: always for the group whose share of the kept importance has fallen most behind its share in
the dense model, and of its units the most important one that is not kept yet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.masks import Masks
from fairprune_cli.methods import base, common


class Method(common.GroupMethod):
    """Selects in rounds; the shares of the first round are those of the dense model."""

    def __init__(self, masks: Masks, options: base.MethodOptions) -> None:
        super().__init__(masks, options)
        self._shares = torch.empty(0, dtype=torch.float64)

    def scores(self, sparsity: float = 0.0) -> Tensor:
        importance, _, _ = self.take()
        table = importance.double().cpu().numpy()
        if not len(self._shares):
            totals = table.sum(axis=1)
            self._shares = torch.from_numpy(totals / max(totals.sum(), np.finfo(float).tiny))
        shares = np.zeros(len(table))
        shares[: len(self._shares)] = self._shares.numpy()
        kept = self.masks.keep.cpu().numpy()
        order = keep_in_turn(table * kept, shares, round((1.0 - sparsity) * len(kept)))
        scores = table.sum(axis=0) / max(table.sum(), np.finfo(float).tiny)  # in 0..1, for what is left over
        scores[order] = 2.0 + np.arange(len(order), 0, -1)
        return self.only_kept(torch.from_numpy(scores).float().to(self.masks.keep.device))

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), "shares": self._shares}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._shares = state["shares"]


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
