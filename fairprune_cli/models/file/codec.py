"""The model file: a safetensors file in which pruned tensors take the space of what was kept.

`docs/format.md` specifies it. The mask decides what is stored, not `w != 0`: a kept weight that
happens to be zero stays kept, and every value comes back bit for bit (pruned entries as +0.0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError, Problems, nearest
from fairprune_cli.models.file import encodings
from fairprune_cli.models.file.container import (
    DTYPE_NAMES,
    DTYPES,
    Piece,
    elements_of,
    is_finite,
    open_safetensors,
    write_safetensors,
)
from fairprune_cli.models.file.header import (
    FORMAT,
    FORMAT_VERSION,
    MAX_RANK,
    MEND,
    STORED_GRANULARITIES,
    ModelHeader,
    dump,
    parsed_encodings,
)

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "ModelHeader",
    "is_model_file",
    "load_network",
    "load_with_header",
    "read_header",
    "read_masks",
    "read_model",
    "save_model",
]

MAX_DENSE_BYTES = 16 << 30  # all tensors of a file, unpacked; a reader refuses more before it allocates


def save_model(
    path: Path,
    model: nn.Module | Mapping[str, Tensor],
    *,
    header: ModelHeader,
    masks: Mapping[str, Tensor] | None = None,
    dense: bool = False,
) -> None:
    """Write a model file; the same model gives the same bytes.

    Args:
        model: a module, or its state dict. Any memory format and device.
        masks: True where kept, by tensor name and of its shape. A tensor without a mask is dense.
        dense: write every tensor under its own name, larger and readable without this format. The
            masks of such a file are what differs from zero, so a kept zero reads back as pruned.

    Raises:
        FairpruneError: a mask without a tensor, of another shape or over an entry that is pruned and
            not zero; NaN or infinity; a dtype outside `DTYPES`; names that collide. All at once.
    """
    state = dict(model.state_dict() if isinstance(model, nn.Module) else model)
    masks = dict(masks or {})
    problems = Problems(str(path))
    if header.granularity not in STORED_GRANULARITIES:
        hint = nearest(header.granularity, STORED_GRANULARITIES)
        problems.add(f"unknown granularity {header.granularity!r}: {hint}")
    if masks and header.granularity == "dense":
        problems.add("granularity is dense, but masks are given")
    problems.extend(f"mask {name!r}: the model has no such tensor" for name in sorted(masks.keys() - state))
    pieces: dict[str, Piece] = {}
    described: dict[str, dict[str, Any]] = {}
    for name in sorted(state):
        tensor, mask = state[name].detach().cpu(), masks.get(name)
        if problem := _cannot_store(tensor, mask):
            problems.add(f"{name!r}: {problem}")
            continue
        if mask is None:
            new = {name: (DTYPE_NAMES[tensor.dtype], list(tensor.shape), elements_of(tensor))}
        else:
            new, described[name] = _packed(name, tensor, mask, dense)
        problems.extend(f"two tensors would be stored as {key!r}" for key in sorted(new.keys() & pieces))
        pieces.update(new)
    problems.raise_if_any()
    write_safetensors(path, pieces, {**header.to_metadata(), "encodings": dump(described)})


def _packed(name: str, tensor: Tensor, mask: Tensor, dense: bool) -> tuple[dict[str, Piece], dict[str, Any]]:
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


def read_model(path: Path) -> tuple[dict[str, Tensor], ModelHeader]:
    """The dense state dict of a model file, and its header; the dtypes are those of the file.

    Raises:
        FairpruneError: missing, damaged, not of this format, too large, or with NaN or infinite values.
    """
    state, header, _ = _read(path)
    return state, header


def read_masks(path: Path) -> dict[str, Tensor]:
    """True where an entry was kept, bool of the tensor's shape, for every tensor that had a mask.

    In a file written with `dense=True` these are the entries that are not zero.
    """
    return _read(path, with_masks=True)[2]


def read_header(path: Path) -> ModelHeader:
    """What the file says about its model, without reading a tensor; raises as `read_model`."""
    return ModelHeader.from_metadata(open_safetensors(path)[0], str(path))


def is_model_file(path: Path) -> bool:
    """Whether `path` is a safetensors file whose header names this format, of any version."""
    try:
        return open_safetensors(path)[0].get("format") == FORMAT
    except FairpruneError:
        return False


def load_network(path: Path, arch: str | None = None) -> nn.Module:
    """The network of `load_with_header`, alone."""
    return load_with_header(path, arch)[0]


def load_with_header(path: Path, arch: str | None = None) -> tuple[nn.Module, ModelHeader]:
    """Build the architecture, set its widths from the file and load strictly; in eval mode on the CPU.

    Whatever reads a network from a file of this format does it here.

    Args:
        path: a model file or a run folder.
            Its tensors keep the dtypes of the file; where these are mixed, `.float()` makes the model run.
        arch: overrides the architecture of the header. A header that names a `package.module:factory`
            is refused without it: a file must not choose which code runs.

    Raises:
        FairpruneError: as `read_model`; or the tensors are not those of the architecture, or the classes not as many
            as its outputs.
    """
    from fairprune_cli.models import architectures

    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    state, header = read_model(path)
    count = header.built_for
    try:
        name = arch or header.architecture
        # `skeleton` refuses names that mean "import this"; only what the caller typed may be imported.
        typed = arch is not None and architectures.is_import_path(arch)
        # A network of one's own may heed the number of classes or not.
        if not typed and not any(tensor.ndim and tensor.shape[0] == count for tensor in state.values()):
            raise FairpruneError(f"the header names {count} classes, but no tensor has that many outputs")
        model = (architectures.build if typed else architectures.skeleton)(name, count)
        outputs = architectures.signature(name).classes_of(state)
        if outputs is not None and outputs != count:
            raise FairpruneError(f"the header names {count} classes, the network has {outputs} outputs")
        kinds = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
        if len(kinds) > 1:  # fitting runs the model once, which takes one dtype
            floats = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
            model = architectures.load_strictly(architectures.fit_to_state(model, floats), state, str(path))
        else:
            model = architectures.fit_to_state(model, state)
        return model.eval(), header
    except FairpruneError as error:
        raise FairpruneError(error.what, where=error.where or str(path), hint=error.hint) from error


def _read(path: Path, with_masks: bool = False) -> tuple[dict[str, Tensor], ModelHeader, dict[str, Tensor]]:
    where = str(path)
    metadata, stored = open_safetensors(path, with_tensors=True)
    header = ModelHeader.from_metadata(metadata, where)
    problems = Problems(where)
    described = parsed_encodings(metadata, DTYPES, problems)
    problems.raise_if_any(MEND)
    size = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    size += sum(math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize for entry in described.values())
    if size > MAX_DENSE_BYTES:
        raise FairpruneError(f"unpacks to {size} bytes, the limit is {MAX_DENSE_BYTES}", where=where)
    for name, tensor in stored.items():
        if not is_finite(tensor):
            problems.add(f"{name!r} has NaN or infinite values")
    # Parts are only taken from what the file stores, never from what was unpacked before.
    unpacked: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for name, entry in described.items():
        try:
            dense, kept = _unpacked(name, entry, stored)
        except encodings.EncodingError as error:
            problems.add(f"{name!r}: {error}")
            continue
        unpacked[name] = dense
        if with_masks:
            masks[name] = dense != 0 if kept is None else _mask(kept, dense)
    problems.raise_if_any(MEND)
    # Copies, because what is left are views of the mapped file: another program that writes into it would
    # change the weights of a loaded model, or end the process.
    whole = {name: tensor.clone() for name, tensor in stored.items() if name not in unpacked}
    return dict(sorted({**whole, **unpacked}.items())), header, masks


def _unpacked(name: str, entry: dict[str, Any], stored: dict[str, Tensor]) -> tuple[Tensor, np.ndarray | None]:
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


def _mask(kept: np.ndarray, tensor: Tensor) -> Tensor:
    flat = np.zeros(tensor.numel(), dtype=bool)
    flat[kept] = True
    return torch.from_numpy(flat).reshape(tensor.shape)


def _cannot_store(tensor: Tensor, mask: Tensor | None) -> str:
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
