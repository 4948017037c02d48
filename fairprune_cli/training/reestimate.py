"""Running statistics of batch norms, estimated anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fairprune_cli.models.frozen import is_frozen_norm


def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set running means and variances to the averages over `batches`, in place.

    After pruning the old statistics belong to another network: a model pruned to .9 with them may predict one class
    only. Leaves the model in eval mode. Norms that are frozen keep theirs.

    Args:
        batches: at least one [B, C, H, W]; taken one at a time, so that they need not fit in memory together.
    """
    norms = [
        m for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats and not is_frozen_norm(m)
    ]  # fmt: skip
    if not norms:
        model.eval()
        return
    momentum, calls = [norm.momentum for norm in norms], Counter[nn.Module]()

    def average(norm: nn.Module, _: object) -> None:
        # What a norm without momentum does, but that one reads its count from the device and waits for it.
        calls[norm] += 1
        norm.momentum = 1.0 / calls[norm]  # type: ignore[assignment]

    model.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
    hooks = [norm.register_forward_pre_hook(average) for norm in norms]
    with torch.inference_mode():
        for images in batches:
            model(images)
    for norm, hook, value in zip(norms, hooks, momentum, strict=True):
        hook.remove()
        norm.momentum = value
    model.eval()
