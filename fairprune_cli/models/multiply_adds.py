"""Multiply-adds of a forward pass, operator by operator, and what each of them goes to.

torch's own counter has a formula for every convolution and matrix product, however it is called: by a layer, or by a
function, as the attention of Swin. Here each count is put down to the weight that was multiplied.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models.architectures.attention import SelfAttention
from fairprune_cli.models.frozen import asking_for_gradients
from fairprune_cli.models.inference import blank_images, evaluating, taking_images


@dataclass
class MultiplyAdds:
    """Multiply-adds of one image, biases not counted.

    Attributes:
        total: of all convolutions and matrix products.
        weights: of those with a parameter of two or more dimensions, by its name.
        attention: of those without, inside a `SelfAttention`, by its name: scores, and their sum over the values.
    """

    total: int = 0
    weights: Counter[str] = field(default_factory=Counter)
    attention: Counter[str] = field(default_factory=Counter)


def multiply_adds(model: nn.Module, shape: Shape) -> MultiplyAdds:
    """Count a pass over one blank image.

    Raises:
        FairpruneError: the model does not take such an image.
    """
    found = MultiplyAdds()
    inside: list[str] = []
    with contextlib.ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, SelfAttention):
                entered = module.register_forward_pre_hook(lambda _module, _inputs, name=name: inside.append(name))
                left = module.register_forward_hook(lambda _module, _inputs, _output: inside.pop() and None)
                stack.callback(entered.remove)
                stack.callback(left.remove)
        stack.enter_context(evaluating(model))
        stack.enter_context(taking_images(model, 1, shape))
        stack.enter_context(torch.no_grad())  # in inference mode operators come whole, before they are taken apart
        # The counter follows what a module is given to its gradient; a parameter that is given has none here.
        stack.enter_context(asking_for_gradients(model.parameters(), wanted=False))
        stack.enter_context(_taken_apart())
        counter = stack.enter_context(FlopCounterMode(display=False))
        stack.enter_context(_Assignment(model, counter, found, inside))
        model(blank_images(model, 1, shape))
    return found


@contextlib.contextmanager
def _taken_apart() -> Iterator[None]:
    """Attention as matrix products, which every torch has a formula for; its fused forms hide them."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Assignment(TorchDispatchMode):
    """Asks the counter after every operator what it was worth, and puts that down to where it belongs."""

    def __init__(self, model: nn.Module, counter: FlopCounterMode, found: MultiplyAdds, inside: list[str]) -> None:
        super().__init__()
        self._counter, self._found, self._inside = counter, found, inside
        self._seen = 0
        # Views of a weight, such as its transpose, share its storage.
        self._names = {
            parameter.untyped_storage().data_ptr(): name
            for name, parameter in model.named_parameters()
            if parameter.ndim > 1
        }

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        total = int(self._counter.get_total_flops())
        if total > self._seen:
            worth = (total - self._seen) // 2  # a multiply-add is two operations
            self._seen = total
            self._found.total += worth
            names = {
                self._names.get(given.untyped_storage().data_ptr(), "") for given in args if isinstance(given, Tensor)
            } - {""}
            if len(names) == 1:
                self._found.weights[names.pop()] += worth
            elif not names and self._inside:
                self._found.attention[self._inside[-1]] += worth
        return result
