"""The pruned model's last preparation, and its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from fairprune_cli.core.device import tf32
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.manifest.task import described, with_heads
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.rounding import rounded
from fairprune_cli.pruning import target
from fairprune_cli.run.prepare import Prepared
from fairprune_cli.training.reestimate import reestimate_batch_norm

REESTIMATION_BATCHES = 50


def reestimate(run: Prepared, lower: Pool) -> None:
    """Let the pruned model's batch norms see the images as they are; a model that lost nothing stays as it is."""
    if run.settings.sparsity == 0:
        run.terminal.warn("sparsity is 0, so the model is left as it is", code="nothing-to-prune")
        run.student.eval()
        return
    sampler = lower.sampler(
        run.settings.batch_size, run.device, run.settings.seed + 3, False, channels_last=run.channels_last
    )
    count = min(REESTIMATION_BATCHES, max(len(lower) // run.settings.batch_size, 1))
    with run.terminal.progress("batch norm", count) as display, tf32(run.device, False):  # as the audit sees it

        def batches() -> Iterator[Tensor]:
            for done in range(1, count + 1):
                yield sampler.next().images
                display.update(done)

        reestimate_batch_norm(run.student, batches())


def write_model(run: Prepared, path: Path, model: nn.Module, sparse: Mapping[str, Tensor]) -> None:
    """Write a pruned model.

    Args:
        sparse: True where kept, of the tensor's shape, by name, for the tensors that are stored sparse.
    """
    header = codec.ModelHeader(
        architecture=run.loaded.architecture, classes=tuple(run.data.manifest.classes),
        transform=run.transform.to_dict(), granularity=run.settings.granularity,
        removed=target.removed(model, run.dense, sparse, run.before),
        outputs=run.loaded.classes if run.loaded.classes != len(run.data.manifest.classes) else 0,
        tasks=tuple(described(with_heads(run.data.manifest.tasks, run.loaded.metadata.get("tasks", ())))),
    )  # fmt: skip
    tensors = rounded(codec.stored_tensors(model, header.removed), run.settings.store, run.loaded.dtypes)
    codec.save_model(path, tensors, header=header, masks=sparse)
