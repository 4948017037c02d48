"""A network on trial: in eval mode for a while, on images that show nothing."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.out_of_memory import is_out_of_memory
from fairprune_cli.data.manifest.image_shape import ImageShape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairprune_cli.data.manifest.image_shape import Shape


@contextlib.contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each module has the mode it had, however they were mixed."""
    before = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextlib.contextmanager
def hooked(model: nn.Module, enter: Callable[[str, Any], None], leave: Callable[[str, Any], None]) -> Iterator[None]:
    """A block in which each layer's name is told with its inputs before it runs, and with its output after it."""
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda _module, inputs, name=name: enter(name, inputs)))
        hooks.append(module.register_forward_hook(lambda _module, _inputs, output, name=name: leave(name, output)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def blank_images(model: nn.Module, count: int, shape: Shape) -> Tensor:
    """Zeros [count, C, H, W] with device and dtype of the model's first parameter, else of its first buffer."""
    first = next(itertools.chain(model.parameters(), model.buffers()))
    return first.new_zeros((count, *ImageShape.of(shape).dimensions)).detach()


@contextlib.contextmanager
def taking_images(model: nn.Module, count: int, shape: Shape) -> Iterator[None]:
    """What a model raises on `count` images becomes an error that says so."""
    try:
        yield
    except (RuntimeError, ValueError, AssertionError) as error:
        if is_out_of_memory(error):
            raise FairpruneError(f"out of memory on a batch of {count} images", code=ExitCode.RUNTIME) from error
        refuse_other_channels(model, shape)
        raise FairpruneError(
            f"the model does not take {ImageShape.of(shape)}: {error}",
            hint="give the size of the images it was trained on",
        ) from error


class _Reached(Exception):
    """The first convolution was called."""


def wanted_channels(model: nn.Module, shape: Shape) -> int | None:
    """Channels of the images that the first convolution wants, where it is given these and wants others; else None.

    The first one is the first to be called, whichever stands first in the network. Nothing behind it is computed.
    """
    import torch
    from torch import nn

    shape, met = ImageShape.of(shape), list[tuple[int, int]]()

    def meet(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        met.append((inputs[0].shape[1], layer.in_channels))  # type: ignore[arg-type]
        raise _Reached

    hooks = [layer.register_forward_pre_hook(meet) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    try:
        with evaluating(model), torch.no_grad():
            model(blank_images(model, 2, shape))
    except Exception:  # reached, or failed before that in any way, which tells nothing
        pass
    finally:
        for hook in hooks:
            hook.remove()
    if not met or met[0][0] != shape.channels or met[0][1] == shape.channels:
        return None
    return met[0][1]


def refuse_other_channels(model: nn.Module, shape: Shape, where: str = "") -> None:
    """Refuse images with other channels than the network's first layer takes.

    Args:
        where: what says the channels of the images.

    Raises:
        FairpruneError: they differ; the message says what to write.
    """
    shape = ImageShape.of(shape)
    wanted = wanted_channels(model, shape)
    if wanted is None:
        return
    hints = {
        1: "write one number each, as `mean: [0.5], std: [0.5]`, under `transform` of the manifest",
        3: "write three numbers each, as `mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]`, under `transform` of the "
        "manifest",
    }
    raise FairpruneError(
        f"the first layer of the network takes images of {wanted} channel{'s' * (wanted != 1)}, the input transform "
        f"gives {shape.channels}",
        where=where, hint=hints.get(wanted, "images have 1 channel (grey) or 3 (colour): prune a network for such"),
    )  # fmt: skip


def fault_of_training(model: nn.Module, shape: Shape, *, channels_last: bool = False, bf16: bool = False) -> str:
    """What a training pass over two blank images raises, in a line; empty where it runs. The model stays as it is.

    Args:
        channels_last: with weights and images so in memory. Code that views a feature map in another shape does not
            run so, nor do convolutions over volumes.
        bf16: in bfloat16 where torch deems it safe.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    from fairprune_cli.models.strided_convolutions import safe_strides

    images = blank_images(model, 2, shape)
    form = torch.channels_last if channels_last else torch.contiguous_format
    try:
        # Dropout draws random numbers, and a trial must not move those of the run.
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices), safe_strides(images.device):
            trial = copy.deepcopy(model).train()
            if channels_last:
                trial.to(memory_format=form)
            with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
                given = trial(images.contiguous(memory_format=form))
            sums = [leaf.float().sum() for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor)]
            if trained := [one for one in sums if one.requires_grad]:
                torch.stack(trained).sum().backward()
    except Exception as error:  # whatever the network's own code raises
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return ""
