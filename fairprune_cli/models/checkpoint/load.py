"""Load a network from any checkpoint without running code of the file, and save one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_path, sha256_file
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.contents import (
    Contents,
    find_model_file,
    named,
    read_contents,
    safetensors_metadata,
)
from fairprune_cli.models.checkpoint.inert import Inert
from fairprune_cli.models.checkpoint.state_dict import clean_names
from fairprune_cli.models.checkpoint.torch_file import reading

USUAL_CLASSES = 1000  # what a factory is asked for that does not heed it, or whose head does not tell


@dataclass
class LoadedModel:
    """A network and where it came from.

    Attributes:
        model: in eval mode, float32, on the CPU.
        architecture: name for `architectures.build`; of a trusted module that fits none, its class.
        classes: for how many the architecture is built; 0 where it is not asked, as of a network of one's own whose
            outputs do not depend on it. How many outputs a network has is seen by running it.
        source: the file that was read.
        sha256: of that file.
        metadata: the header of a model file of fairprune, else {}.
        class_names: in the order of the outputs, where the file says them.
        transform: size, mean and std of the input, where the file says them.
        extra: what `save_checkpoint` was given as such.
        trusted: whether the file was unpickled for real, running whatever code it names.
        warnings: {code, text} of all that the user should know about how it was read.
    """

    model: nn.Module
    architecture: str
    classes: int
    source: Path
    sha256: str
    metadata: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    transform: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    trusted: bool = False
    warnings: list[dict[str, str]] = field(default_factory=list)


def load_model(path: Path, arch: str | None = None, trust: bool = False) -> LoadedModel:
    """Load a network from a .pt, .pth, .pt2 or .safetensors file or a run folder.

    Args:
        path: the file, or a folder that holds a `model.safetensors`.
        arch: architecture, instead of recognising it; `package.module:factory` is imported.
        trust: unpickle for real, which RUNS the code that the file names; where that gives a module and
            `arch` is None, the module's own forward is used.

    Raises:
        FairpruneError: missing, damaged or without weights; the architecture cannot be told or does not fit;
            weights that are not finite.
    """
    file = find_model_file(Path(path))
    with reading(file):
        digest = sha256_file(file)
    if (metadata := safetensors_metadata(file)) is not None and metadata.get("format") == "fairprune":
        return _load_own(file, digest, arch)
    contents = read_contents(file, trust)
    loaded = LoadedModel(nn.Identity(), "", 0, file, digest, trusted=contents.trusted)
    loaded.warnings = [{"code": "checkpoint-converted", "text": text} for text in contents.notes]
    if contents.trusted:
        text = f"{file.name} was unpickled as trusted: code that the file names has run"
        loaded.warnings.append({"code": "trusted-checkpoint", "text": text})
    with named(str(file)):
        if contents.module is not None and arch is None:
            _use_module(loaded, contents)
        else:
            _use_state(loaded, contents, arch)
    loaded.model.eval()
    return loaded


def read_state(path: Path, trust: bool = False) -> dict[str, Tensor]:
    """The weights of a checkpoint as a state dict: no prefixes, float32, finite, on the CPU."""
    file = find_model_file(Path(path))
    if (metadata := safetensors_metadata(file)) is not None and metadata.get("format") == "fairprune":
        from fairprune_cli.models.file.codec import read_model

        return _float(read_model(file)[0])
    return read_contents(file, trust).state


def check_class_names(loaded: LoadedModel, classes: Sequence[str]) -> None:
    """Raise FairpruneError where the file names the same classes as a manifest, in another order."""
    ordered = loaded.class_names
    if ordered and ordered != tuple(classes) and sorted(ordered) == sorted(classes):
        raise FairpruneError(
            f"the network's outputs are {', '.join(ordered)}, the manifest says {', '.join(classes)}",
            where=str(loaded.source),
            hint="write the manifest's `classes` in the order of the network's outputs",
        )


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


def _use_module(loaded: LoadedModel, contents: Contents) -> None:
    """A trusted module keeps its own forward; its architecture is only a name for the report."""
    assert contents.module is not None
    if isinstance(contents.module, torch.jit.ScriptModule):
        raise FairpruneError(
            "it is a TorchScript program, whose layers cannot be changed",
            hint="build the network from its own code, load these weights into it and save its state dict",
        )
    loaded.model = contents.module
    kind = type(contents.module)
    try:
        loaded.architecture, loaded.classes = architectures.identify(contents.state)
    except FairpruneError:
        loaded.architecture = f"{kind.__module__}:{kind.__qualname__}"


def _use_state(loaded: LoadedModel, contents: Contents, arch: str | None) -> None:
    state, said = contents.state, _said(contents.root)
    if arch is None:
        arch = _recognised(state, contents.root)
    with named(f"--arch {arch}"):
        signature = architectures.signature(arch)
    # The network itself may have names that begin like a prefix: compare both without.
    original = clean_names(signature.shapes)
    state = {original.get(key, key): tensor for key, tensor in state.items()}
    classes = signature.classes_of(state) or 0
    make = architectures.build if architectures.is_import_path(arch) else architectures.skeleton
    model = make(arch, classes or USUAL_CLASSES)
    loaded.model = architectures.load_strictly(model, state, str(loaded.source))
    loaded.architecture = arch
    loaded.classes = classes
    names, transform, extra = said.get("classes"), said.get("transform"), said.get("extra")
    if isinstance(names, list | tuple) and classes in (0, len(names)) and all(isinstance(n, str) for n in names):
        loaded.class_names = tuple(names)
    loaded.transform = transform if isinstance(transform, dict) else None
    loaded.extra = extra if isinstance(extra, dict) else {}


def _said(root: Any) -> dict[str, Any]:
    """What a checkpoint of `save_checkpoint` says beside its weights."""
    return root if isinstance(root, dict) and isinstance(root.get("architecture"), str) else {}


def _recognised(state: dict[str, Tensor], root: Any) -> str:
    """The architecture the file names, if its tensors fit that one; else the one they fit."""
    name = _said(root).get("architecture", "")
    known = architectures.is_supported(name) or name in architectures.other_names()
    if known and not architectures.signature(name).difference(state):
        return name
    try:
        return architectures.identify(state)[0]
    except FairpruneError as error:
        if architectures.is_import_path(name):
            error.hint = f"the file names {name[:100]!r}; if that is your own code, say so with --arch"
        elif isinstance(root, Inert):
            error.hint += "; --trust-checkpoint runs the network's own code, if you trust where it comes from"
        raise


def _load_own(file: Path, digest: str, arch: str | None) -> LoadedModel:
    from fairprune_cli.models.file.codec import load_with_header

    model, header = load_with_header(file, arch)
    numbered = header.classes == tuple(str(index) for index in range(len(header.classes)))
    return LoadedModel(
        model.float(),
        arch or header.architecture,
        header.built_for,
        file,
        digest,
        metadata=asdict(header),
        class_names=None if numbered else tuple(header.classes),
        transform=dict(header.transform) or None,
    )


def _float(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a checkpoint holds plain values only, not {type(value).__name__}")
