"""A tensor with a mask as the pieces that a file stores, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.models.file import encodings
from fairprune_cli.models.file.container import DTYPE_NAMES, DTYPES, Piece, elements_of, is_finite
from fairprune_cli.models.file.header import MAX_RANK


def packed_tensor(name: str, tensor: Tensor, mask: Tensor, dense: bool) -> tuple[dict[str, Piece], dict[str, Any]]:
    """What is stored for a masked tensor, and its entry of `encodings`."""
    dtype, shape, elements = DTYPE_NAMES[tensor.dtype], list(tensor.shape), elements_of(tensor)
    nonzero = (tensor != 0).contiguous().reshape(-1).numpy()
    kept = nonzero if dense else mask.detach().cpu().contiguous().reshape(-1).numpy()
    encoding = "dense"
    if not dense:
        exact = np.array_equal(kept, nonzero)
        encoding = encodings.choose(kept, elements.itemsize, dense_is_exact=exact)
    entry = {"encoding": encoding, "shape": shape, "dtype": dtype, "kept": int(np.count_nonzero(kept))}
    if encoding == "dense":
        # Pruning by multiplication leaves -0.0; every encoding reads back as +0.0.
        return {name: (dtype, shape, np.where(kept, elements, elements.dtype.type(0)))}, entry
    pack = encodings.pack_bitmask if encoding == "bitmask" else encodings.pack_gaps
    packed, values = pack(kept), elements[np.flatnonzero(kept)]
    return {
        f"{name}.{encoding}": ("U8", [packed.size], packed),
        f"{name}.values": (dtype, [values.size], values),
    }, entry


def unpacked_tensor(name: str, entry: dict[str, Any], stored: dict[str, Tensor]) -> tuple[Tensor, np.ndarray | None]:
    """The dense tensor of an entry of `encodings`; pops its parts from `stored`.

    With it the positions of the kept entries, or None where these are the entries that are not zero.
    """
    encoding, shape, dtype = entry["encoding"], entry["shape"], DTYPES[entry["dtype"]]
    present = {key for key in (name, f"{name}.{encoding}", f"{name}.values") if key in stored}
    expected = {name} if encoding == "dense" else {f"{name}.{encoding}", f"{name}.values"}
    if not expected <= present or (encoding != "dense" and name in present):
        raise encodings.EncodingError(f"encoded as {encoding}, but the file has {sorted(present)}")
    if encoding == "dense":
        tensor = stored[name]
        if list(tensor.shape) != shape or tensor.dtype != dtype:
            raise encodings.EncodingError("shape or dtype differ from the header's")
        nonzero = int(torch.count_nonzero(tensor))
        if nonzero != entry["kept"]:
            raise encodings.EncodingError(f"{nonzero} entries are not zero, the header says {entry['kept']}")
        return tensor.clone(), None
    packed, values = stored.pop(f"{name}.{encoding}"), stored.pop(f"{name}.values")
    if packed.ndim != 1 or packed.dtype != torch.uint8 or values.ndim != 1 or values.dtype != dtype:
        raise encodings.EncodingError(f"not one-dimensional, or {encoding} is not U8 or values not {entry['dtype']}")
    unpack = encodings.unpack_bitmask if encoding == "bitmask" else encodings.unpack_gaps
    total = math.prod(shape)
    kept = unpack(packed.numpy(), total)
    if not kept.size == values.numel() == entry["kept"]:
        raise encodings.EncodingError(
            f"{encoding} keeps {kept.size}, values has {values.numel()}, the header says {entry['kept']}"
        )
    elements = elements_of(values)
    flat = np.zeros(total, dtype=elements.dtype)
    flat[kept] = elements
    return torch.from_numpy(flat).view(dtype).reshape(shape), kept


def mask_of(kept: np.ndarray, tensor: Tensor) -> Tensor:
    flat = np.zeros(tensor.numel(), dtype=bool)
    flat[kept] = True
    return torch.from_numpy(flat).reshape(tensor.shape)


def why_not_stored(tensor: Tensor, mask: Tensor | None) -> str:
    """Why a tensor with this mask cannot be stored; empty when it can."""
    if tensor.dtype not in DTYPE_NAMES or tensor.layout != torch.strided:
        return f"{tensor.dtype} {tensor.layout} cannot be stored"
    if tensor.ndim > MAX_RANK:
        return f"has {tensor.ndim} dimensions, at most {MAX_RANK} can be stored"
    if not is_finite(tensor):
        return "has NaN or infinite values"
    if mask is None:
        return ""
    if mask.dtype != torch.bool or mask.shape != tensor.shape:
        return f"its mask is {mask.dtype} {list(mask.shape)}, wanted bool {list(tensor.shape)}"
    strays = int(((tensor != 0) & ~mask.cpu()).sum())
    return f"{strays} pruned entries are not zero" if strays else ""
