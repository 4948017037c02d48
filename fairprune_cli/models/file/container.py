"""Reading and writing a safetensors file: dtypes, entries of a tensor, a layout that is always the same."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_path
from fairprune_cli.models.file.header import MEND

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

Piece = tuple[str, list[int], np.ndarray]  # dtype by its safetensors name, shape, entries by `elements_of`


def is_finite(tensor: Tensor) -> bool:
    """Whether no entry is NaN or infinite."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # A sum carries every NaN and infinity in one pass without a temporary; it may overflow by itself.
    total = tensor.sum(dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32)
    return math.isfinite(total.item()) or bool(torch.isfinite(tensor).all())


def elements_of(tensor: Tensor) -> np.ndarray:
    """The entries in row-major order as integers of the same width, since numpy has no bfloat16."""
    return tensor.contiguous().reshape(-1).view(_BITS[tensor.element_size()]).numpy()


def open_safetensors(path: Path, with_tensors: bool = False) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the stored tensors; these are views of the mapped file until they are unpacked.

    Raises:
        FairpruneError: no such file, or not a sound safetensors file.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            names = sorted(file.keys()) if with_tensors else []
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise FairpruneError("no such file", where=str(path)) from error
    except Exception as error:  # whatever the library says of a damaged file
        raise FairpruneError(f"cannot be read as safetensors: {error}", where=str(path), hint=MEND) from error


def write_safetensors(path: Path, pieces: Mapping[str, Piece], metadata: Mapping[str, str]) -> None:
    """Write `pieces` by name as the safetensors library would, but with the metadata in sorted order.

    The library's own order of the metadata is random, so that the same model would give other bytes.
    """
    table: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    # Widest entries first, so that every tensor is aligned in the file.
    order = sorted(pieces, key=lambda name: (-pieces[name][2].itemsize, name))
    offset = 0
    for name in order:
        dtype, shape, elements = pieces[name]
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + elements.nbytes]}
        offset += elements.nbytes
    try:
        header = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise FairpruneError("a name has characters that UTF-8 cannot hold", where=str(path)) from error
    header += b" " * (-len(header) % 8)
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        stream.write(len(header).to_bytes(8, "little"))
        stream.write(header)
        for name in order:
            stream.write(pieces[name][2].data)
