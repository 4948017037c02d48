"""Looks on at an audit of models, and remembers the images whose prediction changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fairprune_cli.audit.changed_images import ChangedImages
from fairprune_cli.models.read_out import without_shift

if TYPE_CHECKING:
    from torch import Tensor

    from fairprune_cli.audit.logits import Seen


class ChangesWatch(ChangedImages):
    """For `audit_models(..., watch=...)`.

    `shift` is what the logits of the second of two classes lack, for a threshold other than one half.
    """

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift

    def __call__(self, batch: Seen, logits: Mapping[str, Tensor]) -> None:
        """`batch` has `rows`, or nothing is remembered; `logits` [B, K] by model."""
        dense = logits.get("dense")
        if batch.rows is None or dense is None:
            return
        classes = dense.argmax(1)
        for name, other in logits.items():
            if name == "dense":
                continue
            now = other.argmax(1)
            changed = (now != classes).nonzero().squeeze(1)
            of = classes[changed]
            before, after = (
                without_shift(scores[changed], self.shift).softmax(1).gather(1, of[:, None]).squeeze(1).numpy()
                for scores in (dense, other)
            )
            rows, labels = batch.rows[changed].numpy(), batch.labels[changed].numpy()
            self.add(name, rows, labels, of.numpy(), now[changed].numpy(), before, after)
