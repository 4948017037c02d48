"""A program of torch.export in a .pt2 file: found, and read as data."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.checkpoint.torch_file import Archive, Damaged, TorchFile, exported_tensors, open_torch_file
from fairprune_cli.models.graphs.program import ProgramNetwork

HEADER_FILE = "extra/fairprune.json"
_OLD = "serialized_exported_program.json"  # of torch before 2.7


def is_program(path: Path) -> bool:
    """Whether a file is an archive with a program of torch.export."""
    try:
        with open(path, "rb") as stream:
            if stream.read(2) != b"PK":
                return False
            stream.seek(0)
            archive = Archive(stream, path.stat().st_size)
            return _OLD in archive.members or bool(_documents(archive))
    except Exception:  # damaged ones are told of by whoever reads them
        return False


def read_program(path: Path) -> tuple[ProgramNetwork, dict[str, str]]:
    """The program, and the header that fairprune writes beside it; {} where there is none.

    Raises:
        FairpruneError: it is not run, see `ProgramNetwork`.
        Damaged and what parsers raise; use within `reading`.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        archive = Archive(stream, size)
        if _OLD in archive.members:
            name, tensors = _OLD, _old_tensors(archive)
        else:
            names = _documents(archive)
            if len(names) != 1:
                raise FairpruneError(f"it holds {len(names)} programs", where=str(path), hint="save each by itself")
            name, tensors = names[0], _tensors(archive, size)
        document = json.loads(archive.member(name))
        network = ProgramNetwork(str(path), document, tensors)
        header = json.loads(archive.member(HEADER_FILE)) if HEADER_FILE in archive.members else {}
    if not isinstance(header, dict) or not all(isinstance(text, str) for text in header.values()):
        raise Damaged(f"{HEADER_FILE} is no header")
    return network, header


def _documents(archive: Archive) -> list[str]:
    return [name for name in archive.members if name.startswith("models/") and name.endswith(".json")]


def _tensors(archive: Archive, size: int) -> dict[str, Tensor]:
    """Weights, buffers and constants by name; objects of other kinds are left out."""
    found: dict[str, Tensor] = {}
    for ending in ("_weights_config.json", "_constants_config.json"):
        if any(name.endswith(ending) for name in archive.members):
            refs: Mapping[str, Any] = exported_tensors(archive, ending)
            file = TorchFile(refs, size, archive)
            found |= {name: file.tensor(ref) for name, ref in refs.items()}
            archive.data.clear()
    return found


def _old_tensors(archive: Archive) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for member in ("serialized_state_dict.pt", "serialized_constants.pt"):
        data = archive.member(member) if member in archive.members else bytearray()
        if data:
            file = open_torch_file(io.BytesIO(data), len(data))
            if not isinstance(file.root, Mapping):
                raise Damaged(f"{member} holds no table of tensors")
            found |= {str(name): file.tensor(ref) for name, ref in file.root.items()}
    return found
