"""What is remembered of a parameter lies in memory as the parameter does.

CUDA's fused and foreach kernels compare the strides of a parameter, its gradient and its momentum, and refuse or crawl
where they differ. Versions of torch pass over dimensions of one entry there; here these are compared as well. A CPU
computes with any.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def like(value: Tensor, parameter: Tensor) -> Tensor:
    """The value, of the parameter's shape, in the parameter's strides; itself where it has them."""
    if value.stride() == parameter.stride():
        return value
    made = torch.empty_strided(parameter.size(), parameter.stride(), dtype=value.dtype, device=value.device)
    return made.copy_(value)


def is_channels_last(tensor: Tensor) -> bool:
    """Whether its strides are exactly those that torch gives a channels-last tensor, and no other's."""
    if tensor.dim() != 4:
        return False
    _, c, h, w = tensor.shape
    strides = (h * w * c, 1, w * c, c)
    return tensor.stride() == strides != (c * h * w, h * w, w, 1)


def refuse_other_strides(model: nn.Module, states: Mapping[Tensor, Mapping[str, object]]) -> None:
    """Raise where something that is remembered of a parameter lies in memory otherwise than the parameter.

    Args:
        states: what is remembered of each of the model's parameters, as an optimiser's `state`; only tensors of the
            parameter's shape are looked at.

    Raises:
        ValueError: names the parameter.
    """
    for name, parameter in model.named_parameters():
        for key, value in states.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                raise ValueError(f"{key} of {name} has strides {value.stride()}, the parameter {parameter.stride()}")
