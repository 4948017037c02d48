"""Frozen parameters: those that do not ask for a gradient. They stay as they are, to the bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from torch import nn


def training_mode(model: nn.Module) -> None:
    """Training mode, but for batch norms whose scale or shift is frozen: their running statistics are, too."""
    model.train()
    for module in model.modules():
        if is_frozen_norm(module):
            module.eval()


def is_frozen_norm(module: nn.Module) -> bool:
    """Whether it is a batch norm with a scale or shift, and neither trains."""
    if not isinstance(module, nn.modules.batchnorm._BatchNorm):
        return False
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


@contextlib.contextmanager
def asking_for_gradients(parameters: Iterable[nn.Parameter], wanted: bool = True) -> Iterator[None]:
    """A block in which these parameters get a gradient, also where they are frozen; or none does, unless `wanted`."""
    changed = [p for p in parameters if p.requires_grad != wanted]
    for parameter in changed:
        parameter.requires_grad_(wanted)
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(not wanted)
