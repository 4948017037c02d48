"""kappa(a) = log(1 + e^a): smooth; its delta is cross-entropy for two classes (the default)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

ALSO = ("softplus", "log", "cross-entropy", "bce")


def kappa(a: Tensor) -> Tensor:
    """log(1 + e^a), computed without overflow; same shape."""
    return F.softplus(a)
