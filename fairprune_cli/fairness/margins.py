"""Margins: how far each class is ahead of its strongest rival, and the way back for their gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def class_margins(logits: Tensor) -> Tensor:
    """How far each class is ahead of its strongest rival.

    Args:
        logits: [B, K], K >= 2.

    Returns:
        [B, K]; entry (b, k) is z_k - max over j != k of z_j. It is positive exactly where k is predicted, and
        the entry of the true class is the margin y f(x) of the binary case.
    """
    return logits - rivals(logits)[0]


def rivals(logits: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The logit of each class's strongest rival.

    Args:
        logits: [B, K], K >= 2.

    Returns:
        (rival [B, K], back): back takes a gradient in the margins, logits - rival, to that in the logits, both [B, K].
    """
    if logits.shape[1] == 2:
        return logits.flip(1), lambda gradient: gradient - gradient.flip(1)
    top = logits.topk(2, dim=1)
    # Two comparisons in place of a scatter: where results must repeat, CUDA carries that out by many kernels and waits.
    classes = torch.arange(logits.shape[1], device=logits.device)
    first, second = (classes[:, None] == top.indices[:, None]).unbind(2)
    # The rival of the leading class is the runner-up; the rival of every other class is the leader.
    rival = torch.where(first, top.values[:, 1:], top.values[:, :1])

    def back(gradient: Tensor) -> Tensor:
        own = gradient.gather(1, top.indices[:, :1])
        others = gradient.sum(1, keepdim=True) - own
        return gradient.addcmul(first, others, value=-1).addcmul(second, own, value=-1)

    return rival, back
