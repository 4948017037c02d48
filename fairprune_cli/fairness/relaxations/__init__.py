"""Surrogates of the indicator 1[a > 0], after Wu, Zhang & Wu (2019), "On Convexity and Bounds of
Fairness-aware Classification", and Dai et al. (arXiv 2312.10181), section 3.

Each module gives `kappa(a)`, a surrogate from above. Unless it gives `delta(a)` too, the one from below follows
from the symmetry 1[a > 0] = 1 - 1[-a >= 0]:  delta(a) = 1 - kappa(-a). For hinge, logistic, squared and exponential
this is the printed delta; the linear one differs by the constant 1 and says its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fairprune_cli.core import plugins

Surrogate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Relaxation:
    """A pair of surrogates of 1[a > 0]; `kappa` from above, `delta` from below."""

    name: str
    kappa: Surrogate
    delta: Surrogate


def names() -> list[str]:
    return plugins.RELAXATION.names()


def get(name: str) -> Relaxation:
    """The relaxation called `name`.

    Raises:
        FairpruneError: no such relaxation, or one that cannot be loaded.
    """
    module = plugins.RELAXATION.load(name)
    kappa: Surrogate = module.kappa

    def mirrored(a: Tensor) -> Tensor:
        return 1.0 - kappa(-a)

    return Relaxation(name, kappa, getattr(module, "delta", mirrored))


def class_margins(logits: Tensor) -> Tensor:
    """How far each class is ahead of its strongest rival.

    Args:
        logits: [B, K], K >= 2.

    Returns:
        [B, K]; entry (b, k) is z_k - max over j != k of z_j. It is positive exactly where k is predicted, and
        the entry of the true class is the margin y f(x) of the binary case.
    """
    top = logits.topk(2, dim=1)
    # The rival of the leading class is the runner-up; the rival of every other class is the leader.
    rival = top.values[:, :1].expand_as(logits).clone()
    rival.scatter_(1, top.indices[:, :1], top.values[:, 1:2])
    return logits - rival


def label_margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Margin of the true class, [B]; see `class_margins`."""
    return class_margins(logits).gather(1, labels[:, None])[:, 0]


__all__ = ["Relaxation", "class_margins", "get", "label_margins", "names"]
