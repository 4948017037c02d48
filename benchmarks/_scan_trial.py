"""One network through what `prune --dry-run` does, and further: pruned, written, read back, compared to the bit."""

from __future__ import annotations

import copy
import csv
import importlib
import inspect
import io
import json
import re
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.models import architectures
from fairprune_cli.models.file import codec
from fairprune_cli.models.inference import evaluating
from fairprune_cli.models.read_out import as_given
from fairprune_cli.pruning.masks import ChannelMasks
from fairprune_cli.run.options import resolve
from fairprune_cli.run.prepare import Prepared, prepare
from fairprune_cli.run.save import write_model
from fairprune_cli.run.trial import try_out

SPARSITY = 0.5
LESS = (0.4, 0.3, 0.2, 0.1, 0.05)  # tried in turn where a network cannot lose half of its parameters by channels
SIZES = (64, 96, 128, 160, 192, 224, 256)
LARGER = 32  # pixels by which the second size is larger than what a network was made for
GRANULARITIES = ("channel", "weight")
CLASSES = 2
CLOSE = 1e-3  # of the largest output: how far masking and removing, which add up in another order, may differ
ROWS = 24  # of the data set, whose pixels nothing here depends on
MESSAGE = 2000  # characters kept of one

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True)
class Candidate:
    """A network to try.

    Attributes:
        arch: what `--arch` is given.
        shapes: of an image, the first that it takes is used, and the next for the comparison; None to find them.
        manifest: further keys, such as which of the outputs are the task's.
    """

    arch: str
    shapes: tuple[Shape, ...] | None
    manifest: Mapping[str, Any] = field(default_factory=dict)


class TooLarge(Exception):
    """More parameters than are wanted."""


class NotRunnable(Exception):
    """The network itself, before anything is done to it, cannot be used here."""


class Wrong(Exception):
    """Something came out that is not what went in."""


def trial(
    candidate: Candidate, limit: float = float("inf"), granularities: Sequence[str] = GRANULARITIES
) -> dict[str, Any]:
    """What becomes of it: {"shapes", "parameters", "channel": outcome, "weight": outcome}.

    An outcome is {"outcome", "message", "seconds"}, of which the first is one of

    - equal: to the bit, on all shapes; less: the same at a smaller sparsity, because half cannot be reached;
    - refused: before any training, with the message; late: only the written file is refused, which is a fault;
    - WRONG: other numbers came out; INTERNAL: an exception that is no message, with its traceback;
    - not runnable: the network itself, as its owner builds it, does not run here; too large.
    """
    try:
        shapes = candidate.shapes or _likely_shapes(candidate.arch, limit)
        dense = _dense(candidate.arch, shapes[0])
        shapes = _runnable(dense, shapes)
    except TooLarge:
        return {one: _outcome("too large", "", 0.0) for one in granularities}
    except Exception as error:
        return {one: _outcome("not runnable", _short(error), 0.0) for one in granularities}
    found: dict[str, Any] = {"shapes": shapes, "parameters": sum(p.numel() for p in dense.parameters())}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        torch.save(dense.state_dict(), work / "model.pt")
        _write_data(work, shapes[0], candidate.manifest)
        for granularity in granularities:
            started = time.perf_counter()
            stage = ["refused"]
            try:
                outcome, message = _pruned(candidate.arch, dense, work, shapes, granularity, stage)
            except FairpruneError as error:
                outcome, message = stage[0], _short(error).replace(folder, "")
            except Wrong as error:
                outcome, message = "WRONG", str(error)
            except Exception:
                outcome, message = "INTERNAL", traceback.format_exc()[-MESSAGE:]
            found[granularity] = _outcome(outcome, message, time.perf_counter() - started)
    return found


def _outcome(outcome: str, message: str, seconds: float) -> dict[str, Any]:
    return {"outcome": outcome, "message": message, "seconds": round(seconds, 1)}


def _short(error: Exception) -> str:
    if isinstance(error, FairpruneError):
        parts = [error.where, error.what, error.hint]
        return " | ".join(" ".join(part.split()) for part in parts if part)[:MESSAGE]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


# --- the network as its owner has it ---------------------------------------------------------------------------------


