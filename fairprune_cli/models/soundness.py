"""Whether a network can be worked with at all: in eval mode it gives numbers, and the same ones for the same images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models.inference import blank_images, evaluating, hooked, taking_images
from fairprune_cli.models.sameness import same_network

COUNT = 2  # images
_SHOWN = 6  # tensors that are named


def refuse_unsound(model: nn.Module, shape: Shape, where: str = "") -> None:
    """Refuse a network of which nothing can be learned: no image gets scores, or other ones each time.

    Args:
        model: with its read-out; looked at in eval mode, on noise. Random numbers that it draws are not the run's.
        shape: of the images; where: the model's file, for messages.

    Raises:
        FairpruneError: every image gets NaN or infinities that have no softmax: the tensors of the weights that are
            not finite are named, or, where all are, the layer in which such numbers first show. Or two passes over
            the same images differ.
    """
    with _looking_at(model, shape) as images:
        _refuse_without_scores(model, images, where)
        found = same_network(model, model, images)
    if found:
        raise FairpruneError(
            f"the network gives other outputs for the same images in eval mode, as it draws random numbers there: "
            f"{found}",
            where=where,
            hint="have it do so in training alone, as F.dropout(x, p, self.training) and `if self.training:` do",
        )


def refuse_without_scores(model: nn.Module, shape: Shape, where: str = "") -> None:
    """The first half of `refuse_unsound`: refuse a network that gives no image any scores."""
    with _looking_at(model, shape) as images:
        _refuse_without_scores(model, images, where)


@contextlib.contextmanager
def _looking_at(model: nn.Module, shape: Shape) -> Iterator[Tensor]:
    """Noise for a network that is in eval mode meanwhile; random numbers that it draws are not the run's."""
    images = blank_images(model, COUNT, shape)
    images.copy_(torch.randn(images.shape, generator=torch.Generator().manual_seed(0)))
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices), evaluating(model), torch.no_grad(), taking_images(model, COUNT, shape):
        yield images


def _refuse_without_scores(model: nn.Module, images: Tensor, where: str) -> None:
    if not _scored(model(images)):
        raise FairpruneError(
            f"the network gives no finite scores for any image: {_origin(model, images)}", where=where,
            hint="mend it, or take an earlier checkpoint; no figure and no training can come of such numbers",
        )  # fmt: skip


def _scored(given: Any) -> bool:
    """Whether any image has scores whose softmax is made of numbers; a class at -inf is one that is left out."""
    tables = [leaf.float().flatten(1) for leaf in tree_leaves(given) if isinstance(leaf, Tensor) and leaf.ndim]
    return not tables or any(bool((~table.log_softmax(1).isnan().any(1)).any()) for table in tables if table.numel())


def _origin(model: nn.Module, images: Tensor) -> str:
    tensors = (*model.named_parameters(), *model.named_buffers())
    if bad := [name for name, tensor in tensors if not _finite(tensor)]:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        return f"{', '.join(bad[:_SHOWN])}{more} hold{'s' * (len(bad) == 1)} NaN or infinities"
    if not any(True for _ in model.children()):
        return "its weights hold NaN or infinities, or its operators make them"
    met: list[str] = []
    with _watching(model, met):
        model(images)
    return met[0] if met else "all its layers give finite numbers, and what its own forward makes of them is not"


@contextlib.contextmanager
def _watching(model: nn.Module, met: list[str]) -> Iterator[None]:
    """Collect where non-finite numbers show, in the order in which layers finish."""
    running: list[tuple[str, bool]] = []  # and whether what the layer was given is finite

    def enter(name: str, inputs: Any) -> None:
        running.append((name, all(map(_finite, tree_leaves(inputs)))))

    def leave(name: str, output: Any) -> None:
        _, sound = running.pop()
        if all(map(_finite, tree_leaves(output))):
            return
        if name and sound:
            met.append(f"{name} is the first layer that gives NaN or infinities")
        elif running:
            maker = next(name for name, sound in reversed(running) if sound)  # the images are finite
            met.append(f"{name} is given NaN or infinities, which the forward of {maker or 'the network'} makes")

    with hooked(model, enter, leave):
        yield


def _finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(value.isfinite().all())
