"""Load a network from any checkpoint without running code of the file, and save one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairprune_cli.core.errors import FairpruneError, named
from fairprune_cli.core.files import atomic_path
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.class_names import names_in
from fairprune_cli.models.checkpoint.contents import (
    Contents,
    find_model_file,
    read_contents,
    safetensors_metadata,
    sha256_of_model,
)
from fairprune_cli.models.checkpoint.fit_notes import notes_on
from fairprune_cli.models.checkpoint.inert import Inert
from fairprune_cli.models.checkpoint.recognise import recognise
from fairprune_cli.models.checkpoint.state_dict import converted
from fairprune_cli.models.checkpoint.trusted import class_name, known_as, structure_file, structure_in, unwrapped


@dataclass
class LoadedModel:
    """A network and where it came from.

    Attributes:
        model: in eval mode, float32, on the CPU.
        architecture: name for `architectures.build`; of a trusted module that is none of ours, its class.
        structure: what builds the same network again, as `codec.load_with_header` takes it: the architecture's name,
            or a trusted module as it was before anything was removed.
        classes: for how many the architecture is built; 0 where it is not asked, as of a network of one's own whose
            outputs do not depend on it. How many outputs a network has is seen by running it.
        source: the file that was read; what a network in memory is called, which has none (`in_memory`).
        sha256: of that file; of a network in memory, of its tensors.
        metadata: the header of a model file of fairprune; of another that lost channels, `removed` alone; else {}.
        class_names: in the order of the outputs, where the file says them.
        transform: size, mean and std of the input, where the file says them.
        extra: what `save_checkpoint` was given as such.
        trusted: whether the file was unpickled for real, running whatever code it names.
        dtypes: the number format that each tensor of the model has in the file, by its name in the model.
        refusal: why it is not to be worked with: the network that was pickled computes something else than the
            architecture that its tensors fit, which this is.
        warnings: {code, text} of all that the user should know about how it was read.
    """

    model: nn.Module
    architecture: str
    classes: int
    source: Path
    sha256: str
    structure: str | nn.Module = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    transform: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    trusted: bool = False
    in_memory: bool = False
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    refusal: FairpruneError | None = None
    warnings: list[dict[str, str]] = field(default_factory=list)


def load_usable(
    path: Path, arch: str | nn.Module | None = None, trust: bool = False, weights: str | None = None,
    classes: int | None = None,
) -> LoadedModel:  # fmt: skip
    """`load_model`, for whoever works with the network; its refusal is raised as well."""
    loaded = load_model(path, arch, trust, weights, classes)
    if loaded.refusal is not None:
        loaded.refusal.where = loaded.refusal.where or str(loaded.source)
        raise loaded.refusal
    return loaded


def load_model(
    path: Path, arch: str | nn.Module | None = None, trust: bool = False, weights: str | None = None,
    classes: int | None = None,
) -> LoadedModel:  # fmt: skip
    """Load a network from a .pt, .pth, .pt2 or .safetensors file or a run folder.

    Args:
        path: the file, or a folder that holds a `model.safetensors`.
        arch: architecture, instead of recognising it; `package.module:factory` is imported. With `trust` also the
            file of a network that was pickled whole, which is unpickled and gives the structure. A network serves to
            load the weights into a copy of it.
        trust: unpickle for real, which RUNS the code that the file names; where that gives a module and
            `arch` is None, the module's own forward is used.
        weights: `ema` or `raw`, or the key under which the file keeps them; None takes the raw ones where there are
            both, and `warnings` says so.
        classes: what a factory is asked for where the tensors do not tell how many there are.

    Raises:
        FairpruneError: missing, damaged or without weights; the architecture cannot be told or does not fit;
            weights that are not finite, or not there.
    """
    file = find_model_file(Path(path))
    digest = sha256_of_model(file)
    structure = structure_file(arch, trust) if isinstance(arch, str) else None
    arch = arch if structure is None else structure_in(structure)
    own = (metadata := safetensors_metadata(file)) is not None and metadata.get("format") == "fairprune"
    if own:
        loaded = _load_own(file, digest, arch)
        if weights is not None:
            text = f"{file.name} is a model file of fairprune, which holds one set of weights: --weights says nothing"
            loaded.warnings.append({"code": "weights", "text": text})
    else:
        loaded = _load_other(file, digest, arch, trust, weights, classes)
    if structure is not None:
        loaded.trusted = True
        text = f"{structure.name} was unpickled as trusted, for its network: code that the file names has run"
        loaded.warnings.append({"code": "trusted-checkpoint", "text": text})
    loaded.model.eval()
    return loaded


def _load_other(
    file: Path, digest: str, arch: str | nn.Module | None, trust: bool, weights: str | None, classes: int | None
) -> LoadedModel:
    """From a file that is none of fairprune's."""
    contents = read_contents(file, trust, weights)
    loaded = LoadedModel(nn.Identity(), "", 0, file, digest, trusted=contents.trusted)
    if contents.trusted:
        text = f"{file.name} was unpickled as trusted: code that the file names has run"
        loaded.warnings.append({"code": "trusted-checkpoint", "text": text})
    with named(str(file)):
        if isinstance(arch, nn.Module):
            _use_structure(loaded, contents, arch)
        elif contents.module is not None and arch is None:
            use_module(loaded, contents.module, contents.notes)
        else:
            _use_state(loaded, contents, arch, weights, classes)
    converted_first = [{"code": "checkpoint-converted", "text": text} for text in contents.notes]
    loaded.warnings = converted_first + loaded.warnings
    return loaded


