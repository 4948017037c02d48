"""How far other outputs moved, against numpy's own figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.audit.other_outputs import other_outputs
from fairprune_cli.models.read_out import OutputTable, ReadOut, Scores, attach


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor
    groups: Tensor


class Pool:
    """Images are a table of outputs already."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int, device: object) -> Iterator[Batch]:
        for part in self.images.split(size):
            yield Batch(part, torch.zeros(len(part), dtype=torch.long), torch.zeros(len(part), 0, dtype=torch.long))


class Half(nn.Module):
    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def forward(self, images: Tensor) -> Tensor:
        return images[:, self.first : self.first + 4]


def test_figures_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(70, 4)) * [1, 1, 5, 1] + [0, 0, 1000, 0]
    other = dense * 0.5 + rng.normal(size=(70, 4))
    dense[:, 3] = other[:, 3] = 2.0  # says the same of all
    models = Half(0), Half(4)
    for model in models:
        attach(model, ReadOut((OutputTable(None, 4),), (Scores(0, (1,)),), ((0, (0, 2, 3)),)))
    images = torch.tensor(np.concatenate([dense, other], 1), dtype=torch.float64)
    found = other_outputs(*models, Pool(images), torch.device("cpu"), batch_size=16)
    assert [move.name for move in found] == ["0", "2", "3"]
    for move, column in zip(found[:2], (0, 2), strict=True):
        a, b = dense[:, column], other[:, column]
        assert move.correlation == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
        assert move.change == pytest.approx(np.sqrt(np.mean((a - b) ** 2)) / a.std(), rel=1e-9)
        assert move.sign_changes == pytest.approx(np.mean((a > 0) != (b > 0)))
    assert (found[2].correlation, found[2].change, found[2].sign_changes) == (None, None, 0.0)


def test_without_other_outputs_nothing_is_looked_at() -> None:
    model = Half(0)
    assert other_outputs(model, model, Pool(torch.zeros(3, 8)), torch.device("cpu")) == []
