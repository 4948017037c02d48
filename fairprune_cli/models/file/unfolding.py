"""What a model file claims that its sparse tensors stand for, held against limits before any of them is unfolded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from fairprune_cli.core import limits
from fairprune_cli.core.errors import Problems
from fairprune_cli.models.file.container import DTYPES
from fairprune_cli.models.file.header import MEND, ModelHeader

_UNFOLDS = 64  # times its own size that a file may unfold to, whatever the limit: at a sparsity of 98 % it does 40


def refuse_excess(described: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Refuse a file whose tensors unfold to more than the limit and than `_UNFOLDS` times its size."""
    sizes = [
        math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
        for entry in described.values() if entry["encoding"] != "dense"
    ]  # fmt: skip
    if sum(sizes) > _UNFOLDS * path.stat().st_size:
        limits.refuse_above(sum(sizes), "unfolded_bytes", str(path), "what its sparse tensors stand for", MEND)


def refuse_unfit(header: ModelHeader, shapes: Mapping[str, Sequence[int]], arch: str | nn.Module | None) -> None:
    """Refuse what is to be unfolded and is no tensor of the network that is named, before it is.

    Args:
        shapes: of the tensors that are stored sparsely.

    Raises:
        FairpruneError: as `skeleton`; or names every such tensor that the network has not, or has smaller.
    """
    from fairprune_cli.models import architectures

    if isinstance(arch, nn.Module) or (isinstance(arch, str) and architectures.is_import_path(arch)) or not shapes:
        return
    if arch is None:
        architectures.refuse_code(header.architecture, header.built_for)  # a signature imports what it is asked for
    signature, problems = architectures.signature(arch or header.architecture), Problems("", limit=12)
    for name, shape in shapes.items():
        whole = signature.shapes.get(name)
        if whole is not None and name in signature.heads:
            whole = signature.heads[name].shape(whole, header.built_for)
        if whole is None or len(whole) != len(shape) or any(n > most for n, most in zip(shape, whole, strict=True)):
            problems.add(f"{name} has shape {tuple(shape)}, the network {'none such' if whole is None else whole}")
    problems.raise_if_any(hint="the file belongs to another architecture, or is damaged")
