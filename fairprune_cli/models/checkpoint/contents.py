"""Find the file that a path means and read what it holds: a state dict, and what is said beside it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.models.architectures import refuse_lazy
from fairprune_cli.models.checkpoint.state_dict import WRAPPERS, find_weights, to_state
from fairprune_cli.models.checkpoint.torch_file import Damaged, open_torch_file, reading

MODEL_FILE = "model.safetensors"
"""The model's name in a run folder."""


@dataclass
class Contents:
    """What a file holds.

    Attributes:
        state: weights by name: no prefixes, float32, finite, on the CPU.
        root: the whole saved object; classes are inert records unless `trusted`.
        notes: a sentence for each change that was made to the weights.
        trusted: whether it was unpickled for real.
        dtypes: the number formats that the weights have in the file, by name.
        module: the network, where it was unpickled for real and is a whole one.
    """

    state: dict[str, Tensor]
    root: Any = None
    notes: list[str] = field(default_factory=list)
    trusted: bool = False
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    module: nn.Module | None = None


def find_model_file(path: Path) -> Path:
    """The file that `path` means: itself, or the model in it where it is a run folder.

    Raises:
        FairpruneError: there is no such file, or it is empty.
    """
    with reading(path):
        return _find(path)


def _find(path: Path) -> Path:
    if path.is_dir():
        file = path / MODEL_FILE
        if not file.is_file():
            others = sorted(p.name for p in path.iterdir() if p.suffix in (".pt", ".pth", ".safetensors"))
            hint = f"name the file, e.g. {path / others[0]}" if others else "name a checkpoint or run folder"
            raise FairpruneError(f"there is no {MODEL_FILE} in this folder", where=str(path), hint=hint)
        path = file
    if not path.exists():
        folder = path.parent
        beside = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        close = nearest(path.name, beside)
        hint = close if close.startswith("did") else "give the path of a .pt, .pth or .safetensors file"
        raise FairpruneError("there is no such file", where=str(path), hint=hint)
    if not path.is_file():
        raise FairpruneError("not a regular file", where=str(path))
    if path.stat().st_size == 0:
        raise FairpruneError("the file is empty", where=str(path), hint="copy or download it again")
    return path


@contextmanager
def named(where: str) -> Iterator[None]:
    """Say which file an error is about, where it does not say so itself."""
    try:
        yield
    except FairpruneError as error:
        error.where = error.where or where
        raise


def safetensors_metadata(file: Path) -> dict[str, str] | None:
    """The header's metadata; None where the file is none of safetensors'."""
    with reading(file):
        with open(file, "rb") as stream:
            start = stream.read(9)
        length = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or length > file.stat().st_size - 8:
            if file.suffix == ".safetensors" and start[:2] != b"PK":
                raise Damaged("its header is not one of safetensors, or longer than the file")
            return None
        with safe_open(str(file), framework="pt") as opened:
            return dict(opened.metadata() or {})


def read_contents(file: Path, trust: bool) -> Contents:
    """Read a file that is no model file of fairprune.

    Args:
        file: of torch.save, torch.export.save or safetensors.
        trust: unpickle for real, which runs the code that the file names; nothing to do with safetensors.

    Raises:
        FairpruneError: damaged, without weights, or with weights that are not finite.
    """
    with named(str(file)), reading(file):
        if safetensors_metadata(file) is not None:
            with safe_open(str(file), framework="pt") as opened:
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
                # safetensors' save_model leaves out all names but one of what shares memory, and says which.
                said = (opened.metadata() or {}).items()
            tensors |= {key: tensors[other] for key, other in said if other in tensors and key not in tensors}
            plain = to_state(tensors, _no_reference)
            return Contents(plain.tensors, notes=plain.notes, dtypes=plain.dtypes)
        if trust:
            return _unpickled(_unpickle(file))
        with open(file, "rb") as stream:
            opened_file = open_torch_file(stream, file.stat().st_size)
            plain = to_state(find_weights(opened_file.root), opened_file.tensor)
            return Contents(plain.tensors, opened_file.root, plain.notes, dtypes=plain.dtypes)


def _unpickle(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e.g. that it found a TorchScript program
            return torch.load(file, map_location="cpu", weights_only=False)
    # The file's own code may raise anything, and call sys.exit.
    except (Exception, SystemExit) as error:
        raise FairpruneError(
            f"unpickling it failed with {type(error).__name__}: {str(error)[:300]}",
            where=str(file),
            hint="put the folder with its classes into PYTHONPATH, or read only its weights: do not trust it",
        ) from error


def _no_reference(ref: object) -> Tensor:
    raise AssertionError(f"a reference without a file: {ref}")


def _unpickled(root: Any) -> Contents:
    """What a trusted file held: a module, in a dict or not, or tensors."""
    node = root
    while not isinstance(node, nn.Module) and isinstance(node, Mapping):
        inner = [node[key] for key in WRAPPERS if isinstance(node.get(key), nn.Module | Mapping)]
        if not inner:
            break
        node = inner[0]
    if not isinstance(node, nn.Module):
        plain = to_state(find_weights(root), _no_reference)
        return Contents(plain.tensors, root, plain.notes, True, plain.dtypes)
    while isinstance(node, nn.DataParallel | nn.parallel.DistributedDataParallel):
        node = node.module
    refuse_lazy(node)
    plain = to_state(dict(node.state_dict()), _no_reference)
    return Contents(plain.tensors, root, plain.notes, True, plain.dtypes, module=node.float())
