"""Weights rounded to a shorter number format, as they go into a file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.architectures.ties import memory_of

FORMATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def rounded(state: Mapping[str, Tensor], store: str) -> dict[str, Tensor]:
    """The tensors as they go into a file.

    Only tensors of two or more dimensions change: what has one (biases, norms, running statistics) takes no space
    worth saving, and its rounding would touch a whole channel at once.

    Args:
        store: fp32 leaves everything as it is; fp16 rounds to 11 significant bits up to 65,504, bf16 to 8 bits.

    Raises:
        FairpruneError: a weight is too large for fp16.
    """
    if store == "fp32":
        return dict(state)
    found: dict[str, Tensor] = {}
    made: dict[object, Tensor] = {}
    for name, tensor in state.items():
        found[name] = tensor
        if tensor.is_floating_point() and tensor.ndim >= 2:
            if tensor.numel() and memory_of(tensor) in made:  # weights that are tied stay so
                found[name] = made[memory_of(tensor)]
                continue
            found[name] = made[memory_of(tensor)] = tensor.detach().to(FORMATS[store])
            if bool(tensor.isfinite().all()) and not bool(found[name].isfinite().all()):
                largest = float(tensor.abs().max())
                raise FairpruneError(
                    f"{name} holds {largest:.4g}, too large for fp16", where="--store", hint="use bf16"
                )
    return found
