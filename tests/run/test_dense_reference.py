"""The dense model's rates are counted under the conditions of the pruned one's, and images are images."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.stratified import Strata, StratifiedSampler
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.run.dense_reference import dense_counts, images_in
from tests.support.batches import made_up

SIZES = [3, 3]  # groups of the two attributes


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2, bias=False)
    )


def drawn(pool: Pool) -> StratifiedSampler:
    return StratifiedSampler(pool, 16, "cpu", 4, True, Strata.even)


@pytest.mark.parametrize("evaluated", [True, False])
def test_a_model_that_lost_nothing_shows_no_degradation(evaluated: bool) -> None:
    pool, dense, rows = made_up(80), network(), GroupRows(SIZES, 2)
    before = copy.deepcopy(dense.state_dict())
    counts, batches = dense_counts(dense, [drawn(pool)], [rows], evaluated)
    assert batches == math.ceil(80 / 16)
    assert all(torch.equal(before[name], value) for name, value in dense.state_dict().items())
    held = Constraint(
        fairness.get("degradation", 2), SIZES, relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0,
        memory=1e12, dense=counts[0], data=images_in([pool], rows, 0),
    )  # fmt: skip
    student, batch_source = copy.deepcopy(dense), drawn(pool)
    student.train(not evaluated)
    with torch.no_grad():
        for _ in range(batches):
            batch = batch_source.next()
            held.observe(student(batch.images), batch.labels, batch.groups, batch.weights)
    assert [violation.exact for violation in held.violations()] == pytest.approx([0.0, 0.0], abs=1e-9)
    held.update()
    assert max(mu.max() for mu in held.multipliers) < 1e-12
    other, _ = dense_counts(dense, [drawn(pool)], [rows], not evaluated)
    assert not np.array_equal(counts[0][0], other[0][0])  # the mode makes a difference, or this says nothing


def test_images_are_counted_once_in_all_pools() -> None:
    pool, rows = made_up(40), GroupRows(SIZES, 2)
    found = images_in([pool, pool], rows, 0)
    for a, table in enumerate(found):
        for group in range(3):
            for label in range(2):
                there = (pool.groups[:, a] == group) & (pool.labels == label)
                assert table[group, label] == 2 * there.sum()
