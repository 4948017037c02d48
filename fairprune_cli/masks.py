"""Masks over weights or channels: what is kept, what the scores are made of, and hardening.

While a mask moves, the model's parameters hold z = m * theta, so that a plain backward pass gives the gradient
with respect to z at every entry, kept or not, without a copied weight or a hook in the forward pass. The values
theta of what is masked wait in a stash and come back if the mask lets them in again.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.channels import ChannelSpace, ParameterCount, choose_channels, kept_per_space
from fairprune_cli.errors import FairpruneError

PROBE = 1e-3


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of convolutions and linear layers by name; biases and norms are never pruned singly."""
    found: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and isinstance(weight, nn.Parameter):
            found[f"{name}.weight" if name else "weight"] = weight
    return found


def top_k_mask(scores: Tensor, keep: int) -> Tensor:
    """Exactly `keep` entries with the largest scores; ties go to the lower index.

    Args:
        scores: [n], without NaN.
        keep: 0..n.

    Returns:
        bool [n].
    """
    count = scores.numel()
    if not 0 <= keep <= count:
        raise ValueError(f"cannot keep {keep} of {count}")
    if keep == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = torch.kthvalue(scores, count - keep + 1).values
    mask = scores > threshold
    ties = torch.nonzero(scores == threshold)[:, 0]
    mask[ties[: keep - int(mask.sum())]] = True
    return mask


