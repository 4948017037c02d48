"""SNIP: connection sensitivity, one shot (Lee, Ajanthan and Torr, arXiv 1810.02340, eq. 6), from the trained weights.

    s_i = |theta_i dL/dtheta_i|, L the mean loss over the saliency batches

The paper prunes an untrained network; here the given one is pruned, before the first step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairprune_cli.pruning import method
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.pruning.schedule import Plan

ALSO = ("connection-sensitivity", "taylor", "gradient")


class Method(method.Method):
    """Keep the units whose removal changes the loss most, to first order; a channel's is that of its gates."""

    reads = ()
    upper_gradient = True
    eval_gradient = True

    def __init__(self, masks: Masks, options: method.MethodOptions) -> None:
        super().__init__(masks, options)
        self._sum = torch.zeros(len(masks.keep), device=masks.keep.device)

    @classmethod
    def gradual(cls, options: method.MethodOptions) -> Plan:
        return Plan(ramp=(0.0, 0.0), rounds=1)

    def upper_step(self, part: int, logits: Tensor, labels: Tensor) -> None:
        # The gradient is linear, so batches add up before the absolute value is taken.
        self._sum += self.masks.saliency()

    def scores(self, sparsity: float = 0.0) -> Tensor:
        return self._sum.abs()

    def state_dict(self) -> dict[str, Tensor]:
        return {"sum": self._sum}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._sum = state["sum"]
