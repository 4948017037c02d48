"""Masks over whole channels, which are closed by their gates and removed when the mask is fixed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.transfer import Arriving, on_host, sent
from fairprune_cli.pruning.channels import OUTPUTS
from fairprune_cli.pruning.channels.choice import Count, ParameterCount, choose_channels
from fairprune_cli.pruning.channels.removal import ChannelSpace, kept_per_space, remove_channels, take
from fairprune_cli.pruning.masks.base import Masks, mask_gradient
from fairprune_cli.pruning.masks.lines import array, channels_last, shaped
from fairprune_cli.pruning.masks.places import Places, rows_of
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
        recount: what a model has of the unit of `count`; None where only the mask can tell.
    """

    chooses_on_host = True

    def __init__(
        self, model: nn.Module, spaces: Sequence[ChannelSpace], min_channels: float = TargetOptions.min_channels,
        round_to: int = TargetOptions.round_to,
        count: Count | None = None, alive: Mapping[str, Tensor] | None = None, fixed: Mapping[str, str] | None = None,
        recount: Callable[[nn.Module], int] | None = None,
    ) -> None:  # fmt: skip
        self.fixed, self.recount = dict(fixed or {}), recount
        super().__init__(model, [gate.tensor for space in spaces for gate in space.gates])
        parameters = dict(model.named_parameters())
        self.spaces = list(spaces)
        self.min_channels, self.round_to = min_channels, round_to
        self.count: Count = count or ParameterCount(model, spaces)
        device = self._stash.device
        self.sizes = [space.size for space in spaces]
        self._gates = Places([space.gates for space in spaces], self.tensors, self.sizes)
        names = dict.fromkeys(slot.tensor for space in spaces for slot in space.filters)
        self._producers = {name: parameters[name] for name in names}
        self._filters = Places([space.filters for space in spaces], self._producers, self.sizes)
        self._rows = [[(slot.tensor, rows_of(slot).to(device)) for slot in space.filters] for space in spaces]
        self._dense_total = self.count(self.sizes)
        self.held = {name: mask.to(device) for name, mask in (alive or {}).items()}
        keep = torch.ones(sum(self.sizes), dtype=torch.bool, device=device)
        self._open = keep[:1].clone()
        self._known, self._widths = keep, list(self.sizes)
        self._counted, self._kept = keep, self._dense_total
        self._use(keep, self._entry_mask(keep))

    @property
    def total(self) -> int:
        return self._dense_total

    @property
    def kept(self) -> int:
        if self._counted is not self.keep:  # counted once per mask, as every step asks
            self._counted, self._kept = self.keep, self.count(self._kept_per_space())
        return self._kept

    def _kept_per_space(self) -> list[int]:
        if self._known is not self.keep:
            self._known, self._widths = self.keep, kept_per_space(self.spaces, self.keep.cpu().numpy())
        return self._widths

    @property
    def achieved(self) -> float:
        return 1.0 - self.kept / self.total

    def largest_unit(self) -> float:
        """Largest share of the total that one more group of channels, kept or removed, changes at the present mask."""
        kept = self._kept_per_space()
        now = self.count(kept)
        steps = [
            [min(max(k + step * (s == t), 0), size) for t, (k, size) in enumerate(zip(kept, self.sizes, strict=True))]
            for s in range(len(kept))
            for step in (-self.round_to, self.round_to)
        ]
        return max(abs(now - self.count(widths)) for widths in steps) / self.total

    def reached(self, given: nn.Module, stored: nn.Module) -> float:
        return self.achieved if self.recount is None else 1.0 - self.recount(stored) / self.recount(given)

    def meets(self, sparsity: float, given: nn.Module, stored: nn.Module) -> bool:
        return abs(self.reached(given, stored) - sparsity) <= self.largest_unit()

    def counted(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """All of them: the vectors beside its weights leave with a channel."""
        return dict(model.named_parameters())

    def sparse_entries(self, keep: Tensor) -> dict[str, Tensor]:
        """What an earlier pruning removed; channels leave no zeros behind, or are not gone yet."""
        return dict(self.held)

    def remove(self, model: nn.Module, keep: Tensor) -> dict[str, dict[int, Tensor]]:
        return remove_channels(model, self.spaces, keep)

    def harden(self, model: nn.Module) -> dict[str, dict[int, Tensor]]:
        indices = self.remove(model, self.keep)
        self.held = {name: take(mask, indices.get(name, {})) for name, mask in self.held.items()}
        self.tensors, self.stash, self._counts = {}, {}, []  # no gate is left that is closed
        self._producers = {}  # of which the model has smaller ones now
        self._stash = self._stash[:0].clone()
        self._use(self.keep, self._mask[:0].clone())
        return indices

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """Open closed gates by a thousandth, so that their gradient is that of a gate about to open.

        At exactly zero scale and shift a ReLU passes no gradient, and a closed channel could never return. ReLU is
        positively homogeneous, so the gradient at a thousandth is the one-sided derivative at zero.
        """
        if on_host(self._stash):
            lines = [(array(p, p), array(self.stash[n], p), array(self._entry_masks[n], p))
                     for n, p in self.tensors.items()]  # fmt: skip
            closed = [(z, stash, np.flatnonzero(~mask)) for z, stash, mask in lines]
            for z, stash, at in closed:
                z[at] = PROBE * stash[at]
            try:
                yield
            finally:
                for z, _, at in closed:
                    z[at] = 0.0
            return
        views = self._lines()
        with torch.no_grad():
            before = torch.cat(views)
            torch._foreach_add_(views, self._stash.split(self._counts), alpha=PROBE)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(views, before.split(self._counts))

    def magnitude(self, out: Tensor | None = None) -> Tensor:
        """Root mean square over the entries of all filters that produce the channel."""
        latent = [
            self.theta(name) if name in self.tensors else weight.detach() for name, weight in self._producers.items()
        ]
        if on_host(self._stash):
            matrices = [_matrix(weight).numpy() for weight in latent]
            rows = np.concatenate([np.einsum("ij,ij->i", one, one) for one in matrices])
            sums = self._filters.by_channel(torch.from_numpy(rows)).numpy()
            scores = torch.from_numpy(np.sqrt(sums / self._filters.entries.numpy()))
        else:
            norms = [torch.linalg.vector_norm(_matrix(weight), dim=1) for weight in latent]
            scores = self._filters.by_channel(torch.cat(norms).square_()).div_(self._filters.entries).sqrt_()
        return scores if out is None else out.copy_(scores)

    def _sums(self, gamma: float | None) -> Tensor:
        """[U] sum over the entries of each channel's gates of theta g, or of its mask gradient where gamma is given."""
        lines, gradients = self._lines(), self._gradient_lines()
        if on_host(self._stash):
            mask, stash = self._mask.numpy(), self._stash.numpy()
            theta = np.where(mask, np.concatenate([one.numpy() for one in lines]), stash)
            gradient = np.concatenate([one.numpy() for one in gradients])
            found = theta * gradient if gamma is None else mask_gradient(theta, mask, gradient, gamma)
            return self._gates.by_channel(self._gates.by_row(torch.from_numpy(found)))
        latent, slope = torch.where(self._mask, torch.cat(lines), self._stash), torch.cat(gradients)
        product = latent.mul_(slope) if gamma is None else mask_gradient(latent, self._factor(), slope, gamma)
        return self._gates.by_channel(self._gates.by_row(product))

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
        for space, filters in zip(self.spaces, self._rows, strict=True):
            parts = []
            for name, rows in filters:
                theta = self.theta(name) if name in self.tensors else self._producers[name].detach()
                parts.append(theta[rows].reshape(space.size, -1))
            found.append(torch.cat(parts, dim=1))
        return found

    def first_order_gradient(self, gamma: float) -> Tensor:
        """Sum over the gate's entries of (theta - m g / gamma) g."""
        return self._sums(gamma)

    def select(self, scores: Tensor, sparsity: float) -> Tensor:
        return self.choose(Arriving(scores).numpy(), sparsity)

    def choose(self, scores: np.ndarray, sparsity: float) -> Tensor:
        floor = [
            min(n, max(space.least, round(self.min_channels * n)))
            for n, space in zip(self.sizes, self.spaces, strict=True)
        ]
        try:
            kept = choose_channels(scores, self.spaces, self.count, sparsity, floor, self.round_to)
        except FairpruneError as error:
            first: dict[str, str] = {}  # a layer for each reason
            for layer, why in self.fixed.items():
                first.setdefault(why.rpartition(": ")[2], f"{layer} stays, because of {why}")
            first.pop(OUTPUTS, None)
            error.hint = "; ".join([error.hint, *list(first.values())[:3]])
            raise
        keep = sent(kept, self._stash.device)
        self._known, self._widths = keep, kept_per_space(self.spaces, kept)
        return keep

    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.tensors, shaped(self._entry_mask(keep), self.tensors.values()), strict=True))

    def _entry_mask(self, keep: Tensor) -> Tensor:
        # A dimension that several spaces share is open where each of them leaves it so; what is in none is open.
        if on_host(self._stash):
            leaves = np.append(keep.numpy(), True)
            return torch.from_numpy(np.logical_and.reduce([leaves[one.numpy()] for one in self._gates.owners]))
        padded = torch.cat([keep, self._open])
        mask, *more = (padded.index_select(0, one) for one in self._gates.owners)
        for other in more:
            mask.logical_and_(other)
        return mask


def _matrix(weight: Tensor) -> Tensor:
    """[rows, entries of each], in any order, a view where the weight is contiguous or channels-last."""
    return (weight.permute(0, 2, 3, 1) if channels_last(weight) else weight).reshape(len(weight), -1)
