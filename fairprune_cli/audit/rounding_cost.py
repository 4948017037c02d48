"""What storing the weights in a shorter number format costs each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fairprune_cli.audit.counts import NamedGroups, audit_models
from fairprune_cli.audit.figures import Judgement, StorageCost
from fairprune_cli.audit.logits import ImagePool, Seen


def storage_cost(
    before: nn.Module, stored: nn.Module, number_format: str, pool: ImagePool, groupings: Sequence[NamedGroups],
    classes: Sequence[str], device: torch.device, judgement: Judgement,
) -> StorageCost:  # fmt: skip
    """Accuracy before and after rounding on the audited images, and the change per group.

    Args:
        before: the pruned model in float32; stored: as it was read back from the file.
    """
    changed = 0

    def compare(_: Seen, logits: Mapping[str, Tensor]) -> None:
        nonlocal changed
        changed += int((logits["dense"].argmax(1) != logits["pruned"].argmax(1)).sum())

    result = audit_models({"dense": before, "pruned": stored}, pool, groupings, classes, device, watch=compare)
    found = result.figures(judgement).models
    return StorageCost(number_format, found["dense"], found["pruned"], changed / len(pool))