def _owners(arch: str) -> nn.Module:
    """As its owner builds it, without fairprune."""
    torch.manual_seed(0)
    if arch.startswith("timm/"):
        import timm

        return timm.create_model(arch.removeprefix("timm/"), pretrained=False, num_classes=CLASSES)
    if is_import_path(arch):
        module, _, name = arch.partition(":")
        factory = getattr(importlib.import_module(module), name)
        takes = "num_classes" in inspect.signature(factory).parameters
        made: nn.Module = factory(num_classes=CLASSES) if takes else factory()
        return made
    import torchvision

    if arch in torchvision.models.list_models():
        return torchvision.models.get_model(arch, weights=None, num_classes=CLASSES)
    return architectures.build(arch, CLASSES)


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
    return tuple((channels, s, s) for s in dict.fromkeys([*sizes, side + LARGER]))


def _dense(arch: str, shape: Shape) -> nn.Module:
    """As its owner would have trained it: no number of it is what its constructor put there."""
    model = _owners(arch)
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        model(torch.zeros(2, *shape))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            flat = parameter.detach()
            if flat.is_floating_point() and bool((flat == flat.flatten()[:1]).all()):
                noise = torch.randn(flat.shape, generator=generator) * 0.1
                start = 1.0 if flat.abs().max() > 0.5 or (flat.dim() <= 1 and bool((flat != 0).all())) else 0.0
                parameter.copy_(start + noise)
        for module in model.modules():
            if isinstance(getattr(module, "running_var", None), Tensor):
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.1)
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return model.eval()


