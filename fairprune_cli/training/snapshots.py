"""States of the model that a run remembers beside its own: the best one, and the mean of the last ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.pruning.masks import Masks


@dataclass
class Best:
    """The model at the epoch with the best accuracy on images of the run (upper ones where there are any).

    In the host's memory, where it takes none of what a GPU has.

    Attributes:
        accuracy: 0..1, -1 before the first epoch of the structure.
        fixed: whether its mask was final, and what it removes from a model was gone.
        keep: its mask; sparse: True where kept, by name, for the tensors that a file of it stores sparse.
        model: its state.
    """

    epoch: int
    accuracy: float
    sparsity: float
    fixed: bool
    keep: Tensor
    sparse: dict[str, Tensor]
    model: dict[str, Tensor]

    @classmethod
    def of(cls, epoch: int, accuracy: float, model: nn.Module, masks: Masks, fixed: bool) -> Best | None:
        """A copy of how things are, in the host's memory; None where a number of the model is not finite."""
        now = model.state_dict()
        if not finite(now):
            return None
        state = {name: value.detach().to("cpu", copy=True) for name, value in now.items()}
        keep = masks.keep.to("cpu", copy=True)
        sparse = {name: mask.cpu() for name, mask in masks.sparse_entries(keep).items()}
        return cls(epoch, accuracy, masks.achieved, fixed, keep, sparse, state)


class WeightAverage:
    """Mean of a model's parameters over the steps at which `add` was called; of those that train."""

    def __init__(self) -> None:
        self._sum: dict[str, Tensor] = {}
        self.count = 0

    def add(self, model: nn.Module) -> None:
        parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        if not self._sum:
            self._sum = copy_of(parameters)
        else:
            torch._foreach_add_([self._sum[name] for name in parameters], list(parameters.values()))
        self.count += 1

    def load_into(self, model: nn.Module) -> None:
        """Give the model the mean; nothing happens where nothing was added."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in self._sum:
                    parameter.copy_(self._sum[name] / self.count)

    def state_dict(self) -> dict[str, Any]:
        return {"sum": dict(self._sum), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sum, self.count = dict(state["sum"]), int(state["count"])


def copy_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state that training does not change."""
    return {name: value.detach().clone() for name, value in state.items()}


def finite(state: Mapping[str, Tensor]) -> bool:
    """Whether every number of the state is finite; waits once for its device."""
    numbers = [value for value in state.values() if value.is_floating_point() and value.numel()]
    if not numbers:
        return True
    return math.isfinite(float(torch.nn.utils.get_total_norm(numbers, math.inf)))


def on_device(state: Any, device: torch.device) -> Any:
    """A state of dicts and lists with every tensor of it on `device`."""
    if isinstance(state, Tensor):
        return state.to(device)
    if isinstance(state, Mapping):
        return {key: on_device(value, device) for key, value in state.items()}
    return [on_device(value, device) for value in state] if isinstance(state, list) else state


def random_state() -> dict[str, Tensor]:
    """States of torch's own generators, by kind of device; CUDA's only once it is in use."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_state(states: Mapping[str, Tensor]) -> None:
    """Put back what `random_state` gave, as far as this machine has the devices."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
