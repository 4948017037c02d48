"""What storing the weights in a shorter number format costs each group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fairprune_cli.audit.churn import changed_predictions
from fairprune_cli.audit.counts import NamedGroups, audit_models
from fairprune_cli.audit.figures import Judgement, StorageCost
from fairprune_cli.audit.logits import ImagePool


def storage_cost(
    before: nn.Module, stored: nn.Module, number_format: str, pool: ImagePool, groupings: Sequence[NamedGroups],
    classes: Sequence[str], device: torch.device, judgement: Judgement,
) -> StorageCost:  # fmt: skip
    """Accuracy before and after rounding on the audited images, and the change per group.

    Args:
        before: the pruned model in float32; stored: as it was read back from the file.
    """
    result = audit_models({"dense": before, "pruned": stored}, pool, groupings, classes, device)
    found = result.figures(judgement).models
    changed = int(changed_predictions(result.moves["pruned"][""])[0])
    return StorageCost(number_format, found["dense"], found["pruned"], changed / found["pruned"].n)
