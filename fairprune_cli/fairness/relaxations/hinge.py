"""kappa(a) = max(1 + a, 0): flat where the event is excluded with a margin of one."""

from __future__ import annotations

from torch import Tensor

ALSO = ("relu", "svm")


def kappa(a: Tensor) -> Tensor:
    """max(1 + a, 0); same shape."""
    return (1.0 + a).clamp_min(0.0)
