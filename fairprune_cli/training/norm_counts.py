"""The counters of batch norms, moved together: one for each norm is a launch for each, and nobody reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class NormCounts:
    """`num_batches_tracked` of a model's batch norms; of those alone whose running average does not depend on it.

    Args:
        together: otherwise each norm counts for itself.
    """

    def __init__(self, model: nn.Module, together: bool = True) -> None:
        self._norms = [
            m for m in model.modules()
            if type(m) in _KINDS and m.momentum is not None and m.num_batches_tracked is not None and together
        ]  # fmt: skip

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that is one forward pass of the model."""
        counts: list[tuple[nn.Module, Tensor]] = []
        for norm in self._norms:
            count = norm._buffers["num_batches_tracked"]
            if norm.training and count is not None:
                counts.append((norm, count))
                norm._buffers["num_batches_tracked"] = None
        try:
            yield
        finally:
            for norm, count in counts:
                norm._buffers["num_batches_tracked"] = count
        if counts:
            torch._foreach_add_([count for _, count in counts], 1)
