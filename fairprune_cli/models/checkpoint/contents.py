"""Find the file that a path means and read what it holds: a state dict, and what is said beside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError, named
from fairprune_cli.core.files import sha256_file
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.inert import TensorRef
from fairprune_cli.models.checkpoint.location import locate
from fairprune_cli.models.checkpoint.state_dict import read_tensors
from fairprune_cli.models.checkpoint.torch_file import Damaged, open_torch_file, reading
from fairprune_cli.models.checkpoint.weight_tables import Weights, WeightTable, find_table


@dataclass
class Contents:
    """What a file holds.

    Attributes:
        state: tensors by their names in the file, in their own precision, masks folded in, on the CPU.
        root: the whole saved object; classes are inert records unless `trusted`.
        notes: a sentence for each choice and change that was made.
        trusted: whether it was unpickled for real.
        table: where in the file the tensors are, and the network where it is a whole one.
    """

    state: dict[str, Tensor]
    root: Any = None
    notes: list[str] = field(default_factory=list)
    trusted: bool = False
    table: WeightTable = field(default_factory=lambda: WeightTable((), {}))

    @property
    def module(self) -> nn.Module | None:
        """The network itself, where it was unpickled for real and is a whole one."""
        return self.table.module if isinstance(self.table.module, nn.Module) else None


def find_model_file(path: Path) -> Path:
    """The file that `path` means: itself, or the model in it where it is a run folder.

    Raises:
        FairpruneError: there is no such file, or it is empty.
    """
    with reading(path):
        return locate(path)


def sha256_of_model(path: Path) -> str:
    """The SHA-256 of the model file that `path` means, in hexadecimal; nothing of it is loaded.

    Raises:
        FairpruneError: as `find_model_file`, or it cannot be read.
    """
    file = find_model_file(path)
    with reading(file):
        return sha256_file(file)


def weights_of_each(paths: Iterable[Path], weights: str | None) -> dict[Path, str | None]:
    """What `--weights` says of each of several models, by path.

    A model file of fairprune holds one set of weights, so where there are others, it is of them that something is said.
    """
    own = {path: (safetensors_metadata(find_model_file(path)) or {}).get("format") == "fairprune" for path in paths}
    return {path: None if ours and not all(own.values()) else weights for path, ours in own.items()}


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


def read_contents(file: Path, trust: bool, weights: str | None = None) -> Contents:
    """Read a file that is no model file of fairprune.

    Args:
        file: of torch.save, torch.export.save or safetensors.
        trust: unpickle for real, which runs the code that the file names; nothing to do with safetensors.
        weights: as for `find_table`.

    Raises:
        FairpruneError: damaged or without weights.
    """
    with named(str(file)), reading(file):
        if safetensors_metadata(file) is not None:
            with safe_open(str(file), framework="pt") as opened:
                tensors: Weights = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
                # safetensors' save_model leaves out all names but one of what shares memory, and says which.
                said = (opened.metadata() or {}).items()
            tensors |= {key: tensors[other] for key, other in said if other in tensors and key not in tensors}
            return _contents(tensors, weights, _tensor)
        if trust:
            made = _contents(unpickled(file), weights, _tensor)
            made.trusted = True
            return made
        with open(file, "rb") as stream:
            opened_file = open_torch_file(stream, file.stat().st_size)
            return _contents(opened_file.root, weights, opened_file.tensor)


def _contents(root: Any, weights: str | None, read: Callable[[TensorRef | Tensor], Tensor]) -> Contents:
    table, chosen = find_table(root, weights)
    if isinstance(table.module, nn.Module):
        architectures.refuse_lazy(table.module)
    state, notes = read_tensors(table.weights, read)
    return Contents(state, root, [*chosen, *notes], table=table)


def unpickled(file: Path) -> Any:
    """What a file holds, unpickled for real: it RUNS whatever code the file names."""
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


def _tensor(ref: TensorRef | Tensor) -> Tensor:
    assert isinstance(ref, Tensor)
    return ref.detach().cpu()
