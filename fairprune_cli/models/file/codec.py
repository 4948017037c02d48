"""The model file: a safetensors file in which pruned tensors take the space of what was kept.

`docs/format.md` specifies it. The mask decides what is stored, not `w != 0`: a kept weight that
happens to be zero stays kept, and every value comes back bit for bit (pruned entries as +0.0).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError, Problems, named, nearest
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models.architectures.ties import memory_of
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
    MEND,
    STORED_GRANULARITIES,
    ModelHeader,
    buffers_left_out,
    dump,
    parsed_encodings,
)
from fairprune_cli.models.file.packing import mask_of, packed_tensor, unpacked_tensor, why_not_stored
from fairprune_cli.models.file.unfolding import refuse_excess, refuse_unfit

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
    "stored_tensors",
]


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
    state = stored_tensors(model, header.removed) if isinstance(model, nn.Module) else dict(model)
    masks = dict(masks or {})
    aliases = {name: other for name, other in _aliases(state).items() if name not in masks}
    problems = Problems(str(path))
    if header.granularity not in STORED_GRANULARITIES:
        hint = nearest(header.granularity, STORED_GRANULARITIES)
        problems.add(f"unknown granularity {header.granularity!r}: {hint}")
    if masks and header.granularity == "dense":
        problems.add("granularity is dense, but masks are given")
    problems.extend(f"mask {name!r}: the model has no such tensor" for name in sorted(masks.keys() - state))
    loose = buffers_left_out(header.removed)
    problems.extend(f"{name!r} shrank, but is not there" for name in loose if name not in state)
    pieces: dict[str, Piece] = {}
    described: dict[str, dict[str, Any]] = {}
    for name in sorted(state.keys() - aliases):
        tensor, mask = state[name].detach().cpu(), masks.get(name)
        if problem := why_not_stored(tensor, mask):
            problems.add(f"{name!r}: {problem}")
            continue
        if mask is None:
            new = {name: (DTYPE_NAMES[tensor.dtype], list(tensor.shape), elements_of(tensor))}
        else:
            new, described[name] = packed_tensor(name, tensor, mask, dense)
        problems.extend(f"two tensors would be stored as {key!r}" for key in sorted(new.keys() & pieces))
        pieces.update(new)
    problems.raise_if_any()
    header = dataclasses.replace(header, aliases=aliases)
    write_safetensors(path, pieces, {**header.to_metadata(), "encodings": dump(described)})


def stored_tensors(model: nn.Module, removed: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a file of the model holds, by name: its state dict, and the buffers that are not in it but shrank.

    Args:
        removed: as in `ModelHeader`.
    """
    buffers = dict(model.named_buffers(remove_duplicate=False))
    found = {name: buffers.get(name) for name in buffers_left_out(removed)}
    return model.state_dict() | {name: buffer for name, buffer in found.items() if buffer is not None}


