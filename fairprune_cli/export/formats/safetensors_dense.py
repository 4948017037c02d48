"""Every tensor under its own name and in full: for tools that read plain safetensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fairprune_cli.export.formats import safetensors

ALSO = ("dense",)

if TYPE_CHECKING:
    from torch import Tensor

    from fairprune_cli.export.job import ExportJob

SUFFIX = "-dense.safetensors"
STORES = True  # weights may be written in 16 bits
TOLERANCE = safetensors.TOLERANCE


def write(job: ExportJob, path: Path) -> None:
    """Write the model file; its header is that of the sparse one, so it loads the same way."""
    safetensors.write(job, path, dense=True)


def reload(job: ExportJob, path: Path) -> Callable[[Tensor], Tensor]:
    """As for the sparse file."""
    return safetensors.reload(job, path)
