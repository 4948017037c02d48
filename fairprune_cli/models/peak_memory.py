"""Memory that a forward pass needs, counted tensor by tensor; the same on every machine."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.inference import blank_images, evaluating


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


def forward_peak_bytes(model: nn.Module, batch: int, size: int) -> int:
    """Bytes that a forward pass holds at its peak: the model's tensors, the images and the activations alive at once.

    What a kernel takes for itself while it runs is not seen. The same on every machine.

    Args:
        batch: images; size: their edge in pixels.
    """
    images = blank_images(model, batch, size)
    there = [images, *model.parameters(), *model.buffers()]
    try:
        with evaluating(model), torch.no_grad(), _Living(there) as living:
            model(images)
    except RuntimeError as error:
        raise FairpruneError(
            f"the model does not take images of {size}x{size} pixels: {error}", where="--size",
            hint="give the size of the images it was trained on",
        ) from error  # fmt: skip
    return living.peak + sum(tensor.nbytes for tensor in there)


def add_peaks(speed: dict[str, Any], models: Mapping[str, nn.Module], size: int) -> dict[str, Any]:
    """`speed` as `measure.latency` returns it, with `peak_bytes` beside the times of each batch size; changed in place.

    Args:
        models: the ones that were timed, by their names there; size: edge of the images in pixels.
    """
    for name, model in models.items():
        for batch, times in speed[name]["batch"].items():
            times["peak_bytes"] = forward_peak_bytes(model, int(batch), size)
    return speed
