"""A run on an accelerator keeps what is on the device and what is on the host apart, also after it was interrupted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fairprune_cli.pruning import methods
from fairprune_cli.training.trainer import Trainer, TrainOptions
from tests.support.memories import Memories, Mixed
from tests.support.training import Images, Source, trainer

OPTIONS = TrainOptions(upper_every=3, epochs=2, saliency_batches=2, average=0.3)
CASES = [("bifp", "weight"), ("bifp", "2:4"), *((name, "channel") for name in methods.names())]


class Sent(Source):
    """Its batches are on the device."""

    def next(self) -> Images:
        return Images(*(part.to("cpu") for part in super().next()))


def made(method: str, granularity: str) -> Trainer:
    run = trainer(method, granularity, 0.5 if granularity == "2:4" else 0.7, passes=14.0, options=OPTIONS)
    run.lower, run.upper = Sent(1), Sent(2)
    return run


@pytest.mark.parametrize(("method", "granularity"), CASES)
def test_no_operator_is_given_both(method: str, granularity: str) -> None:
    memories = Memories()
    whole = made(method, granularity)
    with memories.apart():
        assert whole.run()
    for stop in (3, whole.steps - 1):  # a move by channel waits for its scores; channels have left
        first, second = made(method, granularity), made(method, granularity)
        with memories.apart():
            assert not first.run(lambda first=first, stop=stop: first.done >= stop)  # type: ignore[misc]
            state: Any = first.state_dict()
        state = memories.state_on_host(state)
        with memories.apart():
            second.load_state_dict(state)
            assert second.run()
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, second.model.state_dict()[name]), name


def test_what_a_gpu_refuses_is_refused() -> None:
    memories = Memories()
    device = torch.ones(3)
    with memories.apart():
        host = torch.from_numpy(np.ones(3, dtype=np.float32))
        assert torch.equal(device + host.to(device.device), device * 2)
        assert torch.equal(device.cpu() + host, host * 2)
        assert torch.equal(device * torch.tensor(2.0), device + device)
        for refused in (lambda: device + host, lambda: torch.cat([device, device.cpu()]), device.numpy):
            with pytest.raises(Mixed):
                refused()
