"""FairPrune: saliency of the unprivileged group minus a share of that of the privileged (Wu et al., arXiv 2203.02110).

    s_i = 1/2 theta_i^2 (H_i of the unprivileged group - beta H_i of the others)

with H the diagonal of the Hessian, by its Fisher estimate the mean of squared gradients of that group's loss. The
least useful go first, in rounds. The unprivileged group is the one the model classifies worst when it is first looked
at; the paper knows two groups, here all others together are the privileged one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairprune_cli.masks import Masks
from fairprune_cli.methods import base, common


class Method(common.GroupMethod):
    """Prunes what the privileged groups need and the unprivileged one does not."""

    def __init__(self, masks: Masks, options: base.MethodOptions) -> None:
        super().__init__(masks, options)
        self._unprivileged = -1

    def scores(self, sparsity: float = 0.0) -> Tensor:
        importance, right, seen = self.take()
        if self._unprivileged < 0:
            accuracy = torch.where(seen > 0, right / seen.clamp_min(1.0), torch.inf)
            self._unprivileged = int(accuracy.argmin())
        others = [g for g in range(len(seen)) if g != self._unprivileged and seen[g] > 0]
        privileged = importance[others].mean(0) if others else torch.zeros_like(importance[0])
        return self.only_kept(saliency(importance[self._unprivileged], privileged, self.options.beta))

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), "unprivileged": torch.tensor(self._unprivileged)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._unprivileged = int(state["unprivileged"])


def saliency(unprivileged: Tensor, privileged: Tensor, beta: float) -> Tensor:
    """1/2 (u - beta p), [U]; u and p are means of (theta g)^2 of either side (eq. 4 of the paper)."""
    return 0.5 * (unprivileged - beta * privileged)
