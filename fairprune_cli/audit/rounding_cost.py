"""What storing the weights in a shorter number format costs each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.audit.counts import ImagePool, LabelledBatch, NamedGroups, audit_models
from fairprune_cli.audit.options import FigureOptions


def cost(
    before: nn.Module, stored: nn.Module, pool: ImagePool, groupings: Sequence[NamedGroups], classes: Sequence[str],
    device: torch.device, store: str, options: FigureOptions,
) -> dict[str, Any]:  # fmt: skip
    """The report's `storage`: accuracy before and after rounding on the audited images, and the change per group.

    Args:
        store: the format they were rounded to.
        before: the pruned model in float32; stored: as it was read back from the file.
    """
    changed = 0

    def compare(batch: LabelledBatch, logits: Mapping[str, Tensor]) -> None:
        nonlocal changed
        changed += int((logits["dense"].argmax(1) != logits["pruned"].argmax(1)).sum())

    result = audit_models({"dense": before, "pruned": stored}, pool, groupings, classes, device, watch=compare)
    document = result.to_document(options.confidence, options.min_group, options.seed)
    whole = document["results"]
    return {
        "format": store,
        "accuracy_before": whole["dense"]["accuracy"], "accuracy": whole["pruned"]["accuracy"],
        "predictions_changed": changed / len(pool),
        "degradation": document["degradation"],
    }  # fmt: skip
