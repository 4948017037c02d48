"""Statistics of batch norms, estimated anew, are those that torch's norms estimate, and no device is waited for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.training.reestimate import reestimate_batch_norm


class Twice(nn.Module):
    """A network that uses one of its norms twice, and another one not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.idle = nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=0.3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        seen: Tensor = self.norm(self.norm(self.first(images)) * 2.0 + 1.0)
        return seen


def test_they_are_those_of_norms_without_momentum_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(5, 3, 4, 4, generator=generator) * 3.0 for _ in range(7)]
    model = Twice()
    expected = copy.deepcopy(model)
    for norm in (expected.first, expected.norm, expected.idle):
        norm.reset_running_stats()
        norm.momentum = None
    with torch.inference_mode():
        for images in batches:
            expected(images)
    monkeypatch.setattr(torch.Tensor, "__float__", lambda _: pytest.fail("a number is read"), raising=False)
    reestimate_batch_norm(model, batches)
    assert [model.first.momentum, model.norm.momentum, model.training] == [0.1, 0.3, False]
    for name, value in expected.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
