"""Layers say how wide they are in attributes beside their tensors; after a removal both must say the same."""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

# Torch warns where a norm without tensors declares another width than it is given, which nothing depends on: no tensor
# that is left would tell the new one.
warnings.filterwarnings("ignore", message="input's size at dim=", category=UserWarning)

# Tensors that have an entry per channel, the first that a norm has is asked.
_PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def set_widths(module: nn.Module) -> None:
    """Make the widths that a layer declares agree with the tensors that it now has.

    The declared widths are read first: they are those before the removal, and say how large a group is. Groups go as a
    whole, but the one group of GroupNorm(1, C), which norms over all channels, stays one. A layer that is not known
    here, or has no tensors, is left as it is; it may be called again at any time.

    Args:
        module: one layer; its children are not looked at.
    """
    if isinstance(module, _ConvNd):
        _set_convolution(module)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _BatchNorm | _InstanceNorm):
        module.num_features = _width(module, module.num_features)
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
