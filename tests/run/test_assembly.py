"""What a run is put together from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fairprune_cli.models.read_out import OutputTable, ReadOut, Scores, attach
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.masks import WeightMasks
from fairprune_cli.run.assembly import Assembly, constrained_notion
from fairprune_cli.run.options import Settings


@pytest.mark.parametrize("count", [1, 2])
def test_levelling_is_a_share_of_what_each_task_has_of_the_loss(count: int) -> None:
    """CE is the mean of the tasks': an image of the better group is never pulled harder away than CE pulls it."""
    settings, method = Settings(levelling=1.0), methods.get("bifp")
    tasks = [SimpleNamespace(name=str(t), classes=("x", "y")) for t in range(count)]
    dense = nn.Linear(2, 2 * count)
    columns = [(2 * t, 2 * t + 1) for t in range(count)]
    attach(dense, ReadOut((OutputTable(None, 2 * count),), tuple(Scores(0, own) for own in columns)))
    data = SimpleNamespace(
        groupings=[SimpleNamespace(name="age", groups=("a", "b"))], manifest=SimpleNamespace(tasks=tasks)
    )
    run = Assembly(
        settings, method, tuple(constrained_notion(settings, method, 2) for _ in tasks), dense, dense,
        WeightMasks(dense), data, torch.device("cpu"),  # type: ignore[arg-type]
    )  # fmt: skip
    constraint, _ = run._constraint(SimpleNamespace(lower=[0], upper=[0]))  # type: ignore[arg-type]
    for mu in constraint.multipliers:
        mu[0, 0, 1] = 3.0  # the second group is behind
    labels, groups = np.zeros((10, count), np.int64), np.array([[0], [1]] * 5)
    term = constraint.term(labels[:, 0] if count == 1 else labels, groups)
    own_pull = 1.0 / (10 * count)  # of CE, on the score of an image that is told to be wrong
    assert term[0, 0] / count == pytest.approx([own_pull, 0.0] * count)  # the Lagrangian has the mean of the tasks'
