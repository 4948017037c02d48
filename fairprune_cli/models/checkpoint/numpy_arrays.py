"""numpy's arrays in a checkpoint: real ones of a trusted file, and the records that stand for them in any other."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.models.checkpoint.inert import SIZE_LIMIT, Inert

_TYPES = {
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64, "i1": torch.int8, "i2": torch.int16,
    "i4": torch.int32, "i8": torch.int64, "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip


def tensor_of_array(value: Any) -> Tensor | None:
    """An array as a tensor, without its code; None for whatever is no array of plain numbers.

    numpy pickles an array as `_reconstruct(...)` with the state (version, shape, type, by columns, bytes), or, since
    protocol 5, as `_frombuffer(bytes, type, shape, order)`.
    """
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value)) if value.dtype.str[1:] in _TYPES else None
    if not isinstance(value, Inert) or not value.origin.module.startswith("numpy"):
        return None
    if value.origin.name == "_reconstruct" and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, kind, by_columns, data = value.state
    elif value.origin.name == "_frombuffer" and len(value.args) == 4:
        data, kind, shape, order = value.args
        by_columns = order == "F"
    else:
        return None
    dtype = _type_of(kind)
    listed = (
        isinstance(shape, tuple) and len(shape) <= 64 and all(type(n) is int and 0 <= n < SIZE_LIMIT for n in shape)
    )
    if dtype is None or not listed or not isinstance(data, bytes | bytearray):
        return None
    if len(data) != math.prod(shape) * dtype.itemsize:
        return None
    if not data:
        return torch.empty(shape, dtype=dtype)
    with warnings.catch_warnings():
        # That the bytes cannot be written to: whoever reads the tensor copies it, within the budget of the file.
        warnings.simplefilter("ignore", UserWarning)
        flat = torch.frombuffer(data, dtype=dtype)
    return flat.reshape(shape[::-1]).permute(*reversed(range(len(shape)))) if by_columns else flat.reshape(shape)


def _type_of(kind: Any) -> torch.dtype | None:
    if not isinstance(kind, Inert) or str(kind.origin) != "numpy.dtype" or not kind.args:
        return None
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "="
    return _TYPES.get(str(kind.args[0])) if order in ("<", "=", "|") else None
