"""What a pruning run tells of the model it wrote, beside the audit's figures."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fairprune_cli.audit import rounding_cost, to_json
from fairprune_cli.core import provenance
from fairprune_cli.core.device import arithmetic, machine, process_peak_bytes
from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.files import sha256_file, temporary_folder
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.models import measure
from fairprune_cli.models import peak_memory as footprint
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.group_points import GroupPoints
from fairprune_cli.models.file.rounding import shorter_formats
from fairprune_cli.pruning import target
from fairprune_cli.run.audit_report import judgement_of
from fairprune_cli.run.folder import UNCONSTRAINED
from fairprune_cli.run.options import Resolved
from fairprune_cli.run.prepare import Prepared
from fairprune_cli.run.unconstrained import AccuracySpent
from fairprune_cli.training.trainer import Trainer


@dataclass(frozen=True)
class Pruned:
    """A run that has trained and saved.

    Attributes:
        stored: the pruned model as it was read back from `file`.
        audited: the images of the audit.
        spent: what fairness cost in accuracy, where that had a bound.
    """

    run: Prepared
    resolved: Resolved
    trainer: Trainer
    stored: nn.Module
    file: Path
    audited: Pool
    spent: AccuracySpent | None = None


def report_parts(made: Pruned) -> dict[str, Any]:
    """The report's parts on model, sparsity, cost, size, training and speed.

    Raises:
        FairpruneError: the target was missed.
    """
    run, trainer, pruned = made.run, made.trainer, made.stored
    settings, shape = run.settings, run.transform.shape
    finished = time.time()
    models = {"dense": run.dense, "pruned": pruned}
    kept = run.masks.sparse_entries(run.masks.keep)
    document: dict[str, Any] = {
        "model": {
            "architecture": run.loaded.architecture, "source": str(run.loaded.source),
            "sha256": run.loaded.sha256, "output": made.file.name, "output_sha256": sha256_file(made.file),
        },
        "sparsity": target.sparsity_block(run.masks, settings, run.dense, pruned, run.before),
        "cost": {
            "passes": (trainer.passes if settings.sparsity else 0.0) + (made.spent.passes if made.spent else 0.0),
            "steps": trainer.done,
            "seconds": finished - run.started, "peak_bytes": process_peak_bytes(run.device),
            "precision": "bf16" if trainer.compute.bf16 else "fp32",
            "arithmetic": arithmetic(run.device, trainer.compute.bf16),
        },
        "size": {
            "dense_bytes": measure.dense_bytes(run.dense, run.loaded.dtypes), "file_bytes": made.file.stat().st_size,
            "dense_parameters": measure.count_parameters(run.dense),
            "parameters": measure.kept_parameters(pruned, kept),
            "dense_macs": measure.macs(run.dense, shape), "macs": measure.macs(pruned, shape),
        },
        "accuracy_budget": None if made.spent is None else {**asdict(made.spent), "file": UNCONSTRAINED},
        "training": [asdict(record) for record in trainer.records],
        "layers": measure.layer_sparsity(pruned, run.dense, kept),
        "speed": footprint.add_peaks(measure.latency(models, shape), models, shape),
        "config": made.resolved.document(),
        "provenance": provenance.collect(
            settings.seed, str(run.device), machine(run.device, run.threads), run.started, finished
        ),
    }  # fmt: skip
    target.check_target(run.masks, settings, run.dense, pruned)
    if stored_as := shorter_formats(settings.store, run.loaded.dtypes):
        document["storage"] = to_json.storage_record(
            rounding_cost.storage_cost(
                run.student, pruned, stored_as, made.audited.of_task(0), run.data.groupings,
                run.data.manifest.classes, run.device, judgement_of(settings),
            )
        )  # fmt: skip
    return document


def as_written(file: Path, structure: str | nn.Module, group: Ranks) -> tuple[nn.Module, tuple[GroupPoints, ...]]:
    """The model as its file has it, and the thresholds of groups, on all processes: some may not see the run folder.

    Args:
        structure: as in `LoadedModel`.
    """
    if not group.several:
        return _read(file, structure)
    content = group.from_first(file.read_bytes() if group.number == 0 else None)
    if group.number == 0:
        return _read(file, structure)
    with temporary_folder() as folder:
        path = folder / file.name
        path.write_bytes(content)
        return _read(path, structure)


def _read(file: Path, structure: str | nn.Module) -> tuple[nn.Module, tuple[GroupPoints, ...]]:
    network, header = codec.load_with_header(file, structure)
    return network.float(), header.group_thresholds
