"""Masks over whole channels, which are closed by their gates and removed when the mask is fixed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.pruning.channels import OUTPUTS
from fairprune_cli.pruning.channels.choice import Count, ParameterCount, choose_channels
from fairprune_cli.pruning.channels.removal import ChannelSpace, Slot, kept_per_space
from fairprune_cli.pruning.masks.base import Masks, gradient_of, mask_gradient
from fairprune_cli.pruning.options import TargetOptions

PROBE = 1e-3


class ChannelMasks(Masks):
    """A mask entry for every channel of every space; closed by the zeros of its gates.

    A closed channel is zero wherever it is read, so masking equals removal (but see `ChannelSpace.exact`), while the
    filters behind the gate keep their values.

    Args:
        min_channels: share of its channels that each space keeps at least.
        round_to: the widths of shrunk spaces are multiples of it.
        count: what a sparsity is a share of; parameters when None.
        alive: what an earlier pruning left of single weights, True where kept, by tensor name. They are not what is
            counted here, but what it removed stays zero.
        fixed: as in `Coupling`, for the message when too much is asked for.
    """

    def __init__(
        self, model: nn.Module, spaces: Sequence[ChannelSpace], min_channels: float = TargetOptions.min_channels,
        round_to: int = TargetOptions.round_to,
        count: Count | None = None, alive: Mapping[str, Tensor] | None = None, fixed: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.fixed = dict(fixed or {})
        super().__init__(model, [gate.tensor for space in spaces for gate in space.gates])
        parameters = dict(model.named_parameters())
        self.spaces = list(spaces)
        self.min_channels, self.round_to = min_channels, round_to
        self.count: Count = count or ParameterCount(model, spaces)
        device = next(iter(self.tensors.values())).device
        self._filters = [
            [(slot.tensor, parameters[slot.tensor], _rows(slot).to(device)) for slot in space.filters]
            for space in spaces
        ]
        self._gates = [[(slot.tensor, slot.channel.to(device)) for slot in space.gates] for space in spaces]
        self.sizes = [space.size for space in spaces]
        self._dense_total = self.count(self.sizes)
        self.held = {name: mask.to(device) for name, mask in (alive or {}).items()}
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
        """Largest share of the total that one more group of channels, kept or removed, changes at the present mask."""
        kept = kept_per_space(self.spaces, self.keep)
        now = self.count(kept)
        steps = [
            [min(max(k + step * (s == t), 0), size) for t, (k, size) in enumerate(zip(kept, self.sizes, strict=True))]
            for s in range(len(kept))
            for step in (-self.round_to, self.round_to)
        ]
        return max(abs(now - self.count(widths)) for widths in steps) / self.total

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

    def magnitude(self, out: Tensor | None = None) -> Tensor:
        """Root mean square over the entries of all filters that produce the channel."""
        return torch.cat([rows.square().mean(1).sqrt() for rows in self.filters()], out=out)

    def _sums(self, gamma: float | None) -> Tensor:
        values = []
        for space, gates in zip(self.spaces, self._gates, strict=True):
            total = torch.zeros(space.size, device=self.keep.device, dtype=self.tensors[gates[0][0]].dtype)
            for name, channel in gates:
                gradient = gradient_of(name, self.tensors[name])
                theta = self.theta(name)
                if gamma is None:
                    part = theta * gradient
                else:
                    part = mask_gradient(theta, self._entry_masks[name], gradient, gamma)
                inside = channel >= 0
                total.index_add_(0, channel[inside], part.reshape(len(channel), -1).sum(1)[inside])
            values.append(total)
        return torch.cat(values)

    def squared_gradient(self) -> Tensor:
        """(sum over the gate's entries of theta g)^2: the squared derivative with respect to the gate.

        Filters in front of a batch norm add nothing to the sum (their function is scale invariant, so theta . g
        is zero); the scale and shift carry all of it.
        """
        return self._sums(None).square()

    def average_squared_gradient(self, average: Tensor, memory: float) -> None:
        average.mul_(memory).add_(self.squared_gradient(), alpha=1.0 - memory)

    def saliency(self) -> Tensor:
        """Sum over the gate's entries of theta g, the derivative with respect to the gate."""
        return self._sums(None)

    def filters(self) -> list[Tensor]:
        found = []
        for space, filters in zip(self.spaces, self._filters, strict=True):
            parts = []
            for name, weight, rows in filters:
                theta = self.theta(name) if name in self.tensors else weight.detach()
                parts.append(theta[rows].reshape(space.size, -1))
            found.append(torch.cat(parts, dim=1))
        return found

    def first_order_gradient(self, gamma: float) -> Tensor:
        """Sum over the gate's entries of (theta - m g / gamma) g."""
        return self._sums(gamma)

    def select(self, scores: Tensor, sparsity: float) -> Tensor:
        floor = [min(n, max(1, round(self.min_channels * n))) for n in self.sizes]
        try:
            return choose_channels(scores, self.spaces, self.count, sparsity, floor, self.round_to).to(self.keep.device)
        except FairpruneError as error:
            first: dict[str, str] = {}  # a layer for each reason
            for layer, why in self.fixed.items():
                first.setdefault(why.rpartition(": ")[2], f"{layer} stays, because of {why}")
            first.pop(OUTPUTS, None)
            error.hint = "; ".join([error.hint, *list(first.values())[:3]])
            raise

    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        masks: dict[str, Tensor] = {}
        for gates, part in zip(self._gates, keep.split(self.sizes), strict=True):
            for name, channel in gates:
                parameter = self.tensors[name]
                # A dimension that several spaces share is open where each of them leaves it so.
                open_rows = (channel < 0) | part[channel]
                shape = (len(channel),) + (1,) * (parameter.dim() - 1)
                rows = open_rows.view(shape).expand_as(parameter)
                masks[name] = masks[name] & rows if name in masks else rows
        return masks


def _rows(slot: Slot) -> Tensor:
    """Indices of a slot, channel by channel."""
    inside = torch.nonzero(slot.channel >= 0)[:, 0]
    return inside[torch.argsort(slot.channel[inside], stable=True)]
