"""What the records of a run are held against."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.data.batches.pool import ImageSet
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models.read_out import OutputTable, ReadOut, Scores, attach
from fairprune_cli.pruning import methods
from fairprune_cli.run.options import Settings
from fairprune_cli.run.watch import limits_of


class Fixed(nn.Module):
    """Always predicts the first class of the one task and the second of the other."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.scores.expand(len(x), -1)


def test_of_several_tasks_the_mean_is_what_an_epochs_mean_is_held_against() -> None:
    first, second = np.array([0] * 9 + [1]), np.array([0] * 6 + [1] * 4)
    manifest = SimpleNamespace(tasks=[SimpleNamespace(labels=first), SimpleNamespace(labels=second)])
    images = ImageSet(
        np.zeros((10, 3, 8, 8), np.uint8), np.stack([first, second], 1), np.zeros((10, 1), np.int64), (), manifest,  # type: ignore[arg-type]
        Transform(8, (0.5,) * 3, (0.5,) * 3),
    )  # fmt: skip
    model = Fixed()
    attach(model, ReadOut((OutputTable(None, 4),), (Scores(0, (0, 1)), Scores(0, (2, 3)))))
    method, settings = methods.get("bifp"), Settings()
    limits = limits_of(settings, method, method.plan(settings), model, images.pool(np.arange(10)), torch.device("cpu"))
    assert limits.dense_accuracy == pytest.approx((0.9 + 0.4) / 2)
    assert limits.majority_share == pytest.approx((0.9 + 0.6) / 2)
