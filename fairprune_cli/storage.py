"""What storing the weights in a shorter number format costs each group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fairprune_cli.audit import ImagePool, NamedGroups, audit_models
from fairprune_cli.config import Settings


def cost(
    before: nn.Module, stored: nn.Module, pool: ImagePool, groupings: Sequence[NamedGroups], classes: Sequence[str],
    device: torch.device, settings: Settings,
) -> dict[str, Any]:  # fmt: skip
    """The report's `storage`: accuracy before and after rounding on the audited images, and the change per group.

    Args:
        before: the pruned model in float32; stored: as it was read back from the file.
    """
    result = audit_models({"dense": before, "pruned": stored}, pool, groupings, classes, device)
    document = result.to_document(settings.confidence, settings.min_group, settings.seed)
    whole = document["results"]
    return {
        "format": settings.store,
        "accuracy_before": whole["dense"]["accuracy"], "accuracy": whole["pruned"]["accuracy"],
        "predictions_changed": _changed(before, stored, pool, device),
        "degradation": document["degradation"],
    }  # fmt: skip


def _changed(before: nn.Module, stored: nn.Module, pool: ImagePool, device: torch.device) -> float:
    """Share of the images that are classified otherwise."""
    changed = seen = 0
    with torch.inference_mode():
        for batch in pool.batches(256, device):
            changed += int((before(batch.images).argmax(1) != stored(batch.images).argmax(1)).sum())
            seen += len(batch.labels)
    return changed / seen
