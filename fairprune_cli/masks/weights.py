"""Masks over single weights, and the selection of exactly so many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fairprune_cli.architectures.attention import SelfAttention
from fairprune_cli.errors import FairpruneError
from fairprune_cli.masks.base import Masks, gradient_of, mask_gradient


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of convolutions, linear layers and attention by name; biases and norms are never pruned singly."""
    found: dict[str, nn.Parameter] = {}
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and isinstance(weight, nn.Parameter):
            found[f"{name}.weight" if name else "weight"] = weight
        projection = getattr(module, "in_proj_weight", None)
        if isinstance(module, nn.MultiheadAttention | SelfAttention) and isinstance(projection, nn.Parameter):
            found[f"{name}.in_proj_weight"] = projection
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


class WeightMasks(Masks):
    """A mask entry for every single weight of every convolution and linear layer.

    Args:
        model: its prunable weights are masked in place.
        layer_floor: every tensor keeps at least this share of what a uniform budget would leave it (and at least
            one entry), so that no layer dies; 0..1.
        names: tensors that are masked; all prunable ones when None.
        alive: what an earlier pruning left, True where kept, by tensor name; whatever it removed is zero, counts as
            removed and never comes back. A tensor that is not named is whole.
    """

    def __init__(
        self, model: nn.Module, layer_floor: float = 0.05, names: Sequence[str] | None = None,
        alive: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, list(prunable_weights(model) if names is None else names))
        self.layer_floor = layer_floor
        self.sizes = [p.numel() for p in self.tensors.values()]
        device = next(iter(self.tensors.values())).device
        ones = torch.ones(sum(self.sizes), dtype=torch.bool, device=device)
        self._alive: Tensor | None = None
        if alive and any(name in alive for name in self.tensors):
            whole = dict(zip(self.tensors, ones.split(self.sizes), strict=True))
            self._alive = torch.cat([alive[n].to(device).reshape(-1) if n in alive else w for n, w in whole.items()])
        self._entry_masks = self.entries(ones)
        self.apply(ones if self._alive is None else self._alive)

    @property
    def total(self) -> int:
        return len(self.keep)

    @property
    def kept(self) -> int:
        return int(self.keep.sum())

    @property
    def achieved(self) -> float:
        return 1.0 - self.kept / self.total

    @property
    def start(self) -> float:
        return 0.0 if self._alive is None else 1.0 - int(self._alive.sum()) / self.total

    def _ranked(self, scores: Tensor) -> Tensor:
        """Scores with what was removed earlier below everything else."""
        return scores if self._alive is None else scores.masked_fill(~self._alive, -torch.inf)

    def _flat(self, tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([t.reshape(-1) for t in tensors])

    def _gradients(self) -> Tensor:
        return self._flat([gradient_of(name, p) for name, p in self.tensors.items()])

    def magnitude(self) -> Tensor:
        return self._flat([self.theta(name).abs() for name in self.tensors])

    def squared_gradient(self) -> Tensor:
        """g_i^2, the Fisher diagonal's sample at z, at every entry."""
        return self._gradients().square()

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
            left = [int(part.sum()) for part in self._alive.split(self.sizes)]
            keep = min(keep, sum(left))
        shares = [max(1, round(self.layer_floor * (1.0 - sparsity) * n)) for n in self.sizes]
        floors = [min(n, share) for n, share in zip(left, shares, strict=True)]
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
