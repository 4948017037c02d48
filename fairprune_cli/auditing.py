"""`fairprune audit` and `fairprune inspect`: look at a model, change nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairprune_cli import fairness, measure, provenance, report
from fairprune_cli.audit import audit_models
from fairprune_cli.checkpoint import LoadedModel, load_model
from fairprune_cli.config import Resolved
from fairprune_cli.device import choose_device, set_threads
from fairprune_cli.errors import ExitCode, FairpruneError
from fairprune_cli.exports import codec
from fairprune_cli.gate import exit_code
from fairprune_cli.inputs import decode, open_data, open_model, transform_of
from fairprune_cli.manifest import Transform
from fairprune_cli.pipeline import Outcome, base_document, gate_policy, judge
from fairprune_cli.run_folder import MODEL
from fairprune_cli.terminal import Terminal

DEFAULT_SIZE = 224


@dataclass(frozen=True)
class AuditRequest:
    """What `fairprune audit` was asked for, beyond the settings."""

    model: Path
    resolved: Resolved
    against: Path | None = None
    out: Path | None = None
    force: bool = False
    trust: bool = False
    dry_run: bool = False


def audit(request: AuditRequest, terminal: Terminal) -> Outcome:
    """Audit one model, or a model against the dense one it came from."""
    settings = request.resolved.settings
    started = time.time()
    if request.out is not None and request.out.exists() and not request.force:
        raise FairpruneError("already exists", where=str(request.out), hint="--force overwrites it")
    if settings.max_degradation is not None and request.against is None:
        raise FairpruneError(
            "degradation needs the dense model", where="--max-degradation", hint="give it with --against DENSE"
        )
    if settings.notion == "degradation" and request.against is None:
        raise FairpruneError("degradation needs the dense model", where="--notion", hint="give it with --against DENSE")
    gate_policy(settings)
    threads = set_threads(settings.threads)
    device = choose_device(settings.device)
    data = open_data(settings, request.model, terminal, every=True)
    fairness.get(settings.notion, len(data.manifest.classes))
    loaded = open_model(request.model, settings, data.manifest, terminal, request.trust)
    transform = transform_of(loaded, data.manifest, terminal)
    rows = data.rows(settings.split)
    if not len(rows):
        raise FairpruneError(f"the {settings.split} split has no images", where=str(data.manifest.path))
    models = {"dense" if request.against is None else "pruned": loaded.model.to(device)}
    sources = {"dense" if request.against is None else "pruned": loaded}
    if request.against is not None:
        dense = open_model(request.against, settings, data.manifest, terminal, request.trust)
        if transform_of(dense, data.manifest, terminal) != transform:
            raise FairpruneError(
                f"{request.model} and {request.against} want different input transforms", where="--against"
            )
        models, sources = {"dense": dense.model.to(device), **models}, {"dense": dense, **sources}
    if request.dry_run:
        plan = {
            "dry_run": True, "models": {k: str(v.source) for k, v in sources.items()}, "split": settings.split,
            "images": len(rows), "attributes": {g.name: list(g.groups) for g in data.groupings}, "device": str(device),
        }  # fmt: skip
        return Outcome(plan, ExitCode.OK)
    pool = decode(data, transform, terminal).pool(rows)
    with terminal.progress("auditing", len(pool)) as display:
        result = audit_models(
            models, pool, data.groupings, data.manifest.classes, device, batch_size=settings.batch_size,
            progress=lambda done, total: display.update(done),
        )  # fmt: skip
    finished = time.time()
    document: dict[str, Any] = base_document(settings, result, data)
    document |= {
        "model": _described(loaded), "against": _described(sources["dense"]) if request.against else None,
        "size": _sizes(sources, transform), "config": request.resolved.document(),
        "cost": {
            "passes": 0.0, "seconds": finished - started, "peak_bytes": provenance.peak_bytes(device),
        },
        "provenance": provenance.collect(settings.seed, device, threads, started, finished),
    }  # fmt: skip
    judge(document, settings, terminal)
    if request.out is not None:
        report.write(document, request.out)
    return Outcome(document, exit_code(document["verdict"]), request.out)


def _described(loaded: LoadedModel) -> dict[str, Any]:
    return {"architecture": loaded.architecture, "source": str(loaded.source), "sha256": loaded.sha256}


def _sizes(sources: dict[str, LoadedModel], transform: Transform) -> dict[str, Any]:
    """The contract's size block; without a dense model only the model's own figures are known."""
    own = sources.get("pruned", sources["dense"])
    path = model_file(own.source)
    size: dict[str, Any] = {
        "file_bytes": path.stat().st_size, "parameters": _parameters(own),
        "macs": measure.macs(own.model, transform.size),
    }  # fmt: skip
    for key, value in (
        ("dense_bytes", measure.dense_bytes), ("dense_parameters", measure.count_parameters),
        ("dense_macs", lambda model: measure.macs(model, transform.size)),
    ):  # fmt: skip
        if "pruned" in sources:
            size[key] = value(sources["dense"].model)
        else:
            size[key], size[f"{key}_undefined"] = None, "no dense model was given with --against"
    return size


def _parameters(loaded: LoadedModel) -> int:
    """Parameters that the file keeps: all of them, less the single weights that a mask removed."""
    file = model_file(loaded.source)
    masks = codec.read_masks(file) if codec.is_model_file(file) else {}
    removed = sum(mask.numel() - int(mask.sum()) for mask in masks.values())
    return measure.count_parameters(loaded.model) - removed


def model_file(source: Path) -> Path:
    """The file behind a model argument: itself, or the model of a run folder."""
    return source / MODEL if source.is_dir() else source


def inspect(path: Path, arch: str | None, trust: bool, size: int | None) -> dict[str, Any]:
    """Architecture, parameters, MACs, bytes and sparsity per layer of a model."""
    loaded = load_model(path, arch, trust)
    file = model_file(loaded.source)
    metadata = loaded.metadata or {}
    side = size or metadata.get("transform", {}).get("size") or DEFAULT_SIZE
    own = codec.is_model_file(file)
    document = measure.inspect(
        loaded.model, architecture=loaded.architecture, input_size=int(side), file_bytes=file.stat().st_size,
        masks=codec.read_masks(file) if own else None, removed=metadata.get("removed"),
    )  # fmt: skip
    return {
        "model": str(path), "sha256": loaded.sha256, "classes": loaded.classes,
        "granularity": metadata.get("granularity", "dense"), **document,
    }  # fmt: skip
