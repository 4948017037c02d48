"""Layers whose weights can be pruned one by one."""

from __future__ import annotations

from torch import nn

from fairprune_cli.models.architectures.attention import SelfAttention


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of convolutions, linear layers and attention by name; biases and norms are never pruned singly.

    One that several layers share is there once, under the first of its names.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, nn.Parameter] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and isinstance(weight, nn.Parameter):
            found.setdefault(names[id(weight)], weight)
        projection = getattr(module, "in_proj_weight", None)
        if isinstance(module, nn.MultiheadAttention | SelfAttention) and isinstance(projection, nn.Parameter):
            found.setdefault(names[id(projection)], projection)
    return found
