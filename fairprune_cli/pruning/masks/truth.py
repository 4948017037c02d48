"""Truth values counted and multiplied by.

On the CPU by numpy, whose loops over them are up to six times as fast as torch's and need no converted copy.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.transfer import on_host


def count(mask: Tensor) -> int:
    """True entries of a bool tensor of any shape."""
    if on_host(mask):
        return int(np.count_nonzero(mask.numpy()))
    return int(torch.count_nonzero(mask))


def clear(tensor: Tensor, keep: Tensor) -> None:
    """Zero in place what `keep` does not keep; what is not finite there becomes NaN.

    Args:
        tensor: on the host.
        keep: bool of the tensor's shape.
    """
    values = tensor.detach().numpy()
    with np.errstate(invalid="ignore"):
        np.multiply(values, keep.numpy(), out=values)
