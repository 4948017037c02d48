"""A narrow strided 1x1 convolution is computed as one without a stride, and is the same function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.models.inference import fault_of_training
from fairprune_cli.models.strided_convolutions import safe_strides
from tests.support.dispatch import NarrowStrides
from tests.support.networks import shortcut

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "channels", "groups"),
    [
        (1, 2, 0, 3, 1), (1, (2, 1), 0, 3, 1), (1, (1, 3), 0, 7, 1), (1, 2, "valid", 5, 1), (1, 2, 0, 6, 2),
        (1, 2, 0, 16, 1), (1, 1, 0, 3, 1), (1, 2, 1, 3, 1), (3, 2, 1, 3, 1), (3, 1, "same", 3, 1), (1, [2], [0], 3, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("last", [True, False])
def test_it_is_the_same_function(
    kernel: int, stride: Any, padding: Any, channels: int, groups: int, side: int, last: bool
) -> None:
    torch.manual_seed(0)
    form = torch.channels_last if last else torch.contiguous_format
    images = torch.randn(4, channels, side, side, dtype=torch.float64).contiguous(memory_format=form).requires_grad_()
    weight = torch.randn(4, channels // groups, kernel, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)

    def results(call: Callable[[], Tensor]) -> list[Tensor]:
        found = call()
        return [found.detach(), *torch.autograd.grad(found.square().sum(), [images, weight, bias])]

    expected = results(lambda: F.conv2d(images, weight, bias, stride, padding, 1, groups))
    with safe_strides(CPU):
        got = results(lambda: F.conv2d(images, weight, bias, stride, padding, 1, groups))
        named = results(lambda: F.conv2d(images, weight, bias=bias, stride=stride, padding=padding, groups=groups))
    for one, other, third in zip(expected, got, named, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)
        assert torch.equal(other, third)


def test_without_the_block_there_is_one_to_be_seen() -> None:
    safe = torch.contiguous_format  # a gradient that overwrites memory is no example for a test
    with NarrowStrides() as met:
        shortcut().to(memory_format=safe)(torch.randn(2, 3, 8, 8)).sum().backward()
    assert met.narrow == [(3, [2, 2])]
    with safe_strides(CPU), NarrowStrides() as met:
        shortcut()(torch.randn(2, 3, 8, 8)).sum().backward()
    assert (met.narrow, met.seen) == ([], 1)


def test_one_image_alone_and_another_device() -> None:
    convolution = nn.Conv2d(3, 8, 1, stride=2)
    image = torch.randn(3, 9, 9)
    with safe_strides(CPU):
        assert torch.allclose(convolution(image), convolution(image[None])[0])
    with safe_strides(torch.device("cuda")), NarrowStrides() as met:
        convolution(image).sum().backward()
    assert met.narrow


def test_a_trial_of_training_has_none() -> None:
    with NarrowStrides() as met:
        assert fault_of_training(shortcut(), ImageShape(3, 8, 8), channels_last=True) == ""
    assert (met.narrow, met.seen) == ([], 1)


@pytest.mark.parametrize("stride", [(2, 2, 2), (), (2, 0), (2, -1), 0])
def test_what_torch_refuses_it_refuses_alike(stride: Any) -> None:
    def said() -> str:
        with pytest.raises((RuntimeError, TypeError, ValueError)) as error:
            F.conv2d(torch.randn(2, 3, 8, 8), torch.randn(4, 3, 1, 1), stride=stride)
        return f"{error.type} {error.value}"

    expected = said()
    with safe_strides(CPU):
        assert said() == expected
    assert F.conv2d is torch.conv2d


def test_numbers_of_numpy_are_numbers() -> None:
    images, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 1, 1)
    with safe_strides(CPU):
        assert F.conv2d(images, weight, stride=np.int64(2)).shape == (2, 4, 4, 4)


def test_blocks_of_several_threads_leave_torch_as_it_was() -> None:
    before = F.conv2d
    first, second = safe_strides(CPU), safe_strides(CPU)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with NarrowStrides() as met:
        shortcut()(torch.randn(2, 3, 8, 8)).sum().backward()
    assert (met.narrow, met.seen) == ([], 1)
    second.__exit__(None, None, None)
    assert F.conv2d is before
    assert torch.conv2d is before
