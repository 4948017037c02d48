"""A graph by torch.export that runs without the model's code; any batch size, float32."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fairprune_cli.core.errors import FairpruneError, said_by
from fairprune_cli.export.quiet import silence

ALSO = ("torch-export", "exported-program", "torchscript")

if TYPE_CHECKING:
    from torch import Tensor

    from fairprune_cli.export.job import ExportJob

SUFFIX = ".pt2"
TOLERANCE = 1e-4
HEADER_FILE = "fairprune.json"  # in the archive: architecture, classes, transform, granularity, removed


def write(job: ExportJob, path: Path) -> None:
    """Trace the model for images [B, C, H, W], B free and at least 1.

    Raises:
        FairpruneError: torch.export cannot trace the model.
    """
    import torch

    from fairprune_cli.export.job import refuse_fixed_batch
    from fairprune_cli.models.file.header import dump

    batch = torch.export.Dim("batch", min=1)
    archive = io.BytesIO()  # a path would have to end in .pt2, and a temporary one does not
    try:
        with silence(), torch.no_grad():
            program = torch.export.export(job.traced, (job.images(2),), dynamic_shapes=({0: batch},))
            torch.export.save(program, archive, extra_files={HEADER_FILE: dump(job.header.to_metadata())})
    except Exception as error:  # the tracer has many exceptions, and none of its own
        if "Constraints violated (batch)" in str(error):
            refuse_fixed_batch(job.header.architecture, 2)
        raise FairpruneError(f"torch.export cannot trace {job.header.architecture}: {said_by(error)}") from error
    path.write_bytes(archive.getvalue())


def reload(job: ExportJob, path: Path) -> Callable[[Tensor], Tensor]:
    """The graph as a function of images [B, C, H, W]."""
    import torch

    with silence():
        return torch.export.load(io.BytesIO(path.read_bytes())).module()
