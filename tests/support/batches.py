"""Pools without files, and what two batches have in common."""

from __future__ import annotations

import numpy as np
import torch

from fairprune_cli.data.batches.batch import Batch
from fairprune_cli.data.batches.pool import ImageSet, Pool
from fairprune_cli.data.manifest.load import Transform


def made_up(count: int = 20, side: int = 8, resident: bool = False) -> Pool:
    """Random pixels in two classes and three groups, some in none; every call gives the same.

    Args:
        resident: whether all pixels lie on the device, as on a GPU with room for them.
    """
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    groups = rng.integers(-1, 3, (count, 2))
    transform = Transform(side, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    images = ImageSet(pixels, np.arange(count) % 2, groups, (), None, transform)  # type: ignore[arg-type]
    if resident:
        there = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
        images._resident[torch.device("cpu")] = there
    return images.pool(rng.permutation(count))


def same(one: Batch, other: Batch) -> bool:
    """Whether all that the device and the host know of two batches is equal, to the bit."""
    assert one.known is not None
    assert other.known is not None
    assert (one.weights is None) == (other.weights is None)
    pairs = [*zip(one[:4], other[:4], strict=True)]
    if one.weights is not None and other.weights is not None:
        pairs.append((one.weights, other.weights))
    known = zip(one.known, other.known, strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and all(np.array_equal(a, b) for a, b in known)  # type: ignore[arg-type]
