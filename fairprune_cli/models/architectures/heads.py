"""Heads as they are stored: without bias, or with auxiliary ones beside them that serve training alone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fairprune_cli.models.architectures.signatures import signature
from fairprune_cli.models.architectures.torchvision_models import AUXILIARY


def settle_heads(model: nn.Module, name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make the head of a built network the one that its tensors are of, before they are loaded.

    Args:
        model: built as `name`; changed in place: a head whose bias `state` lacks loses its own.
        name: of the architecture.
        state: the network's tensors under its own names.

    Returns:
        The tensors without those of auxiliary heads, which a network is never built with.
    """
    for bias in signature(name).absent_biases(state):
        layer = model.get_submodule(bias.rpartition(".")[0])
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            layer.bias = None
    starts = AUXILIARY.get(name, ())
    return {key: tensor for key, tensor in state.items() if not (starts and key.startswith(starts))}
