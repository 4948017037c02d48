"""Weights in a shorter number format: what is rounded, and what that costs each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.audit import ImagePool, NamedGroups, audit_models
from fairprune_cli.config import Settings
from fairprune_cli.errors import FairpruneError

FORMATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def rounded(state: Mapping[str, Tensor], store: str) -> dict[str, Tensor]:
    """The tensors as they go into a file.

    Only tensors of two or more dimensions change: what has one (biases, norms, running statistics) takes no space
    worth saving, and its rounding would touch a whole channel at once.

    Args:
        store: fp32 leaves everything as it is; fp16 rounds to 11 significant bits up to 65,504, bf16 to 8 bits.

    Raises:
        FairpruneError: a weight is too large for fp16.
    """
    if store == "fp32":
        return dict(state)
    found = {}
    for name, tensor in state.items():
        found[name] = tensor
        if tensor.is_floating_point() and tensor.ndim >= 2:
            found[name] = tensor.detach().to(FORMATS[store])
            if bool(tensor.isfinite().all()) and not bool(found[name].isfinite().all()):
                largest = float(tensor.abs().max())
                raise FairpruneError(
                    f"{name} holds {largest:.4g}, too large for fp16", where="--store", hint="use bf16"
                )
    return found


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
