"""Batch norms that take mean and variance over the images of all processes, with one message each way.

torch.nn.SyncBatchNorm does the same on CUDA only, and is a class of its own, which the removal of channels would have
to know. Here the norms stay what they are, and only their `forward` is another one for a while.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairprune_cli.core.distributed import Ranks


@contextmanager
def shared_norms(model: nn.Module, ranks: Ranks) -> Iterator[None]:
    """A block in which the batch norms of `model` see the batches of all processes as one."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)] if ranks.several else []

    def forward(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
        return _forward(norm, x, ranks)

    for norm in norms:
        norm.forward = types.MethodType(forward, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _forward(norm: nn.modules.batchnorm._BatchNorm, x: Tensor, ranks: Ranks) -> Tensor:
    """F.batch_norm with mean and variance over all processes; x [B, C, ...], of any B, 0 included."""
    if not norm.training and norm.running_mean is not None:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
    values = x.to(torch.promote_types(x.dtype, torch.float32))  # bfloat16 would not do for sums; float64 stays
    result, mean, variance, count = _Normalise.apply(values, norm.eps, ranks)
    if not ranks.is_alone:
        _follow(norm, mean, variance, count)
    if norm.weight is not None and norm.bias is not None:
        shape = _channels(x)
        result = result * norm.weight.view(shape) + norm.bias.view(shape)
    return result.to(x.dtype)


def _follow(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Move the running statistics, as torch does, towards the mean and the unbiased variance of a batch."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        rate = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), rate)
        unbiased = variance * count / (count - 1).clamp_min(1.0)
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), rate)


def _channels(x: Tensor) -> list[int]:
    return [1, -1] + [1] * (x.dim() - 2)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) over all processes' x [B, C, ...].

    Means and squares of the processes are joined by the formula of Chan, Golub and LeVeque (1979), which does not lose
    digits where a mean is large. With n numbers per channel in all, xhat the result and g its gradient,

        dx = (g - (sum of g) / n - xhat (sum of g xhat) / n) / sqrt(variance + eps).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        over = [d for d in range(x.dim()) if d != 1]
        size = x.new_full((1,), x.numel() / x.shape[1])
        own = x.sum(over) / size.clamp_min(1.0)
        squares = (x - own.view(_channels(x))).square_().sum(over)
        sizes, means, within = ranks.everyone(torch.cat([size, own, squares])).split([1, len(own), len(own)], dim=1)
        count = sizes.sum()
        mean = (sizes * means).sum(0) / count
        variance = (within + sizes * (means - mean).square()).sum(0) / count
        scale = (variance + eps).rsqrt()
        result = (x - mean.view(_channels(x))).mul_(scale.view(_channels(x)))
        ctx.save_for_backward(result, scale, count)
        ctx.ranks = ranks
        ctx.mark_non_differentiable(mean, variance, count)
        return result, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0]
        result, scale, count = ctx.saved_tensors
        over = [d for d in range(result.dim()) if d != 1]
        sums = torch.cat([gradient.sum(over), (gradient * result).sum(over)])
        along, turned = (ctx.ranks.everyone(sums).sum(0) / count).chunk(2)
        shape = _channels(result)
        moved = gradient - along.view(shape) - result * turned.view(shape)
        return moved.mul_(scale.view(shape)), None, None
