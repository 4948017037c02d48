"""Pruned tensors as kept values and their places: small on disk, read by `fairprune_cli.load`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fairprune_cli.core.errors import ExitCode, FairpruneError

ALSO = ("sparse",)

if TYPE_CHECKING:
    from torch import Tensor

    from fairprune_cli.export.job import ExportJob

SUFFIX = "-sparse.safetensors"
STORES = True  # weights may be written in 16 bits
TOLERANCE = 1e-6  # the tensors are compared exactly; memory formats may order a sum differently


def write(job: ExportJob, path: Path, dense: bool = False) -> None:
    """Write the model file; the tensors with a mask are stored sparse unless `dense`."""
    from fairprune_cli.models.file import codec

    codec.save_model(path, job.model, header=job.header, masks=job.masks, dense=dense)


def reload(job: ExportJob, path: Path) -> Callable[[Tensor], Tensor]:
    """Read the file back and hold every tensor against the source.

    Raises:
        FairpruneError: a tensor differs in a bit (the sign of a pruned zero aside).
    """
    import torch

    from fairprune_cli.models.file import codec

    source, found = codec.stored_tensors(job.model, job.header.removed), codec.read_model(path)[0]
    differing = sorted(source.keys() ^ found.keys())
    differing += [
        name
        for name in sorted(source.keys() & found.keys())
        if source[name].dtype != found[name].dtype or not torch.equal(source[name].cpu(), found[name])
    ]
    if differing:
        raise FairpruneError(
            f"the file does not give back {', '.join(differing)}", where=str(path), code=ExitCode.RUNTIME
        )
    return codec.load_network(path, job.structure).float()
