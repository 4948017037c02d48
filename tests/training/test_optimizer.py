"""SGD as torch's plain one has it, whichever parameters get a gradient in a step."""

from __future__ import annotations

import copy

import torch
from torch import nn

from fairprune_cli.training.optimizer import sgd


def test_layers_that_a_step_leaves_out_begin_and_go_on_when_they_are_met() -> None:
    torch.manual_seed(0)
    model = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
    other = copy.deepcopy(model)
    ours = sgd(model, 0.1, 0.9, 0.01)
    plain = torch.optim.SGD(
        [{"params": [m.weight for m in other], "weight_decay": 0.01}, {"params": [m.bias for m in other]}],
        lr=0.1, momentum=0.9, nesterov=True, foreach=False,
    )  # fmt: skip
    for taken in ((0,), (0, 1), (1,), (0, 1, 2), (2,)):
        x = torch.randn(4, 3)
        for layers, optimizer in ((model, ours), (other, plain)):
            value = x
            for at in taken:
                value = layers[at](value).tanh()
            optimizer.zero_grad()
            value.sum().backward()
            optimizer.step()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)
