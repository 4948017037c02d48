"""One network through the product's own path: loaded, pruned untrained, written, read back, compared to the bit."""

from __future__ import annotations

import copy
import importlib
import inspect
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import LoadedModel, load_model
from fairprune_cli.models.file import codec
from fairprune_cli.models.inference import evaluating
from fairprune_cli.pruning import target
from fairprune_cli.pruning.masks import ChannelMasks, Masks
from fairprune_cli.pruning.options import TargetOptions

SPARSITY = 0.5
SIZES = (64, 96, 128, 160, 192, 224, 256)
LESS = (0.4, 0.3, 0.2, 0.1, 0.05)  # tried in turn where a network cannot lose half of its channels
GRANULARITIES = ("channel", "weight")
CLASSES = 2
CLOSE = 1e-3  # of the largest logit: how far masking and removing, which add up in another order, may differ

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Candidate:
    """A network to try.

    Attributes:
        arch: what `--arch` is given.
        shapes: of an image, the first that it takes is used, and the next for the comparison; None to find them.
    """

    arch: str
    shapes: tuple[Shape, ...] | None


class TooLarge(Exception):
    """More parameters than are wanted."""


class NotRunnable(Exception):
    """The network itself, before anything is done to it, cannot be used here."""


def trial(candidate: Candidate, limit: float) -> dict[str, Any]:
    """What becomes of it: {"shapes": ..., "parameters": ..., "channel": outcome, "weight": outcome}.

    An outcome is {"outcome": "equal" | "less" | "refused" | "late" | "WRONG" | "INTERNAL" | "not runnable", "message",
    "seconds"}; "less" is equal at a smaller sparsity, because .5 cannot be reached; "late" is
    a refusal of the file that was written.
    """
    try:
        shapes = candidate.shapes or _likely_shapes(candidate.arch, limit)
        dense = _dense(candidate.arch, shapes[0])
        shapes = _runnable(dense, shapes)
    except TooLarge:
        return {one: _outcome("too large", "", 0.0) for one in GRANULARITIES}
    except Exception as error:
        return {one: _outcome("not runnable", _short(error), 0.0) for one in GRANULARITIES}
    found: dict[str, Any] = {"shapes": shapes, "parameters": sum(p.numel() for p in dense.parameters())}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(dense.state_dict(), path)
        for granularity in GRANULARITIES:
            started = time.perf_counter()
            stage = ["refused"]
            try:
                outcome, message = _pruned(candidate.arch, dense, path, shapes, granularity, stage)
            except FairpruneError as error:
                outcome, message = stage[0], _short(error)
            except Exception:
                outcome, message = "INTERNAL", traceback.format_exc()[-3000:]
            found[granularity] = _outcome(outcome, message, time.perf_counter() - started)
    return found


def _likely_shapes(arch: str, limit: float) -> tuple[Shape, ...]:
    """Small ones first, up to what it was made for; that alone where it takes nothing else."""
    try:
        with torch.device("meta"):
            model = _owners(arch)
    except Exception:
        model = _owners(arch)
    if sum(p.numel() for p in model.parameters()) > limit:
        raise TooLarge
    config = getattr(model, "pretrained_cfg", None) or {}
    channels, side, _ = config.get("input_size", (3, 224, 224))
    sizes = [side] if config.get("fixed_input_size") else [s for s in (*SIZES, side) if s <= side]
    return tuple((channels, s, s) for s in dict.fromkeys([*sizes, side + 32]))


def _outcome(outcome: str, message: str, seconds: float) -> dict[str, Any]:
    return {"outcome": outcome, "message": message, "seconds": round(seconds, 1)}


def _short(error: Exception) -> str:
    if isinstance(error, FairpruneError):
        parts = [error.where, error.what, error.hint]
        return " | ".join(" ".join(part.split()) for part in parts if part)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _owners(arch: str) -> nn.Module:
    """The network as its owner builds it, without fairprune."""
    torch.manual_seed(0)
    if arch.startswith("timm/"):
        import timm

        return timm.create_model(arch.removeprefix("timm/"), pretrained=False, num_classes=CLASSES)
    if is_import_path(arch):
        module, _, name = arch.partition(":")
        factory = getattr(importlib.import_module(module), name)
        return factory(num_classes=CLASSES) if "num_classes" in inspect.signature(factory).parameters else factory()
    import torchvision

    if arch in torchvision.models.list_models():
        return torchvision.models.get_model(arch, weights=None, num_classes=CLASSES)
    return architectures.build(arch, CLASSES)


def _dense(arch: str, shape: Shape) -> nn.Module:
    """The network as its owner would have trained it: no number of it is what its constructor put there."""
    model = _owners(arch)
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        model(torch.zeros(2, *shape))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.detach()
            if flat.is_floating_point() and bool((flat == flat.flatten()[:1]).all()):
                noise = torch.randn(flat.shape, generator=generator) * 0.1
                start = 1.0 if bool((flat != 0).all()) and flat.dim() <= 1 or flat.abs().max() > 0.5 else 0.0
                parameter.copy_(start + noise)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.1)
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return model.eval()


