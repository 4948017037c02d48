"""What masks over weights and masks over channels have in common.

While a mask moves, the model's parameters hold z = m * theta, so that a plain backward pass gives the gradient
with respect to z at every entry, kept or not, without a copied weight or a hook in the forward pass. The values
theta of what is masked wait in a stash and come back if the mask lets them in again. The stash is zero where the
parameter is not, so a mask moves by exchanging the two at the entries that it changes, and theta is their sum.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.pruning.masks import truth


class Masks(ABC):
    """A mask over U units of a model (single weights, or whole channels)."""

    def __init__(self, model: nn.Module, tensors: Sequence[str]) -> None:
        parameters = dict(model.named_parameters())
        self.tensors = {name: parameters[name] for name in tensors}
        for parameter in self.tensors.values():
            if not channels_last(parameter):
                parameter.data = parameter.data.contiguous()  # else there is no view in the order of the memory
        self.stash = {name: torch.zeros_like(p) for name, p in self.tensors.items()}  # theta where masked, else 0
        self.held: dict[str, Tensor] = {}  # True where kept, by tensor name: zeros that this mask does not count

    keep: Tensor  # bool [U]
    sizes: list[int]  # units of each layer, or set of coupled channels; adds up to U

    @property
    @abstractmethod
    def achieved(self) -> float:
        """Share of the prunable parameters that is masked."""

    @property
    @abstractmethod
    def total(self) -> int:
        """Prunable parameters of the dense model."""

    @property
    @abstractmethod
    def kept(self) -> int:
        """Prunable parameters left."""

    @abstractmethod
    def meets(self, sparsity: float, given: nn.Module, stored: nn.Module) -> bool:
        """Whether the present mask is what was asked for, as nearly as its units allow.

        Args:
            sparsity: asked for, 0..1.
            given, stored: the model before the pruning, and as it was read back after it.
        """

    def reached(self, given: nn.Module, stored: nn.Module) -> float:
        """Share that is gone, 0..1, counted in the stored model where the mask's unit can be counted there."""
        return self.achieved

    @abstractmethod
    def counted(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """Parameters of any model, by name, whose entries a sparsity of this kind is a share of."""

    @abstractmethod
    def magnitude(self, out: Tensor | None = None) -> Tensor:
        """[U] size of each unit's weights theta, masked units included; written to `out` where one is given."""

    @abstractmethod
    def average_squared_gradient(self, average: Tensor, memory: float) -> None:
        """average <- memory average + (1 - memory) squared gradient, in place; average [U], memory 0..1.

        It is what the second-order score is made of; reads the parameters' `grad`.
        """

    @abstractmethod
    def saliency(self) -> Tensor:
        """[U] theta . g, the first-order change of the loss by each unit; reads the parameters' `grad`."""

    @property
    def start(self) -> float:
        """Share of the prunable parameters that an earlier pruning removed, and that stays removed."""
        return 0.0

    def filters(self) -> list[Tensor]:
        """Per set of coupled channels, [C, entries]: the weights that produce each channel. Channels only."""
        raise FairpruneError("only channels have filters", where="--granularity", hint="use channel")

    @abstractmethod
    def first_order_gradient(self, gamma: float) -> Tensor:
        """[U] derivative of the upper objective with respect to the mask; reads the parameters' `grad`."""

    @abstractmethod
    def select(self, scores: Tensor, sparsity: float) -> Tensor:
        """bool [U]: the projection of the scores onto the masks of the wanted sparsity."""

    @abstractmethod
    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        """Per masked tensor, bool of its shape: True where kept."""

    def sparse_entries(self, keep: Tensor) -> dict[str, Tensor]:
        """By name, True where kept, for the tensors that are stored sparse; they share memory with `keep`, bool [U]."""
        return {**self.held, **self.entries(keep)}

    def remove(self, model: nn.Module, keep: Tensor) -> dict[str, dict[int, Tensor]]:
        """Take out of `model` what `keep` masks and a network can be without: whole channels, never single weights.

        Args:
            model: as wide as the one that the mask was made for; changed in place.
            keep: bool [U].

        Returns:
            Kept indices by tensor and dimension of what shrank; these parameters of the model are new ones.
        """
        return {}

    def harden(self, model: nn.Module) -> dict[str, dict[int, Tensor]]:
        """Called once the mask is final: what can leave its model does, the rest stays masked; returns as `remove`."""
        return {}

    def rank_within(self, scores: Tensor) -> Tensor:
        """[U] share of the units of the same layer with a lower score, so that every layer loses the same share."""
        ranks = []
        for part in scores.split(self.sizes):
            rank = torch.empty_like(part)
            rank[part.argsort(stable=True)] = torch.arange(len(part), dtype=part.dtype, device=part.device)
            ranks.append((rank + 0.5) / len(part))
        return torch.cat(ranks)

    def theta(self, name: str) -> Tensor:
        """The latent weights: the parameter where kept, the stash where masked."""
        return torch.where(self._entry_masks[name], self.tensors[name].detach(), self.stash[name])

    def apply(self, keep: Tensor) -> None:
        """Move the mask: what leaves is stashed and zeroed, what returns gets its old value back."""
        new = self.entries(keep)
        with torch.no_grad():
            for name, parameter in self.tensors.items():
                moved = truth.indices(in_memory(new[name] ^ self._entry_masks[name], parameter))
                z, waiting = in_memory(parameter.detach(), parameter), in_memory(self.stash[name], parameter)
                z[moved], waiting[moved] = waiting[moved], z[moved]
        self.keep = keep
        self._entry_masks = new

    def reset(self, start: Mapping[str, Tensor]) -> None:
        """Take theta from `start`, a state of the whole model; the mask stays."""
        with torch.no_grad():
            for name, parameter in self.tensors.items():
                keep, latent = self._entry_masks[name], start[name].detach().to(parameter)
                parameter.copy_(torch.where(keep, latent, 0.0))
                self.stash[name].copy_(torch.where(keep, 0.0, latent))

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """A block whose gradients are wanted at masked units too; nothing to do where zeros have one of their own."""
        yield

    def mask_gradients(self) -> None:
        """Zero the gradient of masked entries, so that the weight step does not move them."""
        for name, parameter in self.tensors.items():
            if parameter.grad is not None:
                truth.clear(parameter.grad, self._entry_masks[name])

    def mask_state(self, states: Mapping[Any, Mapping[str, object]]) -> None:
        """Zero what an optimiser remembers of masked entries (momentum would move them)."""
        for name, parameter in self.tensors.items():
            for value in states.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    truth.clear(value, self._entry_masks[name])

    def hold(self, model: nn.Module) -> None:
        """Called after each weight step: what an earlier pruning removed goes back to zero where no mask sees to it."""
        if self.held:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if name in self.held:
                        parameter.mul_(self.held[name])

    def state_dict(self) -> dict[str, object]:
        return {"keep": self.keep, "stash": dict(self.stash)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore mask and stash; the parameters themselves come with the model's state."""
        keep, stash = state["keep"], state["stash"]
        assert isinstance(keep, Tensor)
        assert isinstance(stash, dict)
        self.keep = keep
        for name, latent in stash.items():
            self.stash[name].copy_(latent)
        self._entry_masks = self.entries(keep)

    _entry_masks: dict[str, Tensor]


def mask_gradient(theta: Tensor, mask: Tensor, gradient: Tensor, gamma: float) -> Tensor:
    """d/dm of F(m * theta*(m)) with theta* from the regularised lower level.

    With z = m * theta, g = dF/dz, and the lower level's optimality condition m g + gamma theta = 0
    differentiated without the Hessian in z, d theta*/dm = -diag(g) / gamma, hence
    dF/dm = (theta - m g / gamma) g (arXiv 2210.04092; arXiv 2312.10181, eq. 12).

    Args:
        theta, gradient: same shape; gradient is with respect to z.
        mask: 0/1 or bool, same shape.
        gamma: weight of the lower level's regulariser, > 0; infinity leaves the first term alone.
    """
    return (theta - mask.to(theta.dtype) * gradient / gamma) * gradient


def gradient_of(name: str, parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        raise FairpruneError(f"no gradient reaches {name}", hint="use another --granularity")
    return parameter.grad.detach()


def in_memory(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor's entries in the order in which the parameter's lie in memory, a view where the tensor's do, too."""
    return (tensor.permute(0, 2, 3, 1) if channels_last(parameter) else tensor).reshape(-1)


def channels_last(parameter: Tensor) -> bool:
    """Whether it is a convolution's weight that lies in memory in that order and in no other."""
    last = parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return last and not parameter.is_contiguous()
