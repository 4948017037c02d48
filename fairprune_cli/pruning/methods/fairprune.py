"""FairPrune: saliency of the unprivileged group minus a share of that of the privileged (Wu et al., arXiv 2203.02110).

    s_i = 1/2 theta_i^2 (H_i of the unprivileged group - beta H_i of the others)

with H the diagonal of the Hessian, estimated as n times the squared gradient of the group's mean loss over its n images
in a batch (the Fisher diagonal, up to the gradient's mean). The
least useful go first, in rounds. The unprivileged group is the one the model classifies worst when it is first looked
at; the paper knows two groups, here all others together are the privileged one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairprune_cli.pruning import group_method, method
from fairprune_cli.pruning.masks import Masks


class Method(group_method.GroupMethod):
    """Prunes what the privileged groups need and the unprivileged one does not."""

    reads = ("ramp_share", "rounds", "beta")
    per_image = True

    def __init__(self, masks: Masks, options: method.MethodOptions) -> None:
        super().__init__(masks, options)
        self._unprivileged = -1
        self._last = torch.zeros(len(masks.keep), device=masks.keep.device)

    def scores(self, sparsity: float = 0.0) -> Tensor:
        importance, right, seen = self.take()
        if self._unprivileged < 0:
            accuracy = torch.where(seen > 0, right / seen.clamp_min(1.0), torch.inf)
            self._unprivileged = int(accuracy.argmin())
        others = [g for g in range(len(seen)) if g != self._unprivileged and seen[g] > 0]
        privileged = importance[others].mean(0) if others else torch.zeros_like(importance[0])
        if seen[self._unprivileged] > 0:  # else what was known of it in the round before
            self._last = importance[self._unprivileged]
        return self.only_kept(saliency(self._last, privileged, self.options.beta))

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), "unprivileged": torch.tensor(self._unprivileged), "last": self._last}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._unprivileged, self._last = int(state["unprivileged"]), state["last"]


def saliency(unprivileged: Tensor, privileged: Tensor, beta: float) -> Tensor:
    """1/2 (u - beta p), [U]; u and p are means of n (theta g)^2 of either side (eq. 4 of the paper)."""
    return 0.5 * (unprivileged - beta * privileged)
