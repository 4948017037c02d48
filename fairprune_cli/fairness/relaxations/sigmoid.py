"""kappa(a) = 1 / (1 + e^-a): closest to the indicator, but not convex and flat far from the boundary."""

from __future__ import annotations

from torch import Tensor


def kappa(a: Tensor) -> Tensor:
    """1 / (1 + e^-a); same shape."""
    return a.sigmoid()
