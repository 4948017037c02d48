"""Tensors as lines: their entries one after the other as they lie in memory, so that all of them are one array.

A mask, what waits behind it and every score of single entries are kept as one flat tensor over such lines. Whatever is
done to all entries is then one operation, on an accelerator one kernel or one `foreach` call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError


def line(tensor: Tensor, parameter: Tensor) -> Tensor:
    """View [n] of the tensor's entries in the order in which the parameter's lie in memory.

    Raises:
        RuntimeError: the tensor's lie in another order.
    """
    if tensor.stride() == parameter.stride():
        return tensor.as_strided((tensor.numel(),), (1,))
    return (tensor.permute(0, 2, 3, 1) if channels_last(parameter) else tensor).view(-1)


def gradient_line(name: str, parameter: nn.Parameter) -> Tensor:
    """The gradient's entries in the order in which the parameter's lie in memory, [n]."""
    if parameter.grad is None:
        raise FairpruneError(
            f"the score needs a gradient of {name}, and none reaches it: the network's code cuts it off there",
            hint="use a --method that needs none, such as magnitude, or freeze the parameter",
        )
    return line(parameter.grad.detach(), parameter)


def array(tensor: Tensor, parameter: Tensor) -> np.ndarray:
    """`line` of a tensor on the host, for numpy; shares its memory."""
    numbers: np.ndarray = line(tensor.detach(), parameter).numpy()
    return numbers


def shaped(flat: Tensor, parameters: Iterable[Tensor]) -> list[Tensor]:
    """The inverse: views of flat [sum of n], one per parameter, in its shape and strides."""
    views, start = [], flat.storage_offset()
    for parameter in parameters:
        views.append(flat.as_strided(parameter.size(), parameter.stride(), start))
        start += parameter.numel()
    return views


def parts(values: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Views of consecutive parts of values [sum of sizes]."""
    edges = np.cumsum(sizes)
    return [values[end - size : end] for size, end in zip(sizes, edges, strict=True)]


def channels_last(parameter: Tensor) -> bool:
    """Whether it is a convolution's weight that lies in memory in that order and in no other."""
    last = parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return last and not parameter.is_contiguous()
