"""Masks over single weights, and the selection of exactly so many of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.layers import prunable_weights
from fairprune_cli.pruning.masks import truth
from fairprune_cli.pruning.masks.base import Masks, channels_last, gradient_of, in_memory, mask_gradient
from fairprune_cli.pruning.options import TargetOptions

SAMPLE = 1 << 16  # numbers that `bracket` looks at first


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
    mask, inside = bracket(scores, keep)
    candidates = scores[inside]
    lacking = keep - truth.count(mask)
    threshold = torch.kthvalue(candidates, len(candidates) - lacking + 1).values
    mask[inside[candidates > threshold]] = True
    ties = inside[candidates == threshold]
    mask[ties[: keep - truth.count(mask)]] = True
    return mask


def bracket(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What of values [n] is surely above the k-th largest, bool [n], and the positions of what may be it; k in 1..n.

    Selection over many numbers is slow on a CPU, comparing them is not: a sample says between which two values the
    answer lies almost surely, and only what lies there needs to be searched. Where the sample is wrong, everything
    does.
    """
    count = len(values)
    if count > 4 * SAMPLE:
        sample = values[:: count // SAMPLE].sort(descending=True).values
        share = k / count
        at, margin = int(share * len(sample)), int(4.0 * (len(sample) * share * (1.0 - share)) ** 0.5) + 2
        above = values > sample[at - margin] if at > margin else torch.zeros_like(values, dtype=torch.bool)
        least = values >= sample[min(at + margin, len(sample) - 1)]
        if truth.count(above) < k <= truth.count(least):
            return above, truth.indices(least ^ above)
    return torch.zeros_like(values, dtype=torch.bool), torch.arange(count, device=values.device)


class WeightMasks(Masks):
    """A mask entry for every single weight of every convolution and linear layer, in the order of the memory.

    Args:
        model: its prunable weights are masked in place.
        layer_floor: every tensor keeps at least this share of what a uniform budget would leave it (and at least
            one entry), so that no layer dies; 0..1.
        names: tensors that are masked; all prunable ones when None.
        alive: what an earlier pruning left, True where kept, by tensor name; whatever it removed is zero, counts as
            removed and never comes back. A tensor that is not named is whole.
    """

    def __init__(
        self, model: nn.Module, layer_floor: float = TargetOptions.layer_floor, names: Sequence[str] | None = None,
        alive: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, list(prunable_weights(model) if names is None else names))
        self.layer_floor = layer_floor
        self.sizes = [p.numel() for p in self.tensors.values()]
        device = next(iter(self.tensors.values())).device
        ones = torch.ones(sum(self.sizes), dtype=torch.bool, device=device)
        self._counted, self._kept = ones, len(ones)
        self._alive: Tensor | None = None
        if alive and any(name in alive for name in self.tensors):
            whole = {n: torch.ones_like(p, dtype=torch.bool) for n, p in self.tensors.items()}
            self._alive = self._flat([alive[n].to(device) if n in alive else w for n, w in whole.items()])
        self._entry_masks = self.entries(ones)
        self.apply(ones if self._alive is None else self._alive)

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
        return 0.0 if self._alive is None else 1.0 - truth.count(self._alive) / self.total

    def meets(self, sparsity: float, given: nn.Module, stored: nn.Module) -> bool:
        """Single weights can be counted out exactly."""
        return self.kept == round((1.0 - sparsity) * self.total)

    def counted(self, model: nn.Module) -> dict[str, nn.Parameter]:
        return prunable_weights(model)

    def _ranked(self, scores: Tensor) -> Tensor:
        """Scores with what was removed earlier below everything else."""
        return scores if self._alive is None else scores.masked_fill(~self._alive, -torch.inf)

    def _flat(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([self._line(t, p) for t, p in zip(tensors, self.tensors.values(), strict=True)])

    def _line(self, tensor: Tensor, parameter: Tensor) -> Tensor:
        """The tensor's entries in the order of the masks; that of memory, in which they need no copy."""
        return in_memory(tensor, parameter)

    def _shaped(self, line: Tensor, parameter: Tensor) -> Tensor:
        """The inverse of `_line`."""
        return _unflattened(line, parameter)

    def _gradients(self) -> Tensor:
        return self._flat([gradient_of(name, p) for name, p in self.tensors.items()])

    def theta(self, name: str) -> Tensor:
        return self.tensors[name].detach() + self.stash[name]

    def _lines(self, flat: Tensor) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
        """Name, parameter and part of flat [U] for each tensor."""
        for (name, parameter), line in zip(self.tensors.items(), flat.split(self.sizes), strict=True):
            yield name, parameter, line

    def magnitude(self, out: Tensor | None = None) -> Tensor:
        # Tensor by tensor into one that is there: memory that is new costs more than what is computed in it.
        if out is None:
            out = next(iter(self.tensors.values())).detach().new_empty(self.total)
        for name, parameter, line in self._lines(out):
            torch.abs(self._line(self.theta(name), parameter), out=line)
        return out

    def average_squared_gradient(self, average: Tensor, memory: float) -> None:
        """g_i^2 is the Fisher diagonal's sample at z, at every entry."""
        for name, parameter, line in self._lines(average):
            line.mul_(memory).add_(self._line(gradient_of(name, parameter), parameter).square(), alpha=1.0 - memory)

    def saliency(self) -> Tensor:
        return self._flat([self.theta(name) * gradient_of(name, p) for name, p in self.tensors.items()])

    def first_order_gradient(self, gamma: float) -> Tensor:
        """(theta - m g / gamma) g, both terms of the mask gradient (BiP, arXiv 2210.04092, eq. 7)."""
        gradient = self._gradients()
        theta = self._flat([self.theta(name) for name in self.tensors])
        return mask_gradient(theta, self.keep, gradient, gamma)

    def select(self, scores: Tensor, sparsity: float) -> Tensor:
        count, scores = len(scores), self._ranked(scores)
        keep = round((1.0 - sparsity) * count)
        parts, left = scores.split(self.sizes), self.sizes
        if self._alive is not None:
            left = [truth.count(part) for part in self._alive.split(self.sizes)]
            keep = min(keep, sum(left))
        shares = [max(1, round(self.layer_floor * (1.0 - sparsity) * n)) for n in self.sizes]
        floors = [min(n, share) for n, share in zip(left, shares, strict=True)]
        if sum(floors) > keep:
            raise FairpruneError(
                f"sparsity {sparsity} leaves {keep} weights for {len(floors)} layers", where="--sparsity",
                hint=f"{1 - sum(floors) / count:.6f} is the most for this model",
            )  # fmt: skip
        mask, ranked = top_k_mask(scores, keep), scores
        # A layer that falls short of its floor gets its best entries first, and the others share what is left, until
        # none falls short. Layers above their floor need nothing: what they would be given they have.
        while True:
            kept = [truth.count(part) for part in mask.split(self.sizes)]
            short = [i for i, floor in enumerate(floors) if kept[i] < floor]
            if not short:
                return mask
            ranked = ranked.clone() if ranked is scores else ranked
            for i in short:
                ranked.split(self.sizes)[i][top_k_mask(parts[i], floors[i])] = torch.inf
            mask = top_k_mask(ranked, keep)

    def entries(self, keep: Tensor) -> dict[str, Tensor]:
        return {name: self._shaped(line, parameter) for name, parameter, line in self._lines(keep)}


def _unflattened(flat: Tensor, parameter: Tensor) -> Tensor:
    """The inverse of `in_memory`: a view of the parameter's shape and memory format."""
    if not channels_last(parameter):
        return flat.view_as(parameter)
    n, c, h, w = parameter.shape
    return flat.view(n, h, w, c).permute(0, 3, 1, 2)
