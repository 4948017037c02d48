"""Masks over single weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.transfer import on_host
from fairprune_cli.models.layers import prunable_weights
from fairprune_cli.models.strides import like
from fairprune_cli.pruning.masks import truth
from fairprune_cli.pruning.masks.base import Masks, mask_gradient
from fairprune_cli.pruning.masks.lines import array, gradient_line, line, parts, shaped
from fairprune_cli.pruning.masks.selection import top_k_with_floors
from fairprune_cli.pruning.options import TargetOptions

PIECE = 1 << 18  # numbers that a CPU computes with at a time, so that they stay in its cache
TOGETHER = 1 << 20  # entries from which on tensors are averaged in one operation

Line = Callable[[str], np.ndarray]  # numbers of a tensor, by its name, in the order of its memory


class WeightMasks(Masks):
    """A mask entry for every single weight of every convolution and linear layer, in the order of the memory.

    Args:
        model: its prunable weights are masked in place.
        layer_floor: every tensor keeps at least this share of what a uniform budget would leave it (and at least
            one entry), so that no layer dies; 0..1.
        names: tensors that are masked; all prunable ones when None.
        alive: what an earlier pruning left, True where kept, by tensor name; whatever it removed is zero, counts as
            removed and never comes back. A tensor that is not named is whole. Those that are not masked here are held.
    """

    def __init__(
        self, model: nn.Module, layer_floor: float = TargetOptions.layer_floor, names: Sequence[str] | None = None,
        alive: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, list(prunable_weights(model) if names is None else names))
        self._counted_names = frozenset(self.tensors)
        self.layer_floor = layer_floor
        self.sizes = [p.numel() for p in self.tensors.values()]
        device = self._stash.device
        ones = torch.ones(sum(self.sizes), dtype=torch.bool, device=device)
        self._counted, self._kept = ones, len(ones)
        self._alive: Tensor | None = None
        self._left = self.sizes  # that an earlier pruning left, of each tensor
        if alive and any(name in alive for name in self.tensors):
            whole = {n: torch.ones_like(p, dtype=torch.bool) for n, p in self.tensors.items()}
            left = [alive[n].to(device) if n in alive else w for n, w in whole.items()]
            lines = [line(like(mask, p), p) for mask, p in zip(left, self.tensors.values(), strict=True)]
            self._alive = self._by_unit(torch.cat(lines))
            self._removed = ~self._alive
            self._left = [truth.count(part) for part in self._alive.split(self.sizes)]
        self.held = {name: mask.to(device) for name, mask in (alive or {}).items() if name not in self.tensors}
        self._use(ones, self._entry_mask(ones))
        if self._alive is not None:
            self.apply(self._alive)

    @property
    def total(self) -> int:
        return len(self.keep)

    @property
    def kept(self) -> int:
        if self._counted is not self.keep:  # counted once per mask, as every step asks
            self._counted, self._kept = self.keep, truth.count(self.keep)
        return self._kept

    @property
    def achieved(self) -> float:
        return 1.0 - self.kept / self.total

    @property
    def start(self) -> float:
        return 0.0 if self._alive is None else 1.0 - sum(self._left) / self.total

    def meets(self, sparsity: float, given: nn.Module, stored: nn.Module) -> bool:
        """Single weights can be counted out exactly."""
        return self.kept == round((1.0 - sparsity) * self.total)

    def counted(self, model: nn.Module) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in prunable_weights(model).items() if name in self._counted_names}

    # The units are the entries in the order of the memory, in which they need no copy. Masks in another order have
    # these four of their own.

    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.tensors, shaped(keep, self.tensors.values()), strict=True))

    def _entry_mask(self, keep: Tensor) -> Tensor:
        return keep

    def _by_unit(self, flat: Tensor, out: Tensor | None = None) -> Tensor:
        """[U] of what is given for all entries as they lie in memory; in `out` where there is one and it must move."""
        return flat

    def _in_order(self, parameter: Tensor) -> bool:
        """Whether the units of a tensor are in the order of its memory."""
        return True

    def theta(self, name: str) -> Tensor:
        return self.tensors[name].detach() + self.stash[name]

    def _theta(self, out: Tensor | None = None) -> Tensor:
        """The latent weights of all entries as they lie in memory."""
        return torch.cat(self._lines(), out=out).add_(self._stash)

    def magnitude(self, out: Tensor | None = None) -> Tensor:
        # Into one that is there: memory that is new costs a CPU more than what is computed in it.
        out = torch.empty_like(self._stash) if out is None else out
        if on_host(self._stash):
            self._each(out, lambda to, z, stash: np.abs(np.add(z, stash, out=to), out=to), self._z, self._waiting)
            return out
        ordered = all(map(self._in_order, self.tensors.values()))
        return self._by_unit(self._theta(out if ordered else None).abs_(), out)

    def average_squared_gradient(self, average: Tensor, memory: float) -> None:
        """g_i^2 is the Fisher diagonal's sample at z, at every entry."""
        if not on_host(self._stash):
            squares = self._by_unit(torch.cat(self._gradient_lines()).square_())
            average.mul_(memory).add_(squares, alpha=1.0 - memory)
            return
        start, names = 0, []
        for last, (name, size) in enumerate(zip(self.tensors, self.sizes, strict=True), 1):
            names.append((name, size))
            length = sum(n for _, n in names)
            if length < TOGETHER and last < len(self.tensors):
                continue
            squares, part = average.new_empty(length), average[start : start + length]
            self._each(squares, lambda to, g: np.multiply(g, g, out=to), self._gradient, names=names)
            numbers = part.numpy()
            numbers *= memory
            part.add_(squares, alpha=1.0 - memory)  # not by numpy, whose rounding differs
            start, names = start + length, []

    def saliency(self) -> Tensor:
        if not on_host(self._stash):
            return self._by_unit(self._theta().mul_(torch.cat(self._gradient_lines())))

        def work(to: np.ndarray, z: np.ndarray, stash: np.ndarray, gradient: np.ndarray) -> None:
            np.multiply(np.add(z, stash, out=to), gradient, out=to)

        return self._each(torch.empty_like(self._stash), work, self._z, self._waiting, self._gradient)

    def first_order_gradient(self, gamma: float) -> Tensor:
        """(theta - m g / gamma) g, both terms of the mask gradient (BiP, arXiv 2210.04092, eq. 7)."""
        if not on_host(self._stash):
            gradient = torch.cat(self._gradient_lines())
            return self._by_unit(mask_gradient(self._theta(), self._factor(), gradient, gamma))

        def work(to: np.ndarray, z: np.ndarray, stash: np.ndarray, mask: np.ndarray, gradient: np.ndarray) -> None:
            to[:] = mask_gradient(z + stash, mask, gradient, gamma)

        sources = self._z, self._waiting, self._masked, self._gradient
        return self._each(torch.empty_like(self._stash), work, *sources)

    def _each(
        self, out: Tensor, work: Callable[..., object], *sources: Line,
        names: Sequence[tuple[str, int]] | None = None,
    ) -> Tensor:  # fmt: skip
        """On the host: have `work` fill out [U], or as much of it as the names and sizes of some tensors say.

        Args:
            work: is given a piece to write to, and the same piece of each source.
        """
        known = list(zip(self.tensors, self.sizes, strict=True)) if names is None else names
        with np.errstate(all="ignore"):
            for (name, size), units in zip(known, parts(out.numpy(), [n for _, n in known]), strict=True):
                parameter, lines = self.tensors[name], [source(name) for source in sources]
                ordered = self._in_order(parameter)
                target = units if ordered else np.empty_like(units)
                for start in range(0, size, PIECE):
                    piece = slice(start, start + PIECE)
                    work(target[piece], *(one[piece] for one in lines))
                if not ordered:
                    n, c, h, w = parameter.shape
                    units.reshape(n, c, h, w)[:] = target.reshape(n, h, w, c).transpose(0, 3, 1, 2)
        return out

    def _z(self, name: str) -> np.ndarray:
        return array(self.tensors[name], self.tensors[name])

    def _waiting(self, name: str) -> np.ndarray:
        return array(self.stash[name], self.tensors[name])

    def _masked(self, name: str) -> np.ndarray:
        return array(self._entry_masks[name], self.tensors[name])

    def _gradient(self, name: str) -> np.ndarray:
        return np.asarray(gradient_line(name, self.tensors[name]))

    def select(self, scores: Tensor, sparsity: float) -> Tensor:
        count, left = len(scores), self._left
        keep = min(round((1.0 - sparsity) * count), sum(left))
        shares = [max(1, round(self.layer_floor * (1.0 - sparsity) * n)) for n in self.sizes]
        floors = [min(n, share) for n, share in zip(left, shares, strict=True)]
        if sum(floors) > keep:
            raise FairpruneError(
                f"sparsity {sparsity} leaves {keep} weights for {len(floors)} layers", where="--sparsity",
                hint=f"{1 - sum(floors) / count:.6f} is the most for this model",
            )  # fmt: skip
        mask = top_k_with_floors(self._ranked(scores), self.sizes, floors, keep)
        self._counted, self._kept = mask, keep
        return mask

    def _ranked(self, scores: Tensor) -> Tensor:
        """Scores with what was removed earlier below everything else."""
        return scores if self._alive is None else scores.masked_fill(self._removed, -torch.inf)
