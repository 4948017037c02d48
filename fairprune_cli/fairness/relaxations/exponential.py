"""kappa(a) = e^a: outliers dominate; the exponent is capped at 20 so that the loss stays finite."""

from __future__ import annotations

from torch import Tensor

ALSO = ("exp",)


def kappa(a: Tensor) -> Tensor:
    """e^min(a, 20); same shape."""
    return a.clamp_max(20.0).exp()
