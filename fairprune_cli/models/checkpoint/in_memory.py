"""A network that the caller has in memory, and a function that gives scores, taken as a file's network would be."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError, named
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import LoadedModel, use_module
from fairprune_cli.models.checkpoint.trusted import class_name, unwrapped

_SUM = 1e-3  # by which probabilities may miss 1, as those in half precision do


class FunctionScores(nn.Module):
    """A function from images to scores as a network without weights: it can be audited, and nothing else.

    Args:
        function: of float32 images [B, C, H, W], normalised as the manifest's transform says; gives scores or
            probabilities [B, K], one per class, as a tensor or as what numpy makes an array of.
        classes: K.
    """

    def __init__(self, function: Callable[[Tensor], Any], classes: int) -> None:
        super().__init__()
        self.function, self.classes = function, classes
        # It tells the device of the images, as a network's first parameter does.
        self.place = nn.Parameter(torch.zeros(()), requires_grad=False)

    def __deepcopy__(self, _: object) -> FunctionScores:
        """What the function holds may be large, or not to be copied."""
        return FunctionScores(self.function, self.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Scores [B, K]; of probabilities their logarithms, whose softmax they are.

        Raises:
            FairpruneError: it gives something else. What it raises itself comes through.
        """
        with torch.no_grad():  # a function that goes on in numpy asks for that
            given = self.function(images)
        try:
            table = torch.as_tensor(given).detach()
            if table.is_complex():
                raise TypeError("complex numbers have no order")
            table = table.to(images.device, torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise FairpruneError(
                f"it gives {type(given).__name__}, not a table of scores", hint="give a tensor or an array [B, K]"
            ) from error
        if tuple(table.shape) != (len(images), self.classes):
            raise FairpruneError(
                f"it gives {list(table.shape)} for {len(images)} images, not [{len(images)}, {self.classes}]",
                hint="give a score for each of the manifest's classes, in their order",
            )
        probabilities = bool((table >= 0).all()) and bool(((table.sum(1) - 1).abs() < _SUM).all())
        return table.clamp_min(torch.finfo(torch.float32).tiny).log() if probabilities else table


InMemory = nn.Module | Callable[[Tensor], Any]
"""A network, or a function as `FunctionScores` calls it."""


def load_in_memory(given: InMemory, name: str, classes: int) -> LoadedModel:
    """A copy of a network on the CPU, in float32 and eval mode; the caller's own stays as it is.

    Args:
        given: a network of any device, format of numbers and mode; or a function.
        name: what messages and the report call it.
        classes: scores that a function has to give for an image.

    Raises:
        FairpruneError: it cannot be copied, has weights that are not finite or not there yet, or is TorchScript.
    """
    with named(name):
        if not isinstance(given, nn.Module):
            model = FunctionScores(given, classes).eval()
            return LoadedModel(model, _called(given), 0, Path(name), "", model, in_memory=True)
        network = unwrapped(given)
        architectures.refuse_lazy(network)
        try:
            copied = copy.deepcopy(network).cpu()
        except Exception as error:  # parts of other people's code may refuse in any way
            raise FairpruneError(
                f"it cannot be copied: {type(error).__name__}: {error}",
                hint="save its state dict, and give that file with arch='package.module:factory'",
            ) from error
        loaded = LoadedModel(nn.Identity(), "", 0, Path(name), _digest(copied), in_memory=True)
        notes: list[str] = []
        use_module(loaded, copied, notes)
        loaded.warnings = [{"code": "checkpoint-converted", "text": text} for text in notes] + loaded.warnings
    loaded.model.eval()
    return loaded


def _called(function: Callable[..., Any]) -> str:
    """`package.module:name` of a function, or of the class of an object that is called."""
    if hasattr(function, "__qualname__"):
        return f"{function.__module__}:{function.__qualname__}"
    return f"{type(function).__module__}:{type(function).__qualname__}"


def name_in_memory(given: InMemory) -> str:
    """What a network is called that has no file: the name of its class, or of the function."""
    told = class_name(unwrapped(given)) if isinstance(given, nn.Module) else _called(given)
    return told.rpartition(":")[2].rpartition(".")[2].strip("<>") or "network"


def _digest(network: nn.Module) -> str:
    """Hexadecimal SHA-256 of the tensors of a state dict, with their names, shapes and formats of numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if isinstance(tensor, Tensor):  # a layer's extra state may be anything
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
