"""Looks on at an audit of models, and remembers the images whose prediction changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from fairprune_cli.audit.changed_images import ChangedImages
from fairprune_cli.audit.points_in_use import PointsInUse, predictions
from fairprune_cli.models.read_out import without_shift

if TYPE_CHECKING:
    from torch import Tensor

    from fairprune_cli.audit.logits import Seen


class ChangesWatch(ChangedImages):
    """For `audit_models(..., watch=...)`.

    Args:
        shift: what the logits of the second of two classes lack, for a threshold other than one half.
        points: thresholds of groups by which models other than the dense one predict.
    """

    def __init__(self, shift: float = 0.0, points: Mapping[str, PointsInUse] | None = None) -> None:
        super().__init__()
        self.shift, self.points = shift, points or {}

    def __call__(self, batch: Seen, logits: Mapping[str, Tensor]) -> None:
        """`batch` has `rows`, or nothing is remembered; `logits` [B, K] by model."""
        dense = logits.get("dense")
        if batch.rows is None or dense is None:
            return
        classes = dense.argmax(1)
        for name, other in logits.items():
            if name == "dense":
                continue
            now = torch.from_numpy(predictions(other, batch, self.points.get(name)))
            changed = (now != classes).nonzero().squeeze(1)
            of = classes[changed]
            before, after = (
                without_shift(scores[changed], self.shift).softmax(1).gather(1, of[:, None]).squeeze(1).numpy()
                for scores in (dense, other)
            )
            rows, labels = batch.rows[changed].numpy(), batch.labels[changed].numpy()
            self.add(name, rows, labels, of.numpy(), now[changed].numpy(), before, after)
