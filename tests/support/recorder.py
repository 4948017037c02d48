"""A recorder of passes on the CPU that behaves as CUDA graphs do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from fairprune_cli.training.capture import Outputs


class FakeRecorder:
    """Recording computes nothing; replaying computes from, and writes to, the memory of the recording.

    Attributes:
        recorded, replayed: how often.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.recorded, self.replayed = model, 0, 0

    def rehearse(self, work: Callable[[], Outputs]) -> tuple[Outputs, str]:
        return work(), ""

    def record(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        self.recorded += 1
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        random = torch.get_rng_state()
        outputs = work()
        gradients = [parameter.grad for parameter in self.model.parameters()]
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                value.copy_(before[name])
            for tensor in [*outputs, *(g for g in gradients if g is not None)]:
                tensor.fill_(torch.nan)
        torch.set_rng_state(random)

        def replay() -> None:
            self.replayed += 1
            kept = [parameter.grad for parameter in self.model.parameters()]
            computed = work()
            with torch.no_grad():
                for into, new in zip(outputs, computed, strict=True):
                    into.copy_(new)
                for gradient, parameter in zip(gradients, self.model.parameters(), strict=True):
                    if gradient is not None:
                        assert parameter.grad is not None
                        gradient.copy_(parameter.grad)
            for parameter, gradient in zip(self.model.parameters(), kept, strict=True):
                parameter.grad = gradient  # a replay runs no Python, so it puts nothing in its place

        return replay, outputs
