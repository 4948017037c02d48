"""Which file a path to a model means; looked at before torch is imported."""

from __future__ import annotations

from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, nearest

MODEL_FILE = "model.safetensors"
"""The model's name in a run folder."""


def locate(path: Path) -> Path:
    """The file that `path` means: itself, or the model in it where it is a run folder.

    Raises:
        FairpruneError: there is no such file, or it is empty or cannot be looked at.
    """
    try:
        return _found(path)
    except (OSError, ValueError) as error:  # a name that no file system takes
        reason = getattr(error, "strerror", None) or error
        raise FairpruneError(f"cannot be read: {reason}", where=str(path)) from error


def _found(path: Path) -> Path:
    if path.is_dir():
        file = path / MODEL_FILE
        if not file.is_file():
            kinds = (".pt", ".pth", ".safetensors")
            others = sorted(p.name for p in path.iterdir() if p.suffix in kinds or (p / MODEL_FILE).is_file())
            hint = f"name one in it, e.g. {path / others[0]}" if others else "name a checkpoint or run folder"
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