class Masks(ABC):
    """A mask over U units of a model (single weights, or whole channels)."""

    def __init__(self, model: nn.Module, tensors: Sequence[str]) -> None:
        parameters = dict(model.named_parameters())
        self.tensors = {name: parameters[name] for name in tensors}
        self.stash = {name: p.detach().clone() for name, p in self.tensors.items()}

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
    def magnitude(self) -> Tensor:
        """[U] size of each unit's weights theta, masked units included."""

    @abstractmethod
    def squared_gradient(self) -> Tensor:
        """[U] squared gradient that the second-order score averages; reads the parameters' `grad`."""

    @abstractmethod
    def saliency(self) -> Tensor:
        """[U] theta . g, the first-order change of the loss by each unit; reads the parameters' `grad`."""

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
                latent = self.theta(name)
                self.stash[name] = latent
                parameter.copy_(torch.where(new[name], latent, torch.zeros_like(latent)))
        self.keep = keep
        self._entry_masks = new

    def reset(self, start: Mapping[str, Tensor]) -> None:
        """Take theta from `start`, a state of the whole model; the mask stays."""
        with torch.no_grad():
            for name, parameter in self.tensors.items():
                self.stash[name] = start[name].detach().clone()
                parameter.copy_(start[name] * self._entry_masks[name])

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """A block whose gradients are wanted at masked units too; nothing to do where zeros have one of their own."""
        yield

    def mask_gradients(self) -> None:
        """Zero the gradient of masked entries, so that the weight step does not move them."""
        for name, parameter in self.tensors.items():
            if parameter.grad is not None:
                parameter.grad.mul_(self._entry_masks[name])

    def mask_state(self, states: Mapping[Any, Mapping[str, object]]) -> None:
        """Zero what an optimiser remembers of masked entries (momentum would move them)."""
        for name, parameter in self.tensors.items():
            for value in states.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    value.mul_(self._entry_masks[name])

    def state_dict(self) -> dict[str, object]:
        return {"keep": self.keep, "stash": dict(self.stash)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore mask and stash; the parameters themselves come with the model's state."""
        keep, stash = state["keep"], state["stash"]
        assert isinstance(keep, Tensor)
        assert isinstance(stash, dict)
        self.keep = keep
        self.stash = dict(stash)
        self._entry_masks = self.entries(keep)

    _entry_masks: dict[str, Tensor]


class WeightMasks(Masks):
    """A mask entry for every single weight of every convolution and linear layer.

    Args:
        model: its prunable weights are masked in place.
        layer_floor: every tensor keeps at least this share of what a uniform budget would leave it (and at least
            one entry), so that no layer dies; 0..1.
    """

    def __init__(self, model: nn.Module, layer_floor: float = 0.05) -> None:
        super().__init__(model, list(prunable_weights(model)))
        self.layer_floor = layer_floor
        self.sizes = [p.numel() for p in self.tensors.values()]
        device = next(iter(self.tensors.values())).device
        self.keep = torch.ones(sum(self.sizes), dtype=torch.bool, device=device)
        self._entry_masks = self.entries(self.keep)

    @property
    def total(self) -> int:
        return len(self.keep)

    @property
    def kept(self) -> int:
        return int(self.keep.sum())

    @property
    def achieved(self) -> float:
        return 1.0 - self.kept / self.total

    def _flat(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([t.reshape(-1) for t in tensors])

    def _gradients(self) -> Tensor:
        return self._flat([_gradient(name, p) for name, p in self.tensors.items()])

    def magnitude(self) -> Tensor:
        return self._flat([self.theta(name).abs() for name in self.tensors])

    def squared_gradient(self) -> Tensor:
        """g_i^2, the Fisher diagonal's sample at z, at every entry."""
        return self._gradients().square()

    def saliency(self) -> Tensor:
        return self._flat([self.theta(name) * _gradient(name, p) for name, p in self.tensors.items()])

    def first_order_gradient(self, gamma: float) -> Tensor:
        """(theta - m g / gamma) g, both terms of the mask gradient (BiP, arXiv 2210.04092, eq. 7)."""
        gradient = self._gradients()
        theta = self._flat([self.theta(name) for name in self.tensors])
        return mask_gradient(theta, self.keep, gradient, gamma)

    def select(self, scores: Tensor, sparsity: float) -> Tensor:
        count = len(scores)
        keep = round((1.0 - sparsity) * count)
        parts = scores.split(self.sizes)
        floors = [min(n, max(1, round(self.layer_floor * (1.0 - sparsity) * n))) for n in self.sizes]
        if sum(floors) > keep:
            raise FairpruneError(
                f"sparsity {sparsity} leaves {keep} weights for {len(floors)} layers", where="--sparsity",
                hint=f"{1 - sum(floors) / count:.6f} is the most for this model",
            )  # fmt: skip
        ranked = scores.clone()
        # The best entries of each layer are taken first; what is left of the budget goes by score alone.
        for part, view, floor in zip(parts, ranked.split(self.sizes), floors, strict=True):
            view[top_k_mask(part, floor)] = torch.inf
        return top_k_mask(ranked, keep)

    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        parts = keep.split(self.sizes)
        return {name: part.view_as(p) for (name, p), part in zip(self.tensors.items(), parts, strict=True)}


class ChannelMasks(Masks):
    """A mask entry for every channel of every space; closed by the zeros of its gates (scale and shift).

    A closed channel's output is zero everywhere, so masking equals removal, while the filters behind the gate
    keep their values.
    """

    def __init__(self, model: nn.Module, spaces: Sequence[ChannelSpace], min_channels: float = 0.05) -> None:
        super().__init__(model, [name for space in spaces for name in space.gates])
        parameters = dict(model.named_parameters())
        self.spaces = list(spaces)
        self.min_channels = min_channels
        self.count = ParameterCount(model, spaces)
        self._filters = [{name: parameters[name] for name in space.filters} for space in spaces]
        self.sizes = [space.size for space in spaces]
        self._dense_total = self.count(self.sizes)
        device = next(iter(self.tensors.values())).device
        self.keep = torch.ones(sum(self.sizes), dtype=torch.bool, device=device)
        self._entry_masks = self.entries(self.keep)

    @property
    def total(self) -> int:
        return self._dense_total

    @property
    def kept(self) -> int:
        return self.count(kept_per_space(self.spaces, self.keep))

    @property
    def achieved(self) -> float:
        return 1.0 - self.kept / self.total

    def largest_unit(self) -> float:
        """Largest share of the parameters that one more removed channel changes, at the present mask."""
        kept = kept_per_space(self.spaces, self.keep)
        now = self.count(kept)
        return max(
            abs(now - self.count([k + step * (s == t) for t, k in enumerate(kept)])) / self.total
            for s, size in enumerate(self.sizes)
            for step in (-1, 1)
            if 0 <= kept[s] + step <= size
        )

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """Open closed gates by a thousandth, so that their gradient is that of a gate about to open.

        At exactly zero scale and shift a ReLU passes no gradient, and a closed channel could never return. ReLU is
        positively homogeneous, so the gradient at a thousandth is the one-sided derivative at zero.
        """
        with torch.no_grad():
            for name, parameter in self.tensors.items():
                parameter.copy_(torch.where(self._entry_masks[name], parameter, PROBE * self.stash[name]))
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.tensors.items():
                    parameter.copy_(torch.where(self._entry_masks[name], parameter, 0.0))

    def magnitude(self) -> Tensor:
        """Root mean square over the entries of all filters that produce the channel."""
        return torch.cat([rows.square().mean(1).sqrt() for rows in self.filters()])

    def _sums(self, gamma: float | None) -> Tensor:
        values = []
        for space in self.spaces:
            total = torch.zeros(space.size, device=self.keep.device)
            for name in space.gates:
                gradient = _gradient(name, self.tensors[name])
                theta = self.theta(name)
                if gamma is None:
                    part = theta * gradient
                else:
                    part = mask_gradient(theta, self._entry_masks[name], gradient, gamma)
                total += part.reshape(space.size, -1).sum(1)
            values.append(total)
        return torch.cat(values)

    def squared_gradient(self) -> Tensor:
        """(sum over the gate's entries of theta g)^2: the squared derivative with respect to the gate.

        Filters in front of a batch norm add nothing to the sum (their function is scale invariant, so theta . g
        is zero); the scale and shift carry all of it.
        """
        return self._sums(None).square()

    def saliency(self) -> Tensor:
        """Sum over the gate's entries of theta g, the derivative with respect to the gate."""
        return self._sums(None)

    def filters(self) -> list[Tensor]:
        rows = []
        for space, filters in zip(self.spaces, self._filters, strict=True):
            parts = [self.theta(name) if name in self.tensors else weight.detach() for name, weight in filters.items()]
            rows.append(torch.cat([part.reshape(space.size, -1) for part in parts], dim=1))
        return rows

    def first_order_gradient(self, gamma: float) -> Tensor:
        """Sum over the gate's entries of (theta - m g / gamma) g."""
        return self._sums(gamma)

    def select(self, scores: Tensor, sparsity: float) -> Tensor:
        floor = [min(n, max(1, round(self.min_channels * n))) for n in self.sizes]
        return choose_channels(scores, self.spaces, self.count, sparsity, floor).to(self.keep.device)

    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        masks: dict[str, Tensor] = {}
        for space, part in zip(self.spaces, keep.split(self.sizes), strict=True):
            for name in space.gates:
                parameter = self.tensors[name]
                shape = (space.size,) + (1,) * (parameter.dim() - 1)
                masks[name] = part.view(shape).expand_as(parameter)
        return masks


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


def _gradient(name: str, parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        raise FairpruneError(f"no gradient reaches {name}", hint="use another --granularity")
    return parameter.grad.detach()
