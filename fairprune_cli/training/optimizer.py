"""The optimiser of every training loop: SGD with Nesterov momentum, decay on weights alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def sgd(model: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over all parameters that are not frozen; those of fewer than two dimensions do not decay.

    Decay is for weights: on a norm's scale it would close channels that no score has chosen.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed, other = [p for p in trained if p.dim() > 1], [p for p in trained if p.dim() <= 1]
    made = torch.optim.SGD(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": other, "weight_decay": 0.0}],
        lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True,  # a third of the time of one operation at a time
    )  # fmt: skip
    made.register_step_pre_hook(_give_late_ones_their_momentum)
    return made


def _give_late_ones_their_momentum(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """What has its first gradient after the first step starts with no momentum, as the others did.

    That are layers which the network's code leaves out at random, as stochastic depth does. Torch's fused step only
    asks whether nothing has a momentum yet.
    """
    for group in optimizer.param_groups:
        moved = [p for p in group["params"] if p.grad is not None]
        late = [p for p in moved if optimizer.state[p].get("momentum_buffer") is None] if group["momentum"] else []
        if 0 < len(late) < len(moved):
            for parameter in late:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