def _aliases(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of weights that are tied and have one before, each with the first."""
    first: dict[object, str] = {}
    kept = {name: first.setdefault(memory_of(tensor), name) for name, tensor in state.items() if tensor.numel()}
    return {name: other for name, other in kept.items() if name != other}


def read_model(path: Path) -> tuple[dict[str, Tensor], ModelHeader]:
    """The dense state dict of a model file, and its header; the dtypes are those of the file.

    Weights that are tied are one tensor under all their names. Buffers that state dicts leave out are there if they
    shrank; `removed` says so.

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


def load_network(path: Path, arch: str | nn.Module | None = None) -> nn.Module:
    """The network of `load_with_header`, alone."""
    return load_with_header(path, arch)[0]


def load_with_header(path: Path, arch: str | nn.Module | None = None) -> tuple[nn.Module, ModelHeader]:
    """Build the architecture, set its widths from the file and load strictly; in eval mode on the CPU.

    Whatever reads a network from a file of this format does it here.

    Args:
        path: a model file or a run folder.
            Its tensors keep the dtypes of the file; where these are mixed, `.float()` makes the model run.
        arch: overrides the architecture of the header. A header that names a `package.module:factory`
            is refused without it: a file must not choose which code runs. A module is copied, and the copy takes the
            tensors: it is the network before its channels were removed, with a forward of its own.

    Returns:
        The network; and the header, whose `removed` has every tensor that is smaller than the architecture's, also
        where the file, older or of another tool, does not say so.

    Raises:
        FairpruneError: as `read_model`; or the tensors are not those of the architecture, or the classes not as many
            as its outputs.
    """
    from fairprune_cli.models import architectures

    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    state, header, _ = _read(path, check=lambda header, shapes: refuse_unfit(header, shapes, arch))
    try:
        model, state = _dense_network(header, state, arch)
        architectures.materialise(model, architectures.shapes_before(state, header.removed))
        architectures.make_plain(model)  # before a file is written, weights that are computed become what they are
        shapes = architectures.shapes_of(model)
        shape = Transform.from_dict(header.transform).shape if header.transform else None
        model = architectures.fit_to_state(model, state, header.removed, shape)
    except FairpruneError as error:
        raise FairpruneError(error.what, where=error.where or str(path), hint=error.hint) from error
    shrunk = architectures.account_of(model, shapes)
    removed = header.removed | {name: {**entry, **header.removed.get(name, {})} for name, entry in shrunk.items()}
    return model.eval(), dataclasses.replace(header, removed=removed)


def _dense_network(
    header: ModelHeader, state: dict[str, Tensor], arch: str | nn.Module | None
) -> tuple[nn.Module, dict[str, Tensor]]:
    """What a file's tensors are loaded into, and those that it has."""
    from fairprune_cli.models import architectures

    if isinstance(arch, nn.Module):
        return copy.deepcopy(arch), state
    if arch is not None and not isinstance(arch, str):
        what = getattr(arch, "__name__", type(arch).__name__)
        raise FairpruneError(
            f"arch is {what}, neither a network nor a name", where="arch",
            hint=f"give the network itself, as arch={what}(...), or \"package.module:factory\"",
        )  # fmt: skip
    count, name = header.built_for, arch or header.architecture
    # `skeleton` refuses names that mean "import this"; only what the caller typed may be imported.
    typed = arch is not None and architectures.is_import_path(arch)
    # A network of one's own may heed the number of classes or not.
    if not typed and not any(tensor.numel() and tensor.shape[:1] == (count,) for tensor in state.values()):
        raise FairpruneError(f"the header names {count} classes, but no tensor has that many outputs")
    room = sum(tensor.nbytes for tensor in state.values())
    model = architectures.build(name, count) if typed else architectures.skeleton(name, count, room)
    outputs = architectures.signature(name).classes_of(state)
    if outputs is not None and outputs != count:
        raise FairpruneError(f"the header names {count} classes, the network has {outputs} outputs")
    return model, architectures.settle_heads(model, name, state)


Check = Callable[[ModelHeader, Mapping[str, Sequence[int]]], None]


def _read(
    path: Path, with_masks: bool = False, check: Check | None = None
) -> tuple[dict[str, Tensor], ModelHeader, dict[str, Tensor]]:
    """The tensors, the header and the masks; `check` sees the shapes of sparse tensors before they are unfolded."""
    where = str(path)
    metadata, stored = open_safetensors(path, with_tensors=True)
    header = ModelHeader.from_metadata(metadata, where)
    problems = Problems(where)
    described = parsed_encodings(metadata, DTYPES, problems)
    problems.raise_if_any(MEND)
    refuse_excess(described, path)
    if check is not None:
        with named(where):
            check(header, {name: entry["shape"] for name, entry in described.items() if entry["encoding"] != "dense"})
    for name, tensor in stored.items():
        if tensor.dtype not in DTYPE_NAMES:
            problems.add(f"{name!r} holds numbers of type {tensor.dtype}, which no model file does")
        elif not is_finite(tensor):
            problems.add(f"{name!r} has NaN or infinite values")
    problems.raise_if_any(MEND)
    # Parts are only taken from what the file stores, never from what was unpacked before.
    unpacked: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for name, entry in described.items():
        try:
            dense, kept = unpacked_tensor(name, entry, stored)
        except encodings.EncodingError as error:
            problems.add(f"{name!r}: {error}")
            continue
        unpacked[name] = dense
        if with_masks:
            masks[name] = dense != 0 if kept is None else mask_of(kept, dense)
    problems.raise_if_any(MEND)
    # Copies, because what is left are views of the mapped file: another program that writes into it would
    # change the weights of a loaded model, or end the process.
    whole = {name: tensor.clone() for name, tensor in stored.items() if name not in unpacked}
    state = {**whole, **unpacked}
    wrong = [name for name, other in header.aliases.items() if other not in state or name in state]
    problems.extend(
        f"{name!r}: the tensor that it is another name of is missing, or it is there itself" for name in wrong
    )
    problems.raise_if_any(MEND)
    state |= {name: state[other] for name, other in header.aliases.items()}
    return dict(sorted(state.items())), header, masks
