"""A batch: images as the model sees them, and what the host knows of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor


class Known(NamedTuple):
    """What the host knows of a batch without asking the device for it."""

    labels: np.ndarray  # int64 [B], or [B, T] of several tasks
    groups: np.ndarray  # int64 [B, A], -1 = in no group
    weights: np.ndarray | None = None  # float32 [B], what an image stands for; 1 each where None


class Batch(NamedTuple):
    """B images as the model sees them, of C channels, H pixels high and W wide."""

    images: Tensor  # float32 [B, C, H, W], normalised
    labels: Tensor  # int64 [B], or [B, T] of several tasks
    groups: Tensor  # int64 [B, A], -1 = in no group
    rows: Tensor  # int64 [B], position in the manifest
    weights: Tensor | None = None  # float32 [B], what an image stands for; 1 each where None
    known: Known | None = None  # the same on the host, where it came from there


def known_of(batch: Any) -> Known:
    """Labels, groups and weights of a batch on the host; asks the device where the batch does not have them there."""
    known: Known | None = getattr(batch, "known", None)
    if known is not None:
        return known
    weights: Tensor | None = getattr(batch, "weights", None)
    return Known(
        batch.labels.cpu().numpy(), batch.groups.cpu().numpy(), None if weights is None else weights.cpu().numpy()
    )
