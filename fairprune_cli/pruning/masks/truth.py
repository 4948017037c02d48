"""Truth values counted, found and multiplied by.

On the CPU by numpy, whose loops over them are up to six times as fast as torch's and need no converted copy.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def count(mask: Tensor) -> int:
    """True entries of a bool tensor of any shape."""
    if mask.device.type == "cpu":
        return int(np.count_nonzero(mask.numpy()))
    return int(torch.count_nonzero(mask))


def indices(mask: Tensor) -> Tensor:
    """Indices of the True entries of mask [n], ascending, int64 [count]."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return torch.nonzero(mask)[:, 0]


def clear(tensor: Tensor, keep: Tensor) -> None:
    """Zero in place what `keep`, bool of the tensor's shape, does not keep; what is not finite there becomes NaN."""
    if tensor.device.type == "cpu":
        values = tensor.detach().numpy()
        with np.errstate(invalid="ignore"):
            np.multiply(values, keep.numpy(), out=values)
    else:
        tensor.detach().mul_(keep)
