"""Narrow strided 1x1 convolutions, as shortcuts of pruned residual networks have them, without a fault of a library.

Where images lie channels-last, oneDNN's gradient of such a convolution's weights writes past its workspace if it takes
fewer channels than a register holds: under 8 with AVX2, under 16 with AVX-512 (oneDNN issue 6035; torch 2.14 has it).
What lies there is overwritten: a run dies with "double free or corruption", or goes on with other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SAFE_CHANNELS = 16  # float32 numbers in the widest register


def safe_strides(device: torch.device) -> AbstractContextManager[object]:
    """A block whose narrow strided 1x1 convolutions leave out pixels first and then go over all that are left.

    The same sums, so the same results up to rounding. Around the forward pass; its backward pass may be outside.

    Args:
        device: of the network; on other devices than the CPU nothing is changed.
    """
    return _SafeStrides() if device.type == "cpu" else nullcontext()


class _SafeStrides(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        return (_conv2d if func is torch.conv2d else func)(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """`torch.conv2d`."""
    narrow = weight.shape[1] < SAFE_CHANNELS and tuple(weight.shape[2:]) == (1, 1)
    rows, columns = _pair(stride)
    if narrow and (rows > 1 or columns > 1) and (padding == "valid" or _pair(padding) == (0, 0)):
        input, stride = input[..., ::rows, ::columns], 1
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _pair(value: str | int | Sequence[int]) -> tuple[Any, Any]:
    """For both dimensions of an image, as torch takes it: one number, in a sequence or not, or two."""
    if isinstance(value, str | int):
        return value, value
    return value[0], value[-1]
