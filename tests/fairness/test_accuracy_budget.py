"""The accuracy's own multiplier, by hand, and what it does to the Lagrangian."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.accuracy_budget import AccuracyBudget, AccuracyRecord, AccuracyWatch
from fairprune_cli.fairness.constraint import Constraint


def constrained(accuracy: AccuracyWatch | None) -> Constraint:
    return Constraint(
        fairness.get("accuracy", 2), [2], relaxations.get("logistic"), tolerance=0.0, rate=1.0, cap=9.0, memory=50.0,
        least=1.0, accuracy=accuracy,
    )  # fmt: skip


LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
LABELS, GROUPS = np.array([0, 1, 0, 0]), np.array([[0], [0], [1], [1]])  # right: both, and one of two


def test_it_rises_where_more_is_lost_than_allowed_and_falls_inside() -> None:
    budget = AccuracyBudget([0.9, 0.9, 0.9, math.nan], 0.02, rate=0.5, cap=1.0)
    seen = []
    for accuracy in (0.86, 0.9, 0.7, 0.1, 0.1):  # beyond the end, and where nothing is known, it stays
        budget.update(accuracy)
        seen.append(budget.weight)
    assert seen == pytest.approx([0.5, 0.0, 1.0, 1.0, 1.0])
    assert budget.updates == 5


def test_nothing_counted_yet_moves_nothing() -> None:
    budget = AccuracyBudget([0.9], 0.01)
    budget.update(math.nan)
    assert (budget.weight, budget.updates) == (0.0, 1)
    with pytest.raises(ValueError, match="above 0"):
        AccuracyBudget([0.9], 0.0)


def test_its_multiplier_divides_all_others_wherever_they_count() -> None:
    budget = AccuracyBudget([1.0], 0.05, rate=0.1)
    held, free = constrained(budget), constrained(None)
    for constraint in (held, free):
        constraint.observe(LOGITS, LABELS, GROUPS)
        constraint.update()
    assert budget.weight == pytest.approx(0.1 * (1.0 - 0.05 - 0.75) / 0.05)  # 3 of 4 are right
    factor = 1.0 + budget.weight
    assert held.weight == pytest.approx(free.weight / factor)
    assert held.term(LABELS, GROUPS) == pytest.approx(free.term(LABELS, GROUPS) / factor)
    sizes, labels, groups = np.array([3.0, 1.0]), np.array([0, 0]), np.array([[0], [1]])
    parts = [constraint.part(labels, groups, sizes) - 1.0 for constraint in (held, free)]
    assert parts[0] == pytest.approx(parts[1] / factor)
    # (1 + lambda) loss + term over (1 + lambda + sum of mu) is the same Lagrangian.
    loss, logits = torch.tensor(0.7), LOGITS
    whole = (factor * loss + free.penalty(logits, LABELS, GROUPS)) / (factor + free.weight)
    assert (loss + held.penalty(logits, LABELS, GROUPS)) / (1.0 + held.weight) == pytest.approx(float(whole))


def test_it_goes_on_from_a_saved_state() -> None:
    first, second = AccuracyBudget([1.0] * 3, 0.05), AccuracyBudget([1.0] * 3, 0.05)
    one, other = constrained(first), constrained(second)
    one.observe(LOGITS, LABELS, GROUPS)
    one.update()
    other.load_state_dict(one.state_dict())
    assert (second.weight, second.updates) == (first.weight, first.updates) != (0.0, 0)


def test_a_record_keeps_what_was_seen_and_weighs_nothing() -> None:
    record = AccuracyRecord()
    recorded, free = constrained(record), constrained(None)
    for constraint in (recorded, free):
        constraint.update()
        constraint.observe(LOGITS, LABELS, GROUPS)
        constraint.update()
    assert np.array_equal(record.seen, [math.nan, 0.75], equal_nan=True)
    assert recorded.weight == free.weight > 0
