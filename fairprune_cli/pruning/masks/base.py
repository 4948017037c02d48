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
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.transfer import on_host, sent
from fairprune_cli.models.strides import like
from fairprune_cli.pruning.masks import truth
from fairprune_cli.pruning.masks.lines import array, channels_last, gradient_line, line, parts, shaped
from fairprune_cli.pruning.masks.selection import stable_order


class Masks(ABC):
    """A mask over U units of a model (single weights, or whole channels).

    Class attributes:
        chooses_on_host: `select` is the host's work, so that scores must come there from their device.
    """

    chooses_on_host = False

    def __init__(self, model: nn.Module, tensors: Sequence[str]) -> None:
        parameters = dict(model.named_parameters())
        self.tensors = {name: parameters[name] for name in tensors}
        for parameter in self.tensors.values():
            if not channels_last(parameter):
                parameter.data = parameter.data.contiguous()  # else there is no view in the order of the memory
        self._counts = [p.numel() for p in self.tensors.values()]
        # One tensor over all entries, as they lie in memory: theta where masked, else 0.
        self._stash = next(iter(self.tensors.values())).detach().new_zeros(sum(self._counts))
        self.stash = dict(zip(self.tensors, shaped(self._stash, self.tensors.values()), strict=True))
        self.held: dict[str, Tensor] = {}  # True where kept, by tensor name: zeros that this mask does not count
        self._zero = self._stash.new_zeros(())
        self._factors = self._stash.new_empty(0)
        self._factors_of: Tensor | None = None
        self._held_factors: list[Tensor] = []
        self._held_of: dict[str, Tensor] | None = None

    unused: Sequence[nn.Parameter] = ()  # masked weights that no image is multiplied by
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

    def choose(self, scores: np.ndarray, sparsity: float) -> Tensor:
        """`select` for scores that are on the host."""
        return self.select(sent(scores, self._stash.device), sparsity)

    @abstractmethod
    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        """Per masked tensor, bool of its shape: True where kept."""

    @abstractmethod
    def _entry_mask(self, keep: Tensor) -> Tensor:
        """bool [entries of all masked tensors, as they lie in memory]: True where kept."""

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
        if on_host(scores):
            values = scores.detach().numpy()
            shares = np.empty_like(values)
            for part, share in zip(parts(values, self.sizes), parts(shares, self.sizes), strict=True):
                share[stable_order(part)] = np.arange(len(part), dtype=part.dtype)
                share += 0.5
                share /= len(part)
            return torch.from_numpy(shares)
        # Sorted twice: to put numbers in places, a GPU whose results must repeat sorts as well, and more.
        ranks = [part.argsort(stable=True).argsort().to(part.dtype) for part in scores.split(self.sizes)]
        return torch.cat([(rank + 0.5) / len(rank) for rank in ranks])

    def theta(self, name: str) -> Tensor:
        """The latent weights: the parameter where kept, the stash where masked."""
        return torch.where(self._entry_masks[name], self.tensors[name].detach(), self.stash[name])

    def apply(self, keep: Tensor) -> None:
        """Move the mask: what leaves is stashed and zeroed, what returns gets its old value back."""
        mask = self._entry_mask(keep)
        with torch.no_grad():
            if on_host(self._stash):
                self._exchange(mask.numpy())
            else:
                # Without asking where the mask changes: that would wait.
                self._divide(torch.cat(self._lines()).add_(self._stash), mask)
        self._use(keep, mask)

    def _exchange(self, mask: np.ndarray) -> None:
        """Swap weights and stash where the mask changes; few entries do."""
        flat = (parts(values, self._counts) for values in (self._stash.numpy(), self._mask.numpy(), mask))
        for parameter, waiting, before, after in zip(self.tensors.values(), *flat, strict=True):
            z = array(parameter, parameter)
            moved = np.flatnonzero(before ^ after)
            z[moved], waiting[moved] = waiting[moved], z[moved]

    def _divide(self, theta: Tensor, mask: Tensor) -> None:
        """Give the weights what of theta is kept, and the stash the rest; both over all entries."""
        kept = torch.where(mask, theta, self._zero)
        torch.where(mask, self._zero, theta, out=self._stash)
        torch._foreach_copy_(self._lines(), kept.split(self._counts))

    def _use(self, keep: Tensor, mask: Tensor) -> None:
        """Have this mask from now on; the tensors' entries are in order already."""
        self.keep, self._mask = keep, mask
        self._entry_masks = dict(zip(self.tensors, shaped(mask, self.tensors.values()), strict=True))
        if not on_host(self._stash):
            self._factor()

    def _lines(self) -> list[Tensor]:
        """The masked tensors' entries as they lie in memory, views [n]."""
        return [line(parameter.detach(), parameter) for parameter in self.tensors.values()]

    def _gradient_lines(self) -> list[Tensor]:
        return [gradient_line(name, parameter) for name, parameter in self.tensors.items()]

    def _factor(self) -> Tensor:
        """The mask as numbers to multiply by, over all entries; always the same memory, so that it can be captured."""
        if self._factors_of is not self._mask:
            if len(self._factors) != len(self._mask):
                self._factors = torch.empty_like(self._stash)
            self._factors.copy_(self._mask)
            self._factors_of = self._mask
        return self._factors

    def reset(self, start: Mapping[str, Tensor]) -> None:
        """Take theta from `start`, a state of the whole model; the mask stays."""
        latent = [(start[name].detach().to(parameter), parameter) for name, parameter in self.tensors.items()]
        with torch.no_grad():
            self._divide(torch.cat([line(like(value, p), p) for value, p in latent]), self._mask)

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """A block whose gradients are wanted at masked units too; nothing to do where zeros have one of their own."""
        yield

    def mask_gradients(self) -> None:
        """Zero the gradient of masked entries, so that the weight step does not move them; not finite becomes NaN."""
        self._clear([(name, p.grad) for name, p in self.tensors.items() if p.grad is not None])

    def mask_state(self, states: Mapping[Any, Mapping[str, object]]) -> None:
        """Zero what an optimiser remembers of masked entries (momentum would move them)."""
        self._clear([
            (name, value) for name, parameter in self.tensors.items() for value in states.get(parameter, {}).values()
            if isinstance(value, Tensor) and value.shape == parameter.shape
        ])  # fmt: skip

    def _clear(self, values: Sequence[tuple[str, Tensor]]) -> None:
        """Multiply by the mask, in place; values by the name of the tensor whose shape and strides they have."""
        if not values:
            return
        if on_host(self._stash):
            for name, value in values:
                truth.clear(value, self._entry_masks[name])
            return
        factors = dict(zip(self.tensors, self._factor().split(self._counts), strict=True))
        lines = [line(value.detach(), self.tensors[name]) for name, value in values]
        torch._foreach_mul_(lines, [factors[name] for name, _ in values])

    def hold(self, model: nn.Module) -> None:
        """Called after each weight step: what an earlier pruning removed goes back to zero where no mask sees to it."""
        if not self.held:
            return
        held = [(parameter, self.held[name]) for name, parameter in model.named_parameters() if name in self.held]
        if on_host(self._stash):
            for parameter, mask in held:
                truth.clear(parameter, mask)
            return
        if self._held_of is not self.held:
            self._held_factors = [line(like(mask.to(p.dtype), p), p) for p, mask in held]
            self._held_of = self.held
        torch._foreach_mul_([line(p.detach(), p) for p, _ in held], self._held_factors)

    def state_dict(self) -> dict[str, object]:
        return {"keep": self.keep, "stash": self._stash}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore mask and stash; the parameters themselves come with the model's state."""
        keep, stash = state["keep"], state["stash"]
        assert isinstance(keep, Tensor)
        if not isinstance(stash, Tensor):
            raise TypeError("a stash of this form is not known")
        if len(stash):  # what a hardened mask had in it is gone
            self._stash.copy_(stash)
        self._use(keep, self._entry_mask(keep))

    _mask: Tensor  # bool, over all entries as they lie in memory
    _entry_masks: dict[str, Tensor]  # views of it, by tensor


_Numbers = TypeVar("_Numbers", Tensor, np.ndarray)


def mask_gradient(theta: _Numbers, mask: _Numbers, gradient: _Numbers, gamma: float) -> _Numbers:
    """d/dm of F(m * theta*(m)) with theta* from the regularised lower level.

    With z = m * theta, g = dF/dz, and the lower level's optimality condition m g + gamma theta = 0
    differentiated without the Hessian in z, d theta*/dm = -diag(g) / gamma, hence
    dF/dm = (theta - m g / gamma) g (arXiv 2210.04092; arXiv 2312.10181, eq. 12).

    Args:
        theta, gradient: same shape; gradient is with respect to z.
        mask: 0/1 or bool, same shape.
        gamma: weight of the lower level's regulariser, > 0; infinity leaves the first term alone.
    """
    return (theta - mask * gradient / gamma) * gradient
