"""Layers whose weights can be pruned one by one."""

from __future__ import annotations

from torch import nn

from fairprune_cli.models.architectures.attention import SelfAttention


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of convolutions, linear layers and attention by name; biases and norms are never pruned singly."""
    found: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and isinstance(weight, nn.Parameter):
            found[f"{name}.weight" if name else "weight"] = weight
        projection = getattr(module, "in_proj_weight", None)
        if isinstance(module, nn.MultiheadAttention | SelfAttention) and isinstance(projection, nn.Parameter):
            found[f"{name}.in_proj_weight"] = projection
    return found
