"""An audit of models as they are: look, judge, report, change nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fairprune_cli.audit.policy import Policy, policy_of
from fairprune_cli.core import distributed as ranks
from fairprune_cli.core import provenance
from fairprune_cli.core.device import choose_device, machine, process_peak_bytes, repeatable, set_threads
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import refuse_no_room
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.load import Transform
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.models import measure
from fairprune_cli.models.checkpoint.contents import weights_of_each
from fairprune_cli.models.checkpoint.in_memory import FunctionScores, InMemory
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.models.file import codec
from fairprune_cli.run.audit_step import AuditStep, Outcome
from fairprune_cli.run.folder import MODEL
from fairprune_cli.run.inputs import Data, decoded_images, open_data, open_model, transform_of
from fairprune_cli.run.options import Resolved
from fairprune_cli.run.plug_ins import refuse_broken_plug_ins

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class AuditRequest:
    """What `fairprune audit` was asked for, beyond the settings.

    Attributes:
        in_memory: networks and functions that have no file, by the names that stand for them among the paths.
    """

    models: tuple[Path, ...]
    resolved: Resolved
    against: Path | None = None
    out: Path | None = None
    force: bool = False
    trust: bool = False
    dry_run: bool = False
    in_memory: Mapping[Path, InMemory] = field(default_factory=dict)


def audit(request: AuditRequest, terminal: Terminal) -> Outcome:
    """Audit one model or several on the same images, alone or against the dense one they came from.

    Several processes divide the images among them.
    """
    device = choose_device(request.resolved.settings.device)
    with ranks.joined(device) as group:
        return _audit(request, terminal, device, group)


def _audit(request: AuditRequest, terminal: Terminal, device: torch.device, group: ranks.Ranks) -> Outcome:
    settings = request.resolved.settings
    started = time.time()
    with group.together():
        policy = policy_of(settings)
        _check(request)
        threads = set_threads(settings.threads)
        repeatable(device)
        first = next((path for path in request.models if path not in request.in_memory), None)
        data = open_data(settings, first, terminal, True, settings.split).with_attributes(policy.attributes)
        refuse_broken_plug_ins(*(len(task.classes) for task in data.manifest.tasks))
        _check_dense(request, policy, len(data.manifest.classes))
        rows = data.rows(settings.split)
        if not len(rows):
            raise FairpruneError(f"the {settings.split} split has no images", where=str(data.manifest.path))
        sources = _sources(request, data, terminal)
        _warn_of_itself(sources, terminal)
        transform = _common_transform(sources, data, terminal)
    if request.dry_run:
        plan = {
            "dry_run": True, "models": {k: str(v.source) for k, v in sources.items()}, "split": settings.split,
            "images": len(rows), "attributes": {g.name: list(g.groups) for g in data.groupings}, "device": str(device),
            "gates": sum(len(rule.attributes or data.attributes) for rule in policy.rules),
        }  # fmt: skip
        return Outcome(plan, ExitCode.OK)
    with group.together():
        pool = decoded_images(data, transform, terminal, rows).pool(rows)
    step = AuditStep(
        {name: loaded.model for name, loaded in sources.items()}, pool, data, settings, policy, device, terminal,
        group, settings.batch_size,
    )  # fmt: skip

    def describe() -> dict[str, Any]:
        finished = time.time()
        return _parts(request, sources, transform) | {
            "cost": {"passes": 0.0, "seconds": finished - started, "peak_bytes": process_peak_bytes(device)},
            "provenance": provenance.collect(settings.seed, str(device), machine(device, threads), started, finished),
        }

    return step.take(describe, request.out)


def _sources(request: AuditRequest, data: Data, terminal: Terminal) -> dict[str, LoadedModel]:
    """The models by name. What was pruned from a trusted module is built on that module where it is the dense one."""
    found: dict[str, LoadedModel] = {}
    paths, settings = name_models(request.models, request.against), request.resolved.settings
    meant = weights_of_each((p for p in paths.values() if p not in request.in_memory), settings.weights)
    for name, path in paths.items():
        dense = found.get("dense")
        structure = dense.structure if dense is not None and _pruned_from(dense, path) else None
        found[name] = open_model(
            path, replace(settings, weights=meant.get(path)), data.manifest, terminal, request.trust,
            structure if isinstance(structure, nn.Module) else None, request.in_memory.get(path),
        )  # fmt: skip
    return found


def _pruned_from(dense: LoadedModel, path: Path) -> bool:
    """Whether a path is a file of ours that names the architecture of the dense model."""
    file = model_file(path)
    return file.is_file() and codec.is_model_file(file) and codec.read_header(file).architecture == dense.architecture


def _parts(request: AuditRequest, sources: dict[str, LoadedModel], transform: Transform) -> dict[str, Any]:
    """What the report says of the models beside the figures."""
    judged = [name for name in sources if name != "dense"] or ["dense"]
    parts: dict[str, Any] = {
        "model": _described(sources[judged[0]]),
        "against": _described(sources["dense"]) if request.against else None,
        "size": _sizes(sources, judged[0], transform),
        "config": request.resolved.document(),
    }
    if len(judged) > 1:
        parts["models"] = {name: _described(loaded) | _own_size(loaded, transform) for name, loaded in sources.items()}
    return parts


def _check(request: AuditRequest) -> None:
    """What can be refused before anything is read."""
    if request.out is None:
        return
    if request.out.exists() and not request.force:
        raise FairpruneError("already exists", where=str(request.out), hint="--force overwrites it")
    if request.out.exists() and not request.out.is_dir():
        raise FairpruneError("is not a folder", where=str(request.out), hint="give another --out")
    refuse_no_room(request.out)


def _check_dense(request: AuditRequest, policy: Policy, classes: int) -> None:
    """Refuse what needs a dense model where none is given; classes: how many the data has."""
    settings = request.resolved.settings
    relative = fairness.get(settings.notion, classes).relative
    if request.against is not None:
        return
    needs = [
        flag for flag, asked in (
            ("--max-degradation", settings.max_degradation is not None), ("--notion", relative),
            ("--show-examples", settings.show_examples > 0), ("--policy", policy.needs_dense(classes)),
        ) if asked
    ]  # fmt: skip
    if needs:
        what = "what pruning lost" if needs[0] == "--show-examples" else "degradation"
        raise FairpruneError(f"{what} needs the dense model", where=needs[0], hint="give it with --against DENSE")


def _warn_of_itself(sources: dict[str, LoadedModel], terminal: Terminal) -> None:
    """A model held against itself has lost nothing, whatever was meant."""
    for name, loaded in sources.items():
        if name != "dense" and "dense" in sources and loaded.sha256 and loaded.sha256 == sources["dense"].sha256:
            terminal.warn(f"{loaded.source} is the dense model itself: no change can show", code="same-model")


def name_models(paths: Sequence[Path], against: Path | None) -> dict[str, Path]:
    """What the models are called in the report: dense and pruned, or, of several, by file or run folder.

    Raises:
        FairpruneError: a model is given twice.
    """
    everything = [*paths, *([against] if against is not None else [])]
    resolved = [path.resolve() for path in everything]
    for path, where in zip(everything, resolved, strict=True):
        if len(paths) > 1 and resolved.count(where) > 1:
            raise FairpruneError("is given twice", where=str(path), hint="give each model once")
    dense = {} if against is None else {"dense": against}
    if len(paths) == 1:
        return {**dense, ("pruned" if dense else "dense"): paths[0]}
    short = [_short(path) for path in paths]
    # Names that do not tell the models apart grow to the left, folder by folder.
    names = [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]
    taken = {"dense", "pruned"}  # these mean something in a report
    return dense | {(f"{name} (model)" if name in taken else name): p for name, p in zip(names, paths, strict=True)}


def _short(path: Path) -> str:
    where = path.resolve()
    if where.name == MODEL:
        return where.parent.name or MODEL
    return where.name if where.is_dir() else where.stem


def _common_transform(sources: dict[str, LoadedModel], data: Data, terminal: Terminal) -> Transform:
    """The input transform that all models want; one pass over the images serves them all."""
    found = {name: transform_of(loaded, data.manifest, terminal) for name, loaded in sources.items()}
    first, *others = found.items()
    for name, transform in others:
        if transform != first[1]:
            raise FairpruneError(
                f"{sources[first[0]].source} and {sources[name].source} want different input transforms",
                where="fairprune audit", hint="audit them one by one",
            )  # fmt: skip
    return first[1]


def _described(loaded: LoadedModel) -> dict[str, Any]:
    return {"architecture": loaded.architecture, "source": str(loaded.source), "sha256": loaded.sha256 or None}


def _own_size(loaded: LoadedModel, transform: Transform) -> dict[str, Any]:
    if isinstance(loaded.model, FunctionScores):
        return _unknown(("file_bytes", "parameters", "macs"), "a function tells nothing of its size")
    if loaded.in_memory:
        counted = {"parameters": _parameters(loaded), "macs": measure.macs(loaded.model, transform.shape)}
        return counted | _unknown(("file_bytes",), "the network was given in memory and has no file")
    return {
        "file_bytes": model_file(loaded.source).stat().st_size, "parameters": _parameters(loaded),
        "macs": measure.macs(loaded.model, transform.shape),
    }  # fmt: skip


def _sizes(sources: dict[str, LoadedModel], judged: str, transform: Transform) -> dict[str, Any]:
    """The contract's size block; without a dense model only the model's own figures are known."""
    size = _own_size(sources[judged], transform)
    for key, value in (
        ("dense_bytes", lambda dense: measure.dense_bytes(dense.model, dense.dtypes)),
        ("dense_parameters", lambda dense: measure.count_parameters(dense.model)),
        ("dense_macs", lambda dense: measure.macs(dense.model, transform.shape)),
    ):  # fmt: skip
        if judged == "dense" or "dense" not in sources:
            size |= _unknown((key,), "no dense model was given with --against")
        elif isinstance(sources["dense"].model, FunctionScores):
            size |= _unknown((key,), "a function tells nothing of its size")
        else:
            size[key] = value(sources["dense"])
    return size


def _unknown(keys: Sequence[str], why: str) -> dict[str, Any]:
    return {name: text for key in keys for name, text in ((key, None), (f"{key}_undefined", why))}


def _parameters(loaded: LoadedModel) -> int:
    """Parameters that the file keeps: all of them, less the single weights that a mask removed."""
    file = model_file(loaded.source)
    masked = not loaded.in_memory and codec.is_model_file(file)
    return measure.kept_parameters(loaded.model, codec.read_masks(file) if masked else {})


def model_file(source: Path) -> Path:
    """The file behind a model argument: itself, or the model of a run folder."""
    return source / MODEL if source.is_dir() else source
