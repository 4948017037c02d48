"""Weights rounded to a shorter number format, as they go into a file: one for all, or each tensor's own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.architectures.ties import memory_of

FORMATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

SOURCE = "source"
"""Each tensor is stored in the number format that it has in the file it came from."""

_SHORT = {dtype: name for name, dtype in FORMATS.items() if name != "fp32"}


def shorter_formats(store: str, dtypes: Mapping[str, torch.dtype]) -> str:
    """The formats of 16 bits that `rounded` would give tensors, in words; "" where all stay in 32.

    Args:
        dtypes: as `LoadedModel.dtypes`.
    """
    if store != SOURCE:
        return "" if store == "fp32" else store
    return " and ".join(sorted({_SHORT[dtype] for dtype in dtypes.values() if dtype in _SHORT}))


def rounded(
    state: Mapping[str, Tensor], store: str, dtypes: Mapping[str, torch.dtype] | None = None
) -> dict[str, Tensor]:
    """The tensors as they go into a file.

    Where a format is asked for, only tensors of two or more dimensions change: what has one (biases, norms, running
    statistics) takes no space worth saving, and its rounding would touch a whole channel at once.

    Args:
        state: in float32.
        store: fp32 leaves everything as it is; fp16 rounds to 11 significant bits up to 65,504, bf16 to 8 bits;
            source rounds the tensors that have 16 bits in `dtypes`, whatever their dimensions, but for one that
            training made too large for that, which stays in 32.
        dtypes: number formats of the source by name, as `LoadedModel.dtypes`.

    Raises:
        FairpruneError: a weight is too large for the format that was asked for.
    """
    found: dict[str, Tensor] = {}
    made: dict[object, Tensor] = {}
    for name, tensor in state.items():
        memory = memory_of(tensor) if tensor.numel() else name  # weights that are tied stay so
        if memory not in made:
            made[memory] = _one(name, tensor, store, (dtypes or {}).get(name))
        found[name] = made[memory]
    return found


def _one(name: str, tensor: Tensor, store: str, source: torch.dtype | None) -> Tensor:
    """A tensor as it goes into a file; `source` is its number format in the file it came from."""
    if store == SOURCE:
        short = tensor.detach().to(source) if source in _SHORT and tensor.is_floating_point() else tensor
        return short if bool(short.isfinite().all()) else tensor
    if store == "fp32" or not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor
    short = tensor.detach().to(FORMATS[store])
    if bool(tensor.isfinite().all()) and not bool(short.isfinite().all()):
        largest = float(tensor.abs().max())
        raise FairpruneError(f"{name} holds {largest:.4g}, too large for fp16", where="--store", hint="use bf16")
    return short
