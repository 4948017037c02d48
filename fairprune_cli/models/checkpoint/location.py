"""Which file a path to a model means; looked at before torch is imported."""

from __future__ import annotations

from pathlib import Path

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.core.files import open_plain

MODEL_FILE = "model.safetensors"
"""The model's name in a run folder."""
_TABLES = (".csv", ".tsv", ".parquet", ".pq")
_OTHERS = frozenset((
    ".yaml", ".yml", ".json", ".jsonl", ".txt", ".md", ".html", ".xml", ".toml",
    ".ini", ".log", ".py", ".ipynb", ".sh", ".pdf", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar",
    ".zip", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".npy", ".npz", ".xlsx", ".h5",
    ".hdf5", ".keras", ".tflite", ".mlmodel", ".gguf",
))  # fmt: skip


def locate(path: Path, graphs: bool = True) -> Path:
    """The file that `path` means: itself, or the model in it where it is a run folder.

    Args:
        graphs: whether an ONNX graph will do.

    Raises:
        FairpruneError: there is no such file, or it is empty or cannot be looked at.
    """
    try:
        return _found(path, graphs)
    except (OSError, ValueError) as error:  # a name that no file system takes
        reason = getattr(error, "strerror", None) or error
        raise FairpruneError(f"cannot be read: {reason}", where=str(path)) from error


def _found(path: Path, graphs: bool) -> Path:
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
        beside = [entry.name for entry in folder.iterdir() if entry.name[:1] != "."] if folder.is_dir() else []
        close = nearest(path.name, beside)
        hint = close if close.startswith("did") else "give the path of a .pt, .pth or .safetensors file"
        raise FairpruneError("there is no such file", where=str(path), hint=hint)
    if not path.is_file():
        raise FairpruneError("not a regular file", where=str(path))
    if path.stat().st_size == 0:
        raise FairpruneError("the file is empty", where=str(path), hint="copy or download it again")
    _refuse_other_kinds(path, graphs)
    return path


def _refuse_other_kinds(path: Path, graphs: bool) -> None:
    """Refuse what is a table, text, picture or archive by its name and its beginning, before any image is read."""
    with open_plain(path) as stream:
        start = stream.read(16)
    suffix = path.suffix.lower()
    of_torch = start[:2] == b"PK" or start[:1] == b"\x80" or start[8:9] == b"{"
    if suffix == ".onnx" and not graphs:
        raise FairpruneError(
            "an ONNX graph, which has no layers to look into or to prune", where=str(path),
            hint="`fairprune audit` runs it; give the checkpoint that it was exported from",
        )  # fmt: skip
    if suffix in _TABLES and not of_torch:
        raise FairpruneError(
            "a table, not a model", where=str(path), hint="tables of predictions: audit --predictions FILE"
        )
    if suffix in _OTHERS and not of_torch:
        raise FairpruneError(
            f"a {suffix} file is no model", where=str(path), hint="give the path of a .pt, .pth or .safetensors file"
        )
