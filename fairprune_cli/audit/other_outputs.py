"""How far the outputs that no task uses moved from the dense model's: figures of a pass over the audited images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.audit.logits import ImagePool
from fairprune_cli.core.device import tf32
from fairprune_cli.models.inference import evaluating
from fairprune_cli.models.read_out import read_out_of


@dataclass(frozen=True)
class OutputMove:
    """One output of the dense model and of another, over the same images.

    Attributes:
        name: its position, or key and position where the network gives several tensors.
        correlation: Pearson's, -1..1; None where one of them says the same of all images.
        change: root mean square of the difference, relative to the dense output's standard deviation; from 0.
        sign_changes: share of the images on which its sign is another one, 0..1.
    """

    name: str
    correlation: float | None
    change: float | None
    sign_changes: float


@torch.inference_mode()
def other_outputs(
    dense: nn.Module, model: nn.Module, pool: ImagePool, device: torch.device, batch_size: int = 256,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[OutputMove]:  # fmt: skip
    """Compare the outputs that no task uses, in float32; both models have the same read-out.

    Args:
        pool: the images; they are looked at in batches of so many.
    """
    read_out = read_out_of(dense)
    if read_out is None or not read_out.others:
        return []
    sums = _Sums(len(read_out.names()))
    done = 0
    with tf32(device, False), evaluating(dense, model):
        for batch in pool.batches(batch_size, device):
            sums.add(dense(batch.images)[:, read_out.rest], model(batch.images)[:, read_out.rest])
            done += len(batch.labels)
            progress(done, len(pool))
    return sums.figures(read_out.names())


class _Sums:
    """Running sums by output, in float64, around the first batch's mean, as large means would drown small spreads."""

    def __init__(self, outputs: int) -> None:
        self.n = 0
        self.centre: Tensor | None = None
        self.sums = np.zeros((7, outputs))

    def add(self, before: Tensor, after: Tensor) -> None:
        """Take in a batch, [B, H] each."""
        before, after = before.double().cpu(), after.double().cpu()
        if self.centre is None:
            self.centre = before.mean(0)
        changed = ((before > 0) != (after > 0)).double()
        a, b = before - self.centre, after - self.centre
        self.n += len(a)
        columns = (a, b, a * a, b * b, a * b, (a - b) ** 2, changed)
        self.sums += torch.stack([column.sum(0) for column in columns]).numpy()

    def figures(self, names: Sequence[str]) -> list[OutputMove]:
        """What the sums say of each output."""
        means = self.sums / max(self.n, 1)
        found = []
        for name, (a, b, aa, bb, ab, moved, changed) in zip(names, means.T.tolist(), strict=True):
            spread, other = math.sqrt(max(aa - a * a, 0.0)), math.sqrt(max(bb - b * b, 0.0))
            product = spread * other
            correlation = max(-1.0, min(1.0, (ab - a * b) / product)) if product > 0 else None
            found.append(OutputMove(name, correlation, math.sqrt(moved) / spread if spread > 0 else None, changed))
        return found
