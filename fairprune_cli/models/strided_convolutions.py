"""Narrow strided 1x1 convolutions, as shortcuts of pruned residual networks have them, without a fault of a library.

Where images lie channels-last, oneDNN's gradient of such a convolution's weights writes past its workspace if it takes
fewer channels than a register holds: under 8 with AVX2, under 16 with AVX-512 (oneDNN issue 6035; torch 2.14 has it).
What lies there is overwritten: a run dies with "double free or corruption", or goes on with other numbers.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SAFE_CHANNELS = 16  # float32 numbers in the widest register
_TORCHS = torch.conv2d


@contextmanager
def safe_strides(device: torch.device) -> Iterator[None]:
    """A block whose narrow strided 1x1 convolutions leave out pixels first and then go over all that are left.

    The same sums, so the same results up to rounding. Around a forward pass and its backward pass alike: networks that
    save memory make parts of the one again in the other, and refuse tensors of another shape there.

    Args:
        device: of the network; on other devices than the CPU nothing is changed.
    """
    if device.type != "cpu":
        yield
        return
    _swap.enter()
    try:
        yield
    finally:
        _swap.leave()


class _Swap:
    """Torch's function in both of its places, replaced while any thread is in a block.

    Not a torch function mode, which `backward` would leave.
    """

    def __init__(self) -> None:
        self._lock, self._blocks = threading.Lock(), 0
        self._before: list[tuple[Any, Any]] = []

    def enter(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1:
                self._before = [(module, module.conv2d) for module in (F, torch)]
                for module, _ in self._before:
                    module.conv2d = _conv2d

    def leave(self) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                for module, before in self._before:
                    module.conv2d = before


_swap = _Swap()


def _conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """`torch.conv2d`."""
    if _is_narrow(input, weight, groups) and (padding == "valid" or _pair(padding) == (0, 0)):
        rows, columns = _pair(stride) or (1, 1)
        if min(rows, columns) > 0 and (rows, columns) != (1, 1):
            input, stride = input[..., ::rows, ::columns], 1
    return _TORCHS(input, weight, bias, stride, padding, dilation, groups)


def _is_narrow(input: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether a 1x1 convolution of few channels is asked for, and one that torch would not refuse."""
    if not (isinstance(input, Tensor) and isinstance(weight, Tensor) and input.layout == torch.strided):
        return False
    fits = weight.dim() == 4 and input.dim() in (3, 4) and input.shape[-3] == weight.shape[1] * groups
    return fits and weight.shape[1] < SAFE_CHANNELS and tuple(weight.shape[2:]) == (1, 1)


def _pair(value: Any) -> tuple[int, int] | None:
    """For both dimensions of an image, as torch takes it: one number, in a sequence or not, or two; None if not so."""
    try:
        numbers = [operator.index(number) for number in (value if isinstance(value, list | tuple) else [value])]
    except TypeError:
        return None
    return (numbers[0], numbers[-1]) if len(numbers) in (1, 2) else None
