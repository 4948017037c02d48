"""Layers say how wide they are in attributes beside their tensors; after a removal both must say the same."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

# Axes behind that of the channels.
_AXES = {nn.InstanceNorm1d: 1, nn.InstanceNorm2d: 2, nn.InstanceNorm3d: 3}
# Tensors that have an entry per channel, the first that a norm has is asked.
_PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def set_widths(module: nn.Module) -> None:
    """Make the widths that a layer declares agree with the tensors that it now has.

    The declared widths are read first: they are those before the removal, and say how large a group is. Groups go as a
    whole, but the one group of GroupNorm(1, C), which norms over all channels, stays one. An instance norm without
    tensors, of which torch warns where it declares another width than it is given, takes that of its next input. Any
    other layer that is not known here, or has no tensors, is left as it is; it may be called again at any time.

    Args:
        module: one layer; its children are not looked at.
    """
    if isinstance(module, _ConvNd):
        _set_convolution(module)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _BatchNorm | _InstanceNorm):
        module.num_features = _width(module, module.num_features)
        if isinstance(module, tuple(_AXES)) and not _has_tensors(module) and not _learns(module):
            module.register_forward_pre_hook(_learn_width)
    elif isinstance(module, nn.GroupNorm):
        width = _width(module, module.num_channels)
        if module.num_groups > 1:
            module.num_groups = module.num_groups * width // module.num_channels
        module.num_channels = width
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm) and isinstance(module.weight, Tensor):
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)


def _set_convolution(module: _ConvNd) -> None:
    first, second = module.weight.shape[:2]
    transposed = isinstance(module, _ConvTransposeNd)
    before = module.in_channels if transposed else module.out_channels
    if module.groups > 1:
        module.groups = module.groups * first // before
    widths = first, second * module.groups
    module.in_channels, module.out_channels = widths if transposed else widths[::-1]


def _width(norm: nn.Module, before: int) -> int:
    tensors = (getattr(norm, name, None) for name in _PER_CHANNEL)
    return next((len(tensor) for tensor in tensors if isinstance(tensor, Tensor)), before)


def _has_tensors(norm: nn.Module) -> bool:
    return any(isinstance(getattr(norm, name, None), Tensor) for name in _PER_CHANNEL)


def _learns(norm: nn.Module) -> list[int]:
    return [key for key, hook in norm._forward_pre_hooks.items() if hook is _learn_width]


def _learn_width(norm: _InstanceNorm, inputs: tuple[Any, ...]) -> None:
    """Take the width of an input, once."""
    for key in _learns(norm):
        del norm._forward_pre_hooks[key]
    axes = next(axes for kind, axes in _AXES.items() if isinstance(norm, kind))
    norm.num_features = inputs[0].shape[-1 - axes]
