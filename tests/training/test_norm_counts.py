"""Counters of batch norms that move together count what they count one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fairprune_cli.training.norm_counts import NormCounts


class Own(nn.BatchNorm2d):
    """A norm of one's own, which may look at its counter."""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=None), Own(4),
        nn.BatchNorm2d(4, track_running_stats=False), nn.BatchNorm2d(4),
    )  # fmt: skip


@pytest.mark.parametrize("together", [True, False])
def test_states_after_passes_are_those_of_norms_that_count_for_themselves(together: bool) -> None:
    plain, counted = network(), network()
    counted[5].eval()
    plain[5].eval()
    counts = NormCounts(counted, together)
    images = torch.randn(5, 3, 2, 2)
    for step in range(4):
        plain(images + step)
        with counts.together():
            counted(images + step)
    for (name, value), wanted in zip(counted.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(value, wanted), name
    assert int(counted.state_dict()["1.num_batches_tracked"]) == 4


def test_counters_are_back_after_a_pass_that_fails() -> None:
    model = network()
    names = set(model.state_dict())
    counts = NormCounts(model)
    with pytest.raises(RuntimeError), counts.together():
        model(torch.randn(1, 2, 2, 2))
    assert set(model.state_dict()) == names
    assert set(copy.deepcopy(model).state_dict()) == names
