"""Tied weights: one parameter under several names, because two modules share it or one module stands in two places.

A state dict has it under every name, and loading with `assign=True` makes a parameter of its own for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError


def tied(model: nn.Module) -> list[list[str]]:
    """The names of each parameter and buffer that has several, the one of `named_parameters` first."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            names.setdefault(id(tensor), []).append(name)
    return [several for several in names.values() if len(several) > 1]


def with_all_names(state: Mapping[str, Tensor], groups: list[list[str]]) -> dict[str, Tensor]:
    """The state with every name of a tied weight of which it has one.

    Raises:
        FairpruneError: it has different numbers under names of one weight.
    """
    full = dict(state)
    for names in groups:
        present = [name for name in names if name in full]
        for other in present[1:]:
            if not _same(full[present[0]], full[other]):
                raise FairpruneError(
                    f"{present[0]} and {other} are one weight in the network, but hold different numbers",
                    hint=f"torch would take those of {present[-1]}, the last of them; save the checkpoint with one, or "
                    "build the network with weights of their own",
                )
        full |= {name: full[present[0]] for name in names if present and name not in full}
    return full


def tie(model: nn.Module, groups: list[list[str]]) -> None:
    """Let all names of a group be the one parameter or buffer that its first name is."""
    for first, *others in groups:
        owner, leaf = owner_of(model, first)
        shared = owner._parameters.get(leaf, owner._buffers.get(leaf))
        for name in others:
            module, own = owner_of(model, name)
            table: dict[str, Any] = module._parameters if own in module._parameters else module._buffers
            table[own] = shared


def owner_of(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that a tensor belongs to, and the tensor's name there."""
    owner, _, leaf = name.rpartition(".")
    return model.get_submodule(owner), leaf


def memory_of(tensor: Tensor) -> tuple[object, ...]:
    """What is equal for tensors that are the same numbers in the same memory."""
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and torch.equal(one.cpu(), other.cpu()))
