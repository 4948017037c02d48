"""The host's memory and a device's told apart where both are the CPU's: what a GPU would refuse is refused here."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.core.transfer import as_accelerator

# They make tensors on the host unless they are told where.
_MAKERS: set[Callable[..., Tensor]] = {
    torch.arange, torch.as_tensor, torch.empty, torch.full, torch.ones, torch.rand, torch.randint, torch.randn,
    torch.randperm, torch.tensor, torch.zeros,
}  # fmt: skip
# Copies go both ways; an index may be on the host, from where it is copied.
_BETWEEN = ("aten.copy_", "aten._foreach_copy_", "aten.index.")


class Mixed(AssertionError):
    """Something was done that needs both in one memory."""


class Memories:
    """Knows which tensors are in the host's memory; all others are in the device's."""

    def __init__(self) -> None:
        self._host: set[int] = set()

    def on_host(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._host

    def to_host(self, tensor: Tensor) -> Tensor:
        """The tensor, whose memory is the host's from now on."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._host:
            self._host.add(storage._cdata)
            weakref.finalize(storage, self._host.discard, storage._cdata)
        return tensor

    def to_device(self, tensor: Tensor) -> Tensor:
        """The tensor, whose memory is the device's from now on."""
        self._host.discard(tensor.untyped_storage()._cdata)
        return tensor

    def state_on_host(self, state: object) -> object:
        """A state as it is read from a file."""
        if isinstance(state, Tensor):
            return self.to_host(state.clone())
        if isinstance(state, dict):
            return {key: self.state_on_host(value) for key, value in state.items()}
        return [self.state_on_host(value) for value in state] if isinstance(state, list) else state

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A block for code of accelerators, which raises Mixed where a GPU would raise."""
        made = torch.from_numpy
        marked = patch.object(torch, "from_numpy", lambda array: self.to_host(made(array)))
        with marked, as_accelerator(), _Operators(self), _Functions(self):
            yield


class _Operators(TorchDispatchMode):
    def __init__(self, memories: Memories) -> None:
        super().__init__()
        self.memories = memories

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = list(_tensors((args, kwargs or {})))
        here = [self.memories.on_host(tensor) for tensor in given]
        # Numbers go along with tensors of either kind: torch makes tensors of those that are written in a program.
        larger = {host for host, tensor in zip(here, given, strict=True) if tensor.dim()}
        if len(larger) == 2 and not str(func).startswith(_BETWEEN):
            raise Mixed(f"{func} of tensors on the host and on the device")
        result = func(*args, **(kwargs or {}))
        if larger == {True} or (given and all(here)):
            for tensor in _tensors(result):
                self.memories.to_host(tensor)
        return result


class _Functions(TorchFunctionMode):
    def __init__(self, memories: Memories) -> None:
        super().__init__()
        self.memories = memories

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.numpy and not self.memories.on_host(args[0]):
            raise Mixed("numpy cannot look at a device's memory")
        result = func(*args, **kwargs)
        if func is torch.Tensor.cpu and not self.memories.on_host(args[0]):
            return self.memories.to_host(result.clone())
        moves = func is torch.Tensor.to and self._names_device([*args[1:], *kwargs.values()])
        if moves and self.memories.on_host(args[0]):
            return self.memories.to_device(result.clone())
        if func in _MAKERS and kwargs.get("device") is None:
            self.memories.to_host(result)
        return result

    def _names_device(self, where: list[Any]) -> bool:
        return any(
            not self.memories.on_host(one) if isinstance(one, Tensor) else isinstance(one, torch.device | str)
            for one in where
        )


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors(one)
