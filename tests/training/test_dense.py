"""Dense training keeps the epoch that is best on val, over all that it is trained for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from fairprune_cli.models.read_out import OutputTable, ReadOut, Scores, attach
from fairprune_cli.training.dense import pool_accuracy, train_dense
from fairprune_cli.training.options import DenseOptions
from tests.support.batches import made_up
from tests.support.dispatch import NarrowStrides
from tests.support.networks import shortcut

CPU = torch.device("cpu")


def test_of_several_tasks_the_epoch_of_the_best_mean_is_kept() -> None:
    one = made_up(80)
    # The first task is learnt at once and ties from then on, the second is noise: its best epoch is any.
    first, second = np.zeros(80, dtype=np.int64), np.random.default_rng(0).integers(0, 2, 80)
    tasks = SimpleNamespace(tasks=[SimpleNamespace(labels=first), SimpleNamespace(labels=second)])
    images = replace(one.images, labels=np.stack([first, second], 1), manifest=tasks)  # type: ignore[arg-type]
    train, val = images.pool(np.arange(50)), images.pool(np.arange(50, 80))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    attach(model, ReadOut((OutputTable(None, 4),), (Scores(0, (0, 1)), Scores(0, (2, 3)))))
    options = DenseOptions(epochs=12, batch_size=25, lr=0.2, seed=0, augment=True)
    records = train_dense(model, train, val, options, CPU)
    reached = [record.val_accuracy for record in records]
    assert max(reached) > reached[-1]
    assert pool_accuracy(model, val, CPU) == max(reached)
    assert all(0.5 <= record.train_accuracy < 1.0 for record in records)


def test_no_narrow_convolution_has_strides() -> None:
    images = made_up(8).images
    options = DenseOptions(epochs=1, batch_size=4, lr=0.1, seed=0, augment=False)
    with NarrowStrides() as met:
        train_dense(shortcut(), images.pool(np.arange(4)), images.pool(np.arange(4, 8)), options, CPU)
    assert (met.narrow, met.seen) == ([], 1)
