"""Batch norms are estimated anew on the mixture that the weights were trained on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import ImageSet, Pool
from fairprune_cli.data.batches.sampler import EndlessBatches
from fairprune_cli.data.batches.stratified import Strata, StratifiedSampler
from fairprune_cli.data.manifest.load import Transform
from fairprune_cli.run.save import reestimate


def pool() -> Pool:
    """75 dark images of one group and 25 bright ones of another."""
    groups = np.repeat([0, 1], [75, 25])
    pixels = np.broadcast_to((groups * 255)[:, None, None, None], (100, 3, 2, 2)).astype(np.uint8)
    transform = Transform(2, (0.0,) * 3, (1.0,) * 3)
    images = ImageSet(pixels, np.zeros(100, np.int64), groups[:, None], (), None, transform)  # type: ignore[arg-type]
    return images.pool(np.arange(100))


def mean_after(drawn: EndlessBatches) -> float:
    norm = nn.BatchNorm2d(3)
    run = SimpleNamespace(
        settings=SimpleNamespace(sparsity=0.5, batch_size=20, seed=0), terminal=Terminal(quiet=True),
        student=nn.Sequential(norm), device=torch.device("cpu"), channels_last=False,
    )  # fmt: skip
    reestimate(run, pool(), drawn)  # type: ignore[arg-type]
    return float(norm.running_mean[0])  # type: ignore[index]


def test_it_sees_as_many_of_each_group_as_training_did_in_the_end() -> None:
    pull = np.array([1.0, 1.0])
    sampler = StratifiedSampler(pool(), 20, "cpu", 0, True, lambda _: pull)
    plain = mean_after(pool().sampler(20, "cpu", 0, True))
    assert mean_after(sampler) == plain == pytest.approx(0.25, abs=0.05)  # the data's own shares: the same batches
    pull[1] = 3.0  # 75 parts to 75
    assert mean_after(sampler) == pytest.approx(0.5, abs=1e-6)
    assert mean_after(StratifiedSampler(pool(), 20, "cpu", 0, True, Strata.even)) == pytest.approx(0.5, abs=1e-6)