def _runnable(dense: nn.Module, shapes: tuple[Shape, ...]) -> list[Shape]:
    """The first two shapes that it takes, one where it takes one only."""
    found: list[Shape] = []
    first = ""
    for shape in shapes:
        try:
            outputs = results(dense, shape)
        except Exception as error:
            first = first or f"{shape}: {_short(error)}"
            continue
        if not all(bool(one.isfinite().all()) for one in outputs):
            raise NotRunnable("its untrained outputs are not finite")
        found.append(shape)
        if len(found) == 2:
            return found
    if not found:
        raise NotRunnable(first)
    return found


@torch.no_grad()
def results(model: nn.Module, shape: Shape) -> list[Tensor]:
    """All tensors that it gives for two images."""
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    with evaluating(model), torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return [one for one in _tensors(model(images)) if one.is_floating_point()]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "__dict__"):
        yield from _tensors(vars(value))


def _difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Largest difference, infinite where the shapes differ."""
    if [part.shape for part in one] != [part.shape for part in other]:
        return float("inf")
    return max((float((a - b).abs().max()) for a, b in zip(one, other, strict=True) if a.numel()), default=0.0)


def _pruned(
    arch: str, dense: nn.Module, path: Path, shapes: list[Shape], granularity: str, stage: list[str]
) -> tuple[str, str]:
    loaded = load_model(path, arch=arch)
    size = shapes[0][1]
    before = [results(dense, shape) for shape in shapes]
    scale = max(float(one.abs().max()) for part in before for one in part)
    for shape, expected in zip(shapes, before, strict=True):
        if (gap := _difference(expected, results(loaded.model, shape))) > 1e-4 * scale:
            return "WRONG", f"loading changes the outputs by {gap:.3g} of {scale:.3g} at {shape}"
    student = copy.deepcopy(loaded.model).to(memory_format=torch.channels_last)
    masks, sparsity = _masks(loaded, student, size, granularity)
    masks.apply(masks.select(masks.rank_within(masks.magnitude()), sparsity))
    masked = [results(student, shape) for shape in shapes]
    masks.harden(student)
    student.eval()
    stage[0] = "late"
    for shape, expected in zip(shapes, masked, strict=True):
        gap = _difference(expected, results(student, shape))
        if isinstance(masks, ChannelMasks) and all(space.exact for space in masks.spaces) and not gap <= CLOSE * scale:
            return "WRONG", f"removed is not masked: differs by {gap:.3g} of {scale:.3g} at {shape}"
    kept = masks.sparse_entries(masks.keep)
    header = codec.ModelHeader(
        loaded.architecture, tuple(str(n) for n in range(loaded.classes)),
        {"size": size, "mean": [0.5] * 3, "std": [0.25] * 3}, granularity,
        target.removed(student, loaded.model, kept, target.earlier(loaded)),
    )  # fmt: skip
    file = path.with_name("model.safetensors")
    codec.save_model(file, student.state_dict(), header=header, masks=kept)
    stored = codec.load_network(file, arch if is_import_path(arch) else None).float()
    plain = copy.deepcopy(student).to(memory_format=torch.contiguous_format)
    for shape in shapes:
        ours = results(plain, shape)
        if not all(bool(one.isfinite().all()) for one in ours):
            return "WRONG", f"pruned outputs are not finite at {shape}"
        if gap := _difference(ours, results(stored, shape)):
            return "WRONG", f"the file differs from memory by {gap:.3g} of {scale:.3g} at {shape}"
    if what := _not_kept(dense, stored):
        return "WRONG", what
    left = sum(p.numel() for p in stored.parameters())
    told = [f"{left} of {sum(p.numel() for p in dense.parameters())} parameters"] if granularity == "channel" else []
    with suppress(StopIteration):
        told.append(next(iter(f"{layer}: {why}" for layer, why in getattr(masks, "fixed", {}).items() if why)))
    return "equal" if sparsity == SPARSITY else "less", "; ".join(told)


def _not_kept(dense: nn.Module, stored: nn.Module) -> str:
    """What of frozen and tied parameters did not come back as it was, in words; else ""."""
    after = dict(stored.named_parameters(remove_duplicate=False))
    before = dict(dense.named_parameters(remove_duplicate=False))
    for name, parameter in before.items():
        if not parameter.requires_grad and name in after:
            if after[name].shape != parameter.shape or not bool((after[name] == parameter).all()):
                return f"{name} is frozen, and changed"
            if after[name].requires_grad:
                return f"{name} is no longer frozen"
    first: dict[int, str] = {}
    for name, parameter in before.items():
        twin = first.setdefault(id(parameter), name)
        if twin in after and name in after and after[twin] is not after[name]:
            return f"{twin} and {name} are no longer one parameter"
    return ""


def _masks(loaded: LoadedModel, student: nn.Module, size: int, granularity: str) -> tuple[Masks, float]:
    """Masks for the wanted sparsity, or for the largest of `LESS` that the network allows, with that sparsity."""
    for sparsity in (SPARSITY, *LESS):
        options = TargetOptions(granularity=granularity, sparsity=sparsity)
        try:
            return target.build_masks(options, student, size, target.earlier(loaded)), sparsity
        except FairpruneError as error:
            if "cannot be reached" not in error.what or sparsity == LESS[-1]:
                raise
    raise AssertionError("unreachable")