def _runnable(dense: nn.Module, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
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
            break
    if not found:
        raise NotRunnable(first)
    return tuple(found)


@torch.no_grad()
def results(model: nn.Module, shape: Shape) -> list[Tensor]:
    """All tensors that it gives for two images."""
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    with as_given(model), evaluating(model):
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


# --- through the product ---------------------------------------------------------------------------------------------


def _write_data(folder: Path, shape: Shape, more: Mapping[str, Any]) -> None:
    """A data set of two classes and two groups for images of this shape."""
    channels, height, width = shape
    image = np.zeros((height, width) if channels == 1 else (height, width, 3), np.uint8)
    with open(folder / "table.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", "group", "split"])
        for row in range(ROWS):
            split = ("train", "val", "test")[row // 4 % 3]
            image[0, 0] = row  # no two have the same bytes, which would be refused
            Image.fromarray(image).save(folder / f"{row}.png")
            writer.writerow([f"{row}.png", "ab"[row % 2], "xy"[row // 2 % 2], split])
    document = {
        "version": 1, "table": "table.csv", "images": ".", "classes": ["a", "b"],
        "columns": {"image": "file", "label": "label", "split": "split"}, "attributes": {"group": {"column": "group"}},
        "transform": {"size": [height, width], "mean": [0.5] * channels, "std": [0.25] * channels}, **more,
    }  # fmt: skip
    (folder / "manifest.yaml").write_text(json.dumps(document), encoding="utf-8")


def _prepared(arch: str, work: Path, granularity: str) -> Prepared:
    """The run with the wanted sparsity, or with the largest of `LESS` that the network allows."""
    for sparsity in (SPARSITY, *LESS):
        flags = {
            "data": str(work / "manifest.yaml"), "attr": ("group",), "arch": arch, "granularity": granularity,
            "sparsity": sparsity, "method": "magnitude", "scope": "layer", "device": "cpu", "threads": 1,
        }  # fmt: skip
        terminal = Terminal(io.StringIO(), io.StringIO(), {}, quiet=True)
        try:
            return prepare(work / "model.pt", resolve(flags, {}, None).settings, terminal, False, Ranks())
        except FairpruneError as error:
            if "cannot be reached" not in error.what or sparsity == LESS[-1]:
                raise
    raise AssertionError("unreachable")


def _pruned(
    arch: str, dense: nn.Module, work: Path, shapes: tuple[Shape, ...], granularity: str, stage: list[str]
) -> tuple[str, str]:
    """Outcome and message; `stage` becomes what a refusal from then on is."""
    run = _prepared(arch, work, granularity)
    before = [results(dense, shape) for shape in shapes]
    scale = max(float(one.abs().max()) for part in before for one in part)
    for shape, expected in zip(shapes, before, strict=True):
        _hold("loading changes the outputs", expected, results(run.dense, shape), 1e-4 * scale, shape)
    try_out(run)
    _train_once(run, shapes[0])
    masks, student = run.masks, run.student
    masks.apply(masks.select(masks.rank_within(masks.magnitude()), run.settings.sparsity))
    masked = [results(student, shape) for shape in shapes]
    masks.harden(student)
    exact = isinstance(masks, ChannelMasks) and all(space.exact for space in masks.spaces)
    for shape, expected in zip(shapes, masked, strict=True):
        tolerance = CLOSE * scale if exact else float("inf")
        _hold("what is removed counted", expected, results(student, shape), tolerance, shape)
    stage[0] = "late"
    file = work / f"{granularity}.safetensors"
    write_model(run, file, student.eval(), masks.sparse_entries(masks.keep))
    stored = codec.load_network(file, run.loaded.structure).float()
    plain = _laid_out_anew(student)
    for shape in shapes:
        _hold("the file is not what was in memory", results(plain, shape), results(stored, shape), 0.0, shape)
    _refuse_lost_ties(dense, stored)
    return "equal" if run.settings.sparsity == SPARSITY else "less", _told(run, dense, stored)


def _laid_out_anew(model: nn.Module) -> nn.Module:
    """A copy whose tensors lie in memory as those of a file do: kernels, and with them the last bits, follow that."""
    model = copy.deepcopy(model)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.data)
    return model


def _train_once(run: Prepared, shape: Shape) -> None:
    """A step forth and back as training takes it: a network that cannot is better refused before."""
    student = copy.deepcopy(run.student).train()
    images = torch.randn(4, *shape, generator=torch.Generator().manual_seed(3))
    if run.channels_last:
        images = images.to(memory_format=torch.channels_last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        outputs = [one for one in _tensors(student(images)) if one.requires_grad]
        sum(one.float().sum() for one in outputs).backward()  # type: ignore[union-attr]


def _hold(what: str, one: list[Tensor], other: list[Tensor], tolerance: float, shape: Shape) -> None:
    """Raise `Wrong` where outputs differ by more than they may."""
    if [part.shape for part in one] != [part.shape for part in other]:
        raise Wrong(f"{what}: {[tuple(p.shape) for p in one]} became {[tuple(p.shape) for p in other]} at {shape}")
    for a, b in zip(one, other, strict=True):
        if not bool(a.isfinite().all() and b.isfinite().all()):
            raise Wrong(f"{what}: outputs are not finite at {shape}")
        gap = float((a - b).abs().max()) if a.numel() else 0.0
        if gap > tolerance:
            raise Wrong(f"{what}: differs by {gap:.3g} of {float(a.abs().max()):.3g} at {shape}")


def _refuse_lost_ties(dense: nn.Module, stored: nn.Module) -> None:
    """Raise `Wrong` where frozen or tied parameters did not come back as they were."""
    after = dict(stored.named_parameters(remove_duplicate=False))
    first: dict[int, str] = {}
    for name, parameter in dense.named_parameters(remove_duplicate=False):
        twin = first.setdefault(id(parameter), name)
        if twin in after and name in after and after[twin] is not after[name]:
            raise Wrong(f"{twin} and {name} are no longer one parameter")
        if parameter.requires_grad or name not in after:
            continue
        if after[name].shape != parameter.shape or not bool((after[name] == parameter).all()):
            raise Wrong(f"{name} is frozen, and changed")


def _told(run: Prepared, dense: nn.Module, stored: nn.Module) -> str:
    """What is left, and a layer that keeps its channels, with the reason."""
    if not isinstance(run.masks, ChannelMasks):
        return ""
    left, all_of = (sum(p.numel() for p in one.parameters()) for one in (stored, dense))
    reasons = [f"{layer} stays: {why}" for layer, why in run.masks.fixed.items() if not re.search("outputs$|^$", why)]
    return "; ".join([f"{left} of {all_of} parameters", *reasons[:1]])
