"""Numbers on their way between the host and an accelerator, without either waiting for the other.

An accelerator works through a queue; whoever reads a number from it waits until the queue is empty, and the queue
stays empty until the host has caught up. So what the host wants to know is copied late, and in one piece, into
page-locked memory, and looked at only when it has long arrived. On the CPU there is nothing to wait for: tensors and
arrays share their memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor

_as_accelerator = False


def on_host(where: Tensor | torch.device) -> bool:
    """Whether numpy may work on a tensor's memory, or a device's, so that code for the CPU's caches can take it."""
    device = where if isinstance(where, torch.device) else where.device
    return device.type == "cpu" and not _as_accelerator


@contextmanager
def as_accelerator() -> Iterator[None]:
    """A block in which CPU tensors go through the code that is meant for accelerators; for tests and counts."""
    global _as_accelerator
    before, _as_accelerator = _as_accelerator, True
    try:
        yield
    finally:
        _as_accelerator = before


class Arriving:
    """An array on its way from a tensor's device.

    Args:
        tensor: of any shape; what is written to it afterwards may or may not be seen on the CPU, so it must be left
            alone there.
    """

    def __init__(self, tensor: Tensor) -> None:
        tensor = tensor.detach()
        self._event: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(tensor.device))
        else:
            self._host = tensor.cpu()

    def numpy(self) -> np.ndarray:
        """The array; waits where it has not arrived."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.numpy()


def sent(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor on the device; nobody waits, and on the CPU the two share their memory."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


_ALIGNED = 64  # bytes


def sent_together(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """As `sent`, all arrays in one copy: the tensors are parts of one buffer, which lives as long as one of them."""
    edges = np.cumsum([0, *(-(-array.nbytes // _ALIGNED) * _ALIGNED for array in arrays)]).tolist()
    buffer = torch.empty(edges[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    memory = buffer.numpy()
    for start, array in zip(edges, arrays, strict=False):
        memory[start : start + array.nbytes].view(array.dtype)[...] = array.ravel()
    there = buffer.to(device, non_blocking=True)
    return [
        there[start : start + array.nbytes].view(_type_of(array.dtype)).view(array.shape)
        for start, array in zip(edges, arrays, strict=False)
    ]


@cache
def _type_of(dtype: np.dtype) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype=dtype)).dtype