def save_checkpoint(
    path: Path,
    model: nn.Module,
    *,
    architecture: str,
    classes: Sequence[str],
    transform: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint that torch.load reads with weights_only=True; the same content gives the same bytes.

    Args:
        path: appears whole or not at all.
        model: its state dict is written, on the CPU.
        architecture: name for `architectures.build`.
        classes: names in the order of the outputs.
        transform: `manifest.Transform.to_dict()`.
        extra: further plain values, e.g. the epoch and accuracy.

    Raises:
        FairpruneError: the file cannot be written (exit code 3).
        TypeError: a value that is not made of None, bool, int, float, str, list, tuple and dict.
    """
    content = {
        "state_dict": {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()},
        "architecture": architecture,
        "classes": [str(name) for name in classes],
        "transform": _plain(dict(transform)),
        "extra": _plain(dict(extra or {})),
    }
    # Given a path, torch writes its name into the file; the temporary one would differ every time.
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        try:
            torch.save(content, stream)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(str(error)) from error


def use_module(loaded: LoadedModel, whole: nn.Module, notes: list[str]) -> None:
    """A module as it is keeps its own forward, and has an architecture's name where it computes the same as that."""
    module = unwrapped(whole)
    if isinstance(module, torch.jit.ScriptModule):
        raise FairpruneError(
            "it is a TorchScript program, whose layers cannot be changed",
            hint="build the network from its own code, load these weights into it and save its state dict",
        )
    loaded.dtypes = {name: tensor.dtype for name, tensor in module.state_dict().items()}
    notes += converted(module.state_dict())[1]  # refuses numbers that are not finite
    loaded.model = module.float()
    _note_plain(loaded, architectures.make_plain(module))
    known = known_as(module)
    if known is None:
        loaded.architecture = class_name(module)
        loaded.structure = copy.deepcopy(module)
    else:
        loaded.architecture, loaded.classes = known
        loaded.structure = loaded.architecture


def _use_structure(loaded: LoadedModel, contents: Contents, module: nn.Module) -> None:
    """The weights of one file in the network of another, which was unpickled."""
    loaded.structure, loaded.architecture, shapes = module, class_name(module), architectures.shapes_of(module)
    place = architectures.placed(contents.state, architectures.Signature(loaded.architecture, shapes, {}))
    beside = architectures.parts_beside(place, contents.state)
    names = {**place.names, **{name.removeprefix(place.prefix): name for name in beside}}
    state, changes = converted({name: contents.state[origin] for name, origin in names.items()})
    contents.notes += changes + notes_on(place, contents.state, state)
    loaded.model = architectures.fit_to_state(copy.deepcopy(module), state)
    if removed := architectures.account_of(loaded.model, shapes):
        loaded.metadata = {"removed": removed}
    loaded.dtypes = {name: contents.state[origin].dtype for name, origin in names.items()}


def _use_state(
    loaded: LoadedModel, contents: Contents, arch: str | None, weights: str | None, wanted: int | None
) -> None:
    said = _said(contents.root)
    name = said.get("architecture", "")
    known = architectures.is_supported(name) or name in architectures.other_names()
    try:
        with named("" if arch is None else f"--arch {arch}"):
            found = recognise(contents, arch, name if known else "", weights, wanted)
    except FairpruneError as error:
        if arch is None and architectures.is_import_path(name):
            error.hint = f"the file names {name[:100]!r}; if that is your own code, say so with --arch"
        elif arch is None and isinstance(contents.table.module, Inert) and "--trust-checkpoint" not in error.hint:
            error.hint += "; --trust-checkpoint runs the network's own code, if you trust where it comes from"
        raise
    contents.notes += found.notes
    loaded.warnings += [{"code": "changed-network", "text": text} for text in found.differences]
    loaded.refusal = found.refusal
    _note_plain(loaded, found.computed)
    loaded.model = found.model
    if found.removed:
        loaded.metadata = {"removed": found.removed}
    loaded.dtypes = {name: found.dtypes[name] for name in found.model.state_dict() if name in found.dtypes}
    loaded.architecture = loaded.structure = found.place.signature.name
    signature = found.place.signature
    loaded.classes = classes = signature.classes_of(found.model.state_dict()) or 0
    transform, extra = said.get("transform"), said.get("extra")
    loaded.class_names = names_in(contents.root, classes)
    loaded.transform = transform if isinstance(transform, dict) else None
    loaded.extra = extra if isinstance(extra, dict) else {}


def _note_plain(loaded: LoadedModel, sentences: Sequence[str]) -> None:
    loaded.warnings += [{"code": "computed-weights", "text": text} for text in sentences]


def _said(root: Any) -> dict[str, Any]:
    """What a checkpoint of `save_checkpoint` says beside its weights."""
    return root if isinstance(root, dict) and isinstance(root.get("architecture"), str) else {}


def _load_own(file: Path, digest: str, arch: str | nn.Module | None) -> LoadedModel:
    from fairprune_cli.models.file.codec import load_with_header

    model, header = load_with_header(file, arch)
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    return LoadedModel(
        model.float(),
        arch if isinstance(arch, str) else header.architecture,
        header.built_for,
        file,
        digest,
        arch or header.architecture,
        metadata=asdict(header),
        class_names=tuple(header.classes),
        transform=dict(header.transform) or None,
        dtypes=dtypes,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a checkpoint holds plain values only, not {type(value).__name__}")
