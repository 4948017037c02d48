"""Strides: exactly a parameter's own, those of dimensions of one entry included."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from fairprune_cli.models.strides import is_channels_last, like, refuse_other_strides
from fairprune_cli.pruning.channels.removal import take

SHAPES = [(6, 4, 3, 3), (6, 4, 1, 1), (6, 1, 3, 3), (6, 1, 1, 1), (1, 1, 1, 1), (6, 4, 3, 1)]


def parameter_of(shape: tuple[int, ...], last: bool) -> nn.Parameter:
    form = torch.channels_last if last else torch.contiguous_format
    return nn.Parameter(torch.randn(shape).clone(memory_format=form))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [True, False])
def test_a_value_takes_the_parameter_s_strides(shape: tuple[int, ...], last: bool) -> None:
    parameter = parameter_of(shape, last)
    for form in (torch.channels_last, torch.contiguous_format):
        value = torch.randn(shape).clone(memory_format=form)
        same = like(value, parameter)
        assert same.stride() == parameter.stride()
        assert torch.equal(same, value)
        assert (same is value) == (value.stride() == parameter.stride())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [True, False])
def test_what_is_taken_of_a_weight_lies_as_the_weight_did(shape: tuple[int, ...], last: bool) -> None:
    """Also where one channel is left, or the kernel is one pixel."""
    parameter = parameter_of(shape, last)
    for rows in ([0], list(range(0, shape[0], 2))):
        for columns in ([0], list(range(shape[1]))):
            dims = {0: torch.tensor(rows), 1: torch.tensor(columns)}
            left = take(parameter.detach(), dims)
            assert torch.equal(left, parameter.detach()[rows][:, columns])
            fresh = parameter_of(tuple(left.shape), is_channels_last(parameter))
            assert left.stride() == fresh.stride()
            assert take(torch.randn_like(parameter), dims).stride() == left.stride()


def test_others_are_refused_by_name() -> None:
    net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 3, 3)).to(memory_format=torch.channels_last)
    weight = net[0].weight
    state = {p: {"momentum": torch.zeros_like(p), "step": torch.tensor(1.0), "name": "a"} for p in net.parameters()}
    refuse_other_strides(net, state)
    state[weight]["momentum"] = torch.zeros(6, 4, 1, 1)  # in memory the same order, but not to CUDA's kernels
    with pytest.raises(ValueError, match=r"momentum of 0\.weight has strides \(4, 1, 1, 1\)"):
        refuse_other_strides(net, state)


def test_a_state_that_was_written_and_read_keeps_them() -> None:
    net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 3, 3)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.randn(2, 4, 5, 5)).sum().backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    again = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    again.load_state_dict(torch.load(file, weights_only=True))
    refuse_other_strides(net, again.state)
