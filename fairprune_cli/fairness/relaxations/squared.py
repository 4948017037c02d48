"""kappa(a) = (1 + a)^2: quadratic on both sides, so confident right answers are pulled back too."""

from __future__ import annotations

from torch import Tensor

ALSO = ("quadratic", "square", "mse", "l2")


def kappa(a: Tensor) -> Tensor:
    """(1 + a)^2; same shape."""
    return (1.0 + a).square()
