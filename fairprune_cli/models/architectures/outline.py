"""A network's shapes before its memory: built with its large tensors on the meta device.

Some constructors compute with tensors, as widths out of a row of numbers, and fail where all tensors lie on the meta
device; those tensors are small. What is large are weights, whose numbers no constructor reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from fairprune_cli.core import limits
from fairprune_cli.core.errors import FairpruneError

_SMALL = 1 << 14  # entries of a tensor that may have numbers
_OF_DATA = (torch.tensor, torch.as_tensor, torch.asarray, torch.from_file)


class _Factories(TorchFunctionMode):
    """Asks `place` for the device of each tensor that is made of a size alone."""

    def __init__(self, place: Callable[[Tensor], str]) -> None:
        super().__init__()
        self.place = place
        self.makers = _device_constructors() - set(_OF_DATA)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func in self.makers and given.get("device") is None:
            planned = func(*args, **given | {"device": "meta"})
            given["device"] = self.place(planned)
        return func(*args, **given)


def outline(make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` builds, with small tensors alone having numbers; for its shapes.

    Raises:
        FairpruneError: it cannot be built so, and takes more memory than is allowed.
    """
    try:
        with torch.random.fork_rng(devices=[]), _Factories(lambda one: "meta" if one.numel() > _SMALL else "cpu"):
            return make()
    except FairpruneError:
        raise
    except Exception:  # tensors with and without numbers do not mix, which shows in many ways
        return within_memory(make)


def within_memory(make: Callable[[], nn.Module]) -> nn.Module:
    """What `make` builds, refused as soon as its tensors take more than the limit."""
    taken = 0

    def place(planned: Tensor) -> str:
        nonlocal taken
        taken += planned.nbytes
        limits.refuse_above(taken, "network_bytes", what="the network, as far as it was built,")
        return "cpu"

    with torch.random.fork_rng(devices=[]), _Factories(place):
        return make()


def bytes_of(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, those that state dicts leave out included, with and without numbers."""
    return sum(one.nbytes for one in (*model.parameters(), *model.buffers()))
