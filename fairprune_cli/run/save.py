"""The pruned model's last preparation, and its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from fairprune_cli.core.device import tf32
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.stratified import StratifiedSampler
from fairprune_cli.data.manifest.task import described, with_heads
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.group_points import GroupPoints
from fairprune_cli.models.file.rounding import rounded
from fairprune_cli.pruning import target
from fairprune_cli.run.prepare import Prepared
from fairprune_cli.training.last_layer import last_layers, retrain_last_layers
from fairprune_cli.training.operating_point import set_operating_point
from fairprune_cli.training.reestimate import reestimate_batch_norm
from fairprune_cli.training.sources import BatchSource

REESTIMATION_BATCHES = 50


def reestimate(run: Prepared, lower: Pool, drawn: BatchSource) -> None:
    """Let the pruned model's batch norms see the images as they are; a model that lost nothing stays as it is.

    Args:
        drawn: batches of `lower` as the weights were trained on: their statistics are what the weights go with.
    """
    if run.settings.sparsity == 0:
        run.terminal.warn("sparsity is 0, so the model is left as it is", code="nothing-to-prune")
        run.student.eval()
        return
    seed = run.settings.seed + 3
    mixture = drawn.as_wanted_now(seed) if isinstance(drawn, StratifiedSampler) else None
    sampler = mixture or lower.sampler(
        run.settings.batch_size, run.device, seed, False, channels_last=run.channels_last
    )
    count = min(REESTIMATION_BATCHES, max(len(lower) // run.settings.batch_size, 1))
    with run.terminal.progress("batch norm", count) as display, tf32(run.device, False):  # as the audit sees it

        def batches() -> Iterator[Tensor]:
            for done in range(1, count + 1):
                yield sampler.next().images
                display.update(done)

        reestimate_batch_norm(run.student, batches())


def retrain(run: Prepared, upper: Pool) -> None:
    """Train the last layer again on upper images, where the method does; a model that lost nothing stays as it is."""
    if not run.method.retrains or run.settings.sparsity == 0:
        return
    with run.terminal.progress("last layer", 1) as display, tf32(run.device, False):
        strengths = retrain_last_layers(
            run.student, last_layers(run.dense, run.transform.shape), upper, run.masks.sparse_entries(run.masks.keep),
            run.settings, run.settings.batch_size,
        )  # fmt: skip
        display.update(1)
    run.terminal.note(f"the last layer was trained again, with C = {', '.join(f'{c:g}' for c in strengths)}")


def calibrate(run: Prepared, upper: Pool) -> None:
    """Fit one bias per class of the last layer, where method or settings have it so and the network has such biases."""
    if not run.method.fits_biases(run.settings.operating_point) or run.settings.sparsity == 0:
        return
    try:
        layers = last_layers(run.dense, run.transform.shape)
        without = [layer.name for layer in layers if run.student.get_submodule(layer.name).bias is None]
        if without:
            raise FairpruneError(f"its last layer, {without[0]}, has no bias")
    except FairpruneError as error:
        run.terminal.note(f"the operating point stays as it was trained: {error.what}")
        return
    with run.terminal.progress("operating point", 1) as display, tf32(run.device, False):
        biases = set_operating_point(run.student, layers, upper, run.settings.batch_size)
        display.update(1)
    told = "; ".join(" ".join(f"{bias:+.2f}" for bias in own) for own in biases)
    run.terminal.note(f"one bias per class was fitted to upper images: {told}")


def write_model(
    run: Prepared, path: Path, model: nn.Module, sparse: Mapping[str, Tensor], points: tuple[GroupPoints, ...] = ()
) -> None:
    """Write a pruned model.

    Args:
        sparse: True where kept, of the tensor's shape, by name, for the tensors that are stored sparse.
        points: of groups, which change nothing in the network.
    """
    header = codec.ModelHeader(
        architecture=run.loaded.architecture, classes=tuple(run.data.manifest.classes),
        transform=run.transform.to_dict(), granularity=run.settings.granularity,
        removed=target.removed(model, run.dense, sparse, run.before),
        outputs=run.loaded.classes if run.loaded.classes != len(run.data.manifest.classes) else 0,
        tasks=tuple(described(with_heads(run.data.manifest.tasks, run.loaded.metadata.get("tasks", ())))),
        group_thresholds=points,
    )  # fmt: skip
    tensors = rounded(codec.stored_tensors(model, header.removed), run.settings.store, run.loaded.dtypes)
    codec.save_model(path, tensors, header=header, masks=sparse)
