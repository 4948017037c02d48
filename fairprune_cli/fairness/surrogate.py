"""Soft events from logits: u(margin of p), which has a gradient, in place of "p is predicted".

The Lagrangian's term is linear in them. What it multiplies them by is known on the host (fairness/term.py), so that
the device is left with the margins, u and u', and one product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairprune_cli.fairness.margins import rivals
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.fairness.relaxations import Mirrored, Relaxation, Surrogate


def indicators(relaxation: Relaxation, bound: str, notion: Notion) -> tuple[Surrogate, ...]:
    """The surrogates in the sides of a term: (falling, rising), or where `bound` is "matched" one for both signs.

    "upper" takes kappa for rising and delta for falling terms, "lower" the reverse. "matched" takes delta for rates
    that are to rise and, as a side of its own, kappa for false alarms: delta would press hardest on the images that
    are none, and without end.
    """
    if bound == "matched":
        return (relaxation.delta, relaxation.kappa) if notion.false_alarms.any() else (relaxation.delta,)
    both = (relaxation.delta, relaxation.kappa)
    return both if bound == "upper" else both[::-1]


def soften(logits: Tensor, term: Tensor, surrogates: tuple[Surrogate, ...]) -> Tensor:
    """Sum over s, b, k of term[s, b, k] u_s(margin of class k in image b): a scalar, differentiable once in the logits.

    Args:
        logits: [B, K], K >= 2.
        term: [S, B, K], without a gradient.
        surrogates: S of them, elementwise.
    """
    if logits.dtype != term.dtype:
        dtype = torch.promote_types(logits.dtype, term.dtype)
        logits, term = logits.to(dtype), term.to(dtype)
    value: Tensor = _Softened.apply(logits, term, surrogates)
    return value


class _Softened(torch.autograd.Function):
    """The gradient is taken on the way there: it only lacks the factor that comes back."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, term: Tensor, surrogates: tuple[Surrogate, ...]) -> Tensor:
        rival, back = rivals(logits)
        differentiable = ctx.needs_input_grad[0]
        sides = [
            _side(logits, rival, weights, surrogate, differentiable)
            for weights, surrogate in zip(term.unbind(0), surrogates, strict=True)
        ]
        if differentiable:
            ctx.save_for_backward(back(_sum([slope for _, slope in sides if slope is not None])))
        return _sum([value for value, _ in sides])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return factor * gradient, None, None


def _side(
    logits: Tensor, rival: Tensor, weights: Tensor, surrogate: Surrogate, differentiable: bool
) -> tuple[Tensor, Tensor | None]:
    """(sum of weights u(margin), its gradient in the margins [B, K] where asked for)."""
    mirrored = isinstance(surrogate, Mirrored)
    # With 1 - kappa(-a) the two signs of the slope cancel, so it is kappa's own, at the margin turned round.
    margins = (rival - logits if mirrored else logits - rival).requires_grad_(differentiable)
    with torch.set_grad_enabled(differentiable):
        soft = surrogate.kappa(margins) if isinstance(surrogate, Mirrored) else surrogate(margins)
    slope = torch.autograd.grad(soft, margins, weights)[0] if differentiable else None
    soft = soft.detach()
    return torch.dot(weights.reshape(-1), (1.0 - soft if mirrored else soft).reshape(-1)), slope


def _sum(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]
