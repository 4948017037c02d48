"""The whole story: checkpoint and manifest in, pruned and audited model out. Read this first.

`prune` and `resume` prepare a run (prepare.py) and carry it out: train (train.py), save (save.py), audit, report.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from fairprune_cli import __version__, report
from fairprune_cli.audit import rounding_cost as storage
from fairprune_cli.audit.counts import AuditResult, audit_models, notices
from fairprune_cli.audit.gates import exit_code
from fairprune_cli.audit.lost_images import LostImages
from fairprune_cli.audit.policy import Policy
from fairprune_cli.core import provenance
from fairprune_cli.core.device import choose_device
from fairprune_cli.core.distributed import Ranks, joined
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import cache_dir, sha256_file
from fairprune_cli.core.settings import Resolved, Settings
from fairprune_cli.core.signals import stop_on_signals
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import ImageSet
from fairprune_cli.models import measure
from fairprune_cli.models import peak_memory as footprint
from fairprune_cli.models.file import codec
from fairprune_cli.pruning import target
from fairprune_cli.run.folder import RunFolder, SilentFolder, default_folder
from fairprune_cli.run.inputs import Data, PruningPools, absent_combinations, decode, pruning_pools
from fairprune_cli.run.origin import origin_of, refuse_other_origin
from fairprune_cli.run.prepare import Prepared, prepare
from fairprune_cli.run.save import reestimate, save_model
from fairprune_cli.run.train import train, trainer_of
from fairprune_cli.training.trainer import Trainer


@dataclass(frozen=True)
class PruneRequest:
    """What `fairprune prune` was asked for, beyond the settings."""

    model: Path
    resolved: Resolved
    out: Path | None = None
    force: bool = False
    trust: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """The report of a command and its exit code."""

    report: dict[str, Any]
    code: ExitCode
    folder: Path | None = None


def prune(request: PruneRequest, terminal: Terminal) -> Outcome:
    """Prune, audit, export and report one model; see `fairprune prune --help`."""
    with joined(choose_device(request.resolved.settings.device)) as group:
        return _prune(request, terminal, group)


def _prune(request: PruneRequest, terminal: Terminal, group: Ranks) -> Outcome:
    settings = request.resolved.settings
    folder_path = request.out or default_folder(request.model, settings)
    with group.together():
        if not request.dry_run and group.number == 0:
            RunFolder.check_free(folder_path, request.force)
        run = prepare(request.model, settings, terminal, request.trust, group)
    if request.dry_run:
        return Outcome(run.plan(folder_path), ExitCode.OK)
    origin = {
        "model": str(request.model.resolve()), "model_sha256": run.loaded.sha256,
        "manifest": str(run.data.manifest.path.resolve()), "manifest_sha256": run.data.manifest.sha256,
        "trust": str(request.trust),
    }  # fmt: skip
    with group.together():
        folder: RunFolder = SilentFolder(folder_path)
        if group.number == 0:
            folder = RunFolder.create(folder_path, request.resolved, origin, request.force)
    try:
        return _carry_out(run, folder, request.resolved, None)
    except BaseException:
        folder.discard_unless_resumable()
        raise


def resume(path: Path, flags: Mapping[str, Any], terminal: Terminal) -> Outcome:
    """Continue an interrupted run; model and data must be the ones it started with."""
    device = flags.get("device") or RunFolder.resume(path, flags)[1].settings.device
    with joined(choose_device(device)) as group:
        return _resume(path, flags, terminal, group)


def _resume(path: Path, flags: Mapping[str, Any], terminal: Terminal, group: Ranks) -> Outcome:
    folder: RunFolder = SilentFolder(path)
    read: Any = None
    with group.together():
        if group.number == 0:
            folder, resolved, origin = RunFolder.resume(path, flags)
            read = resolved, origin, folder.load_state(lambda text: terminal.warn(text, code="state"))
    resolved, origin, state = group.from_first(read)
    settings = replace(resolved.settings, data=resolved.settings.data or origin["manifest"])
    with group.together():
        run = prepare(Path(origin["model"]), settings, terminal, origin["trust"] == "True", group)
    changed = [
        name for name, now in (("model", run.loaded.sha256), ("manifest", run.data.manifest.sha256))
        if origin[f"{name}_sha256"] != now
    ]  # fmt: skip
    if changed:
        raise FairpruneError(
            f"the {' and the '.join(changed)} changed since the run began", where=str(path), hint="start a new run"
        )
    if state is None:
        terminal.note("no state was saved before the run ended; it begins at its first step")
    return _carry_out(run, folder, resolved, state)


def _carry_out(run: Prepared, folder: RunFolder, resolved: Resolved, state: Mapping[str, Any] | None) -> Outcome:
    """Train, save, audit the file that was saved, and report."""
    group = run.group
    with group.together():
        images = decode(run.data, run.transform, run.terminal)
        pools = pruning_pools(run.data, images, run.settings)
    origin = origin_of(
        run.settings, model=run.loaded.sha256, manifest=run.data.manifest.sha256, images=images.digest
    )  # fmt: skip
    if state is not None:
        refuse_other_origin(state["origin"], origin, str(folder.state))
    with stop_on_signals() as stop:
        trainer = trainer_of(run, pools, folder, None if state is None else state["trainer"])

        def save_state() -> None:
            folder.save_state({"trainer": trainer.state_dict(), "origin": origin})

        train(run, trainer, pools, folder, save_state, stop)
    with group.together():
        if group.number == 0:
            save_state()  # an interrupted audit loses no training
            reestimate(run, pools.lower)
            save_model(run, folder.model, run.student, run.masks.sparse_entries(run.masks.keep))
    return _audit(run, trainer, images, pools, folder, resolved)


def _audit(
    run: Prepared, trainer: Trainer, images: ImageSet, pools: PruningPools, folder: RunFolder, resolved: Resolved
) -> Outcome:
    settings, terminal, group = run.settings, run.terminal, run.group
    pruned = _as_written(folder, group)
    groupings = run.audited.groupings
    lost = LostImages(groupings, settings.show_examples) if settings.show_examples else None
    with terminal.progress("auditing", len(pools.audit)) as display:
        result = audit_models(
            {"dense": run.dense, "pruned": pruned.to(run.device)},
            images.regrouped(groupings).pool(pools.audit.rows), groupings, run.data.manifest.classes,
            run.device, progress=lambda done, total: display.update(done), watch=lost, ranks=group,
        )  # fmt: skip
    if lost is not None:
        lost.merge(group.from_others(lost.found))
    if group.number:
        document = group.from_first(None)
        return Outcome(document, exit_code(document["verdict"]), folder.path)
    document = _document(run, folder, resolved, trainer, result, pruned)
    if settings.store != "fp32":
        document["storage"] = storage.cost(
            run.student, pruned, pools.audit, run.data.groupings, run.data.manifest.classes, run.device,
            settings,
        )  # fmt: skip
    if lost is not None:
        document["examples"] = lost.document(images, run.data.manifest.classes)
    report.write(document, folder.path)
    folder.finish()
    group.from_first(document)
    return Outcome(document, exit_code(document["verdict"]), folder.path)


def _document(
    run: Prepared, folder: RunFolder, resolved: Resolved, trainer: Trainer, result: AuditResult, pruned: nn.Module
) -> dict[str, Any]:
    settings, size = run.settings, run.transform.size
    finished = time.time()
    models = {"dense": run.dense, "pruned": pruned}
    kept = run.masks.sparse_entries(run.masks.keep)
    document: dict[str, Any] = base_document(settings, result, run.audited)
    document |= {
        "model": {
            "architecture": run.loaded.architecture, "source": str(run.loaded.source),
            "sha256": run.loaded.sha256, "output": folder.model.name, "output_sha256": sha256_file(folder.model),
        },
        "sparsity": target.sparsity_block(run.masks, settings, run.dense, pruned, run.before),
        "cost": {
            "passes": trainer.passes if settings.sparsity else 0.0, "steps": trainer.done,
            "seconds": finished - run.started, "peak_bytes": provenance.peak_bytes(run.device),
            "precision": "bf16" if trainer.compute.bf16 else "fp32",
        },
        "size": {
            "dense_bytes": measure.dense_bytes(run.dense), "file_bytes": folder.model.stat().st_size,
            "dense_parameters": measure.count_parameters(run.dense),
            "parameters": measure.kept_parameters(pruned, kept),
            "dense_macs": measure.macs(run.dense, size), "macs": measure.macs(pruned, size),
        },
        "training": [asdict(record) for record in trainer.records],
        "layers": measure.layer_sparsity(pruned, run.dense, kept),
        "speed": footprint.add_peaks(measure.latency(models, size), models, size),
        "config": resolved.document(),
        "provenance": provenance.collect(settings.seed, run.device, run.threads, run.started, finished),
    }  # fmt: skip
    target.check(run.masks, settings, run.dense, pruned)
    judge(document, settings, run.policy, result, run.audited, run.terminal)
    return document


def _as_written(folder: RunFolder, group: Ranks) -> nn.Module:
    """The model as its file has it, on all processes; those on other machines do not see the run folder."""
    if not group.several:
        return codec.load(folder.model).float()
    content = group.from_first(folder.model.read_bytes() if group.number == 0 else None)
    if group.number == 0:
        return codec.load(folder.model).float()
    with tempfile.TemporaryDirectory(dir=cache_dir()) as temporary:
        path = Path(temporary) / folder.model.name
        path.write_bytes(content)
        return codec.load(path).float()


def base_document(settings: Settings, result: AuditResult, data: Data) -> dict[str, Any]:
    """The parts of a report that every audited model has."""
    manifest = data.manifest
    counts = manifest.counts(tuple(dict.fromkeys((*manifest.attributes, *data.attributes))))
    document: dict[str, Any] = {
        "schema_version": report.SCHEMA_VERSION, "tool_version": __version__,
        "data": {
            "manifest": str(manifest.path), "name": manifest.name, "sha256": manifest.sha256,
            "split": settings.split, "splits": {k: v["n"] for k, v in counts.items()}, "counts": counts,
        },
    }  # fmt: skip
    document |= result.to_document(settings.confidence, settings.min_group, settings.seed)
    return document


def judge(
    document: dict[str, Any], settings: Settings, policy: Policy, result: AuditResult, data: Data, terminal: Terminal
) -> None:
    """Add gates, verdict, notices and warnings to a report, in place."""
    gates, verdict = policy.judge(result, settings.seed)
    document["gates"] = [gate.to_dict() for gate in gates]
    document["verdict"] = verdict
    document["notion"] = settings.notion
    if policy.source:
        document["policy"] = {"source": policy.source, "sha256": policy.sha256}
    document["notices"] = notices(document) + absent_combinations(data, settings.split)
    document["warnings"] = list(terminal.warnings)
