"""Memory that a forward pass needs: counted tensor by tensor, or on CUDA what torch's allocator gave out."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models.inference import blank_images, evaluating, taking_images


class _Living(TorchDispatchMode):
    """Bytes of the tensors that come up in the block and are alive at once, at their peak; `there` not counted."""

    def __init__(self, there: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in there}

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self._note(value)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        size = storage.nbytes()
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def forward_peak_bytes(model: nn.Module, batch: int, shape: Shape) -> int:
    """Bytes that a forward pass holds at its peak: the model's tensors, the images and the activations alive at once.

    On the CPU what a kernel takes for itself while it runs is not seen, and the number is the same on every machine.
    On CUDA it is seen; torch's record of the largest memory in use begins anew.

    Args:
        batch: images.

    Raises:
        FairpruneError: the model does not take such images.
    """
    images = blank_images(model, batch, shape)
    there = [images, *model.parameters(), *model.buffers()]
    counted = _allocated if images.device.type == "cuda" else _living
    with taking_images(model, batch, shape), evaluating(model), torch.no_grad():
        held = counted(model, images, there)
    return held + sum(tensor.nbytes for tensor in there)


def peak_memory_is(device: torch.device) -> str:
    """What `forward_peak_bytes` counts on the device, in words."""
    return "allocated on the device" if device.type == "cuda" else "counted tensor by tensor"


def _living(model: nn.Module, images: Tensor, there: Sequence[Tensor]) -> int:
    """Bytes that a pass holds beside what is `there`."""
    with _Living(there) as living:
        model(images)
    return living.peak


def _allocated(model: nn.Module, images: Tensor, there: Sequence[Tensor]) -> int:
    """The same on CUDA."""
    model(images)  # libraries take workspace at first use and keep it
    torch.cuda.reset_peak_memory_stats(images.device)
    before = torch.cuda.memory_allocated(images.device)
    model(images)
    return torch.cuda.max_memory_allocated(images.device) - before


def add_peaks(speed: dict[str, Any], models: Mapping[str, nn.Module], shape: Shape) -> dict[str, Any]:
    """`speed` as `measure.latency` returns it, with `peak_bytes` beside the times of each batch size; changed in place.

    `peak_memory` says what they are.

    Args:
        models: the ones that were timed, by their names there.
    """
    speed["peak_memory"] = peak_memory_is(torch.device(speed["device"]))
    for name, model in models.items():
        for batch, times in speed[name]["batch"].items():
            times["peak_bytes"] = forward_peak_bytes(model, int(batch), shape)
    return speed
