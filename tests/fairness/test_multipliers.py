"""Rates of several directions in one notion; the scheme as a whole is in test_constraint and test_multiplier_oracle."""

from __future__ import annotations

import numpy as np
import pytest

from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.multipliers import Multipliers
from fairprune_cli.fairness.notion import Notion


def dual_of(notion: Notion) -> Multipliers:
    return Multipliers(
        notion, GroupRows([3, 2], 2), rate=0.7, cap=0.2, tolerance=[0.01] * 2, decay=0.3, least=5.0, dense=None
    )


def test_each_rate_of_a_notion_moves_by_its_own_direction() -> None:
    parity, accuracy = fairness.get("parity", 2), fairness.get("accuracy", 2)
    both = Notion(
        "both", np.concatenate([parity.event, accuracy.event]),
        np.concatenate([parity.population, accuracy.population]), np.array([0, 1]),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    together, first, second = dual_of(both), dual_of(parity), dual_of(accuracy)
    for _ in range(4):
        counts = [rng.integers(1, 20, size=(groups, 2, 2)).astype(float) for groups in (3, 2)]
        for dual in (together, first, second):
            dual.ascend(counts)
    assert first.table.any()
    assert second.table.any()
    assert np.array_equal(together.table, np.concatenate([first.table, second.table], axis=1))


def test_pairs_by_hand_and_their_cap() -> None:
    dual = dual_of(fairness.get("parity", 2))
    counts = np.zeros((3, 2, 2))
    counts[:, 0] = [[5, 5], [8, 2], [2, 0]]  # predicted positive .5 and .2; the third group is too small
    dual.ascend([counts, np.zeros((2, 2, 2))])
    expected = np.zeros((1, 3, 3))
    expected[0, 0, 1] = 0.2  # 0.7 (.5 - .2 - .01) = .203, at the cap
    assert dual.pairs[0] == pytest.approx(expected)
    assert dual.of[0][:, 0] == pytest.approx(np.array([[0.0, 0.2, 0.0], [0.2, 0.0, 0.0]]))
    assert not dual.of[1].any()
