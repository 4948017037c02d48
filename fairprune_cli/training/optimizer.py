"""The optimiser of every training loop: SGD with Nesterov momentum, decay on weights alone."""

from __future__ import annotations

import torch
from torch import nn


def sgd(model: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over all parameters that are not frozen; those of fewer than two dimensions do not decay.

    Decay is for weights: on a norm's scale it would close channels that no score has chosen.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed, other = [p for p in trained if p.dim() > 1], [p for p in trained if p.dim() <= 1]
    return torch.optim.SGD(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": other, "weight_decay": 0.0}],
        lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True,  # a third of the time of one operation at a time
    )  # fmt: skip
