"""The models of an audit, of whatever kind: opened, named, and what the report says of each beside its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from fairprune_cli.audit.policy import Policy
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.load import Transform
from fairprune_cli.models import measure
from fairprune_cli.models.checkpoint.contents import weights_of_each
from fairprune_cli.models.checkpoint.in_memory import FunctionScores, InMemory
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.models.file import codec
from fairprune_cli.models.graphs.load import file_bytes
from fairprune_cli.models.graphs.network import GraphNetwork
from fairprune_cli.models.graphs.onnx_file import OnnxNetwork
from fairprune_cli.run.audit_checks import unknown_sizes
from fairprune_cli.run.folder import MODEL
from fairprune_cli.run.inputs import open_model, transform_of
from fairprune_cli.run.opened_data import Data
from fairprune_cli.run.options import Resolved

NOT_IN_GRAPH = "the graph does not tell it"
NOT_IN_FUNCTION = "a function tells nothing of its size"
NO_FILE = "the network was given in memory and has no file"


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


def open_sources(request: AuditRequest, data: Data, terminal: Terminal) -> dict[str, LoadedModel]:
    """The models by name. What was pruned from a trusted module is built on that module where it is the dense one."""
    found: dict[str, LoadedModel] = {}
    paths, settings = name_models(request.models, request.against), request.resolved.settings
    meant = weights_of_each((p for p in paths.values() if p not in request.in_memory), settings.weights)
    for name, path in paths.items():
        dense = found.get("dense")
        structure = dense.structure if dense is not None and _pruned_from(dense, path) else None
        found[name] = open_model(
            path, replace(settings, weights=meant.get(path)), data.manifest, terminal, request.trust,
            structure if isinstance(structure, nn.Module) else None, graphs=True,
            in_memory=request.in_memory.get(path),
        )  # fmt: skip
    _refuse_idle(request, found)
    return found


def _refuse_idle(request: AuditRequest, found: Mapping[str, LoadedModel]) -> None:
    """Refuse what says how checkpoints are read, where all models are graphs."""
    if not all(isinstance(loaded.model, GraphNetwork) for loaded in found.values()):
        return
    sources = request.resolved.sources
    named = [f"--{key}" for key in ("arch", "weights") if sources.get(key) == "flag"]
    if named := named + ["--trust-checkpoint"] * request.trust:
        raise FairpruneError(
            "says how a checkpoint is read, and graphs alone are audited", where=named[0], hint="leave it out"
        )


def _pruned_from(dense: LoadedModel, path: Path) -> bool:
    """Whether a path is a file of ours that names the architecture of the dense model."""
    file = model_file(path)
    return file.is_file() and codec.is_model_file(file) and codec.read_header(file).architecture == dense.architecture


def described_sources(request: AuditRequest, sources: dict[str, LoadedModel], transform: Transform) -> dict[str, Any]:
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


def refuse_itself(sources: Mapping[str, LoadedModel], policy: Policy, classes: int) -> None:
    """Refuse to judge what a model lost against the very same file, which is nothing whatever the model is."""
    dense = sources.get("dense")
    if dense is None or len(sources) < 2 or not policy.needs_dense(classes):
        return
    for name, loaded in sources.items():
        if name != "dense" and loaded.sha256 and loaded.sha256 == dense.sha256:
            raise FairpruneError(
                f"is the same file as {loaded.source}, so nothing can be lost against it", where=str(dense.source),
                hint="give the dense model that it was made from with --against",
            )  # fmt: skip


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
    # Names that do not tell the models apart get their suffix, as model.onnx beside model.pt, and then their folders.
    names = [_short(path) for path in paths]
    for longer in (lambda path: path.resolve().name, str):
        names = [name if names.count(name) == 1 else longer(p) for name, p in zip(names, paths, strict=True)]
    taken = {"dense", "pruned"}  # these mean something in a report
    return dense | {(f"{name} (model)" if name in taken else name): p for name, p in zip(names, paths, strict=True)}


def _short(path: Path) -> str:
    where = path.resolve()
    if where.name == MODEL:
        return where.parent.name or MODEL
    return where.name if where.is_dir() else where.stem


def common_transform(sources: dict[str, LoadedModel], data: Data, terminal: Terminal) -> Transform:
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
    described = {"architecture": loaded.architecture, "source": str(loaded.source), "sha256": loaded.sha256 or None}
    return described | ({"kind": loaded.model.kind} if isinstance(loaded.model, GraphNetwork) else {})


def _own_size(loaded: LoadedModel, transform: Transform) -> dict[str, Any]:
    sizes = {"file_bytes": _file_bytes(loaded), "parameters": _parameters(loaded), "macs": _macs(loaded, transform)}
    return _known(sizes, loaded)


def _known(values: Mapping[str, int | None], loaded: LoadedModel) -> dict[str, Any]:
    """Values for JSON: one that is not known is null, and it is said why."""
    of_function, in_graph = isinstance(loaded.model, FunctionScores), isinstance(loaded.model, GraphNetwork)
    why = NOT_IN_FUNCTION if of_function else NOT_IN_GRAPH if in_graph else NO_FILE
    return {**values, **unknown_sizes([key for key, value in values.items() if value is None], why)}


def _file_bytes(loaded: LoadedModel) -> int | None:
    if loaded.in_memory:
        return None
    graph = isinstance(loaded.model, GraphNetwork)
    return file_bytes(loaded) if graph else model_file(loaded.source).stat().st_size


def _macs(loaded: LoadedModel, transform: Transform) -> int | None:
    """Multiply-adds of one image."""
    if isinstance(loaded.model, FunctionScores):
        return None
    if isinstance(loaded.model, OnnxNetwork):
        return loaded.model.multiply_adds
    counted = measure.macs(loaded.model, transform.shape)
    return counted // (loaded.model.takes.batch or 1) if isinstance(loaded.model, GraphNetwork) else counted


def _sizes(sources: Mapping[str, LoadedModel], judged: str, transform: Transform) -> dict[str, Any]:
    """The contract's size block; without a dense model only the model's own figures are known."""
    size = _own_size(sources[judged], transform)
    dense = sources.get("dense")
    if judged == "dense" or dense is None:
        keys = ("dense_bytes", "dense_parameters", "dense_macs")
        return size | unknown_sizes(keys, "no dense model was given with --against")
    return size | _known({
        "dense_bytes": _dense_bytes(dense), "dense_parameters": _dense_parameters(dense),
        "dense_macs": _macs(dense, transform),
    }, dense)  # fmt: skip


def _dense_bytes(dense: LoadedModel) -> int | None:
    if isinstance(dense.model, FunctionScores):
        return None
    if isinstance(dense.model, GraphNetwork):
        return dense.model.tensor_bytes()
    return measure.dense_bytes(dense.model, dense.dtypes)


def _dense_parameters(dense: LoadedModel) -> int | None:
    if isinstance(dense.model, FunctionScores):
        return None
    if isinstance(dense.model, GraphNetwork):
        return dense.model.parameter_count()
    return measure.count_parameters(dense.model)


def _parameters(loaded: LoadedModel) -> int | None:
    """Parameters that the file keeps: all of them, less the single weights that a mask removed."""
    if isinstance(loaded.model, FunctionScores):
        return None
    if isinstance(loaded.model, GraphNetwork):
        return loaded.model.parameter_count()
    file = model_file(loaded.source)
    masked = not loaded.in_memory and codec.is_model_file(file)
    return measure.kept_parameters(loaded.model, codec.read_masks(file) if masked else {})


def model_file(source: Path) -> Path:
    """The file behind a model argument: itself, or the model of a run folder."""
    return source / MODEL if source.is_dir() else source
