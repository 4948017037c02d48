"""A network on trial: in eval mode for a while, on images that show nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from torch import Tensor, nn


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


def blank_images(model: nn.Module, count: int, size: int) -> Tensor:
    """Zeros [count, 3, size, size] on the device and in the dtype of the model's first parameter."""
    return next(model.parameters()).new_zeros((count, 3, size, size)).detach()


@contextlib.contextmanager
def taking_images(count: int, size: int) -> Iterator[None]:
    """What a model raises on `count` images of edge `size` becomes an error that says so."""
    try:
        yield
    except (RuntimeError, ValueError, AssertionError) as error:
        if is_out_of_memory(error):
            raise FairpruneError(f"out of memory on a batch of {count} images", code=ExitCode.RUNTIME) from error
        raise FairpruneError(
            f"the model does not take images of {size}x{size} pixels: {error}",
            hint="give the size of the images it was trained on",
        ) from error
