"""Sparsity ramp, learning rate, and the division of passes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.schedule import FORWARD_ONLY, Budget, cosine_lr, cubic_sparsity


def test_cubic_ramp_by_hand() -> None:
    assert cubic_sparsity(0, 10, 0.8) == 0.0
    assert cubic_sparsity(5, 10, 0.8) == pytest.approx(0.8 * (1 - 0.125))
    assert cubic_sparsity(10, 10, 0.8) == 0.8
    assert cubic_sparsity(0, 0, 0.8) == 0.8  # one shot


@given(st.integers(1, 200), st.floats(0, 0.999))
def test_sparsity_never_falls(ramp: int, target: float) -> None:
    values = [cubic_sparsity(step, ramp, target) for step in range(ramp + 5)]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(values))
    assert values[-1] == target


def test_cosine_by_hand() -> None:
    assert cosine_lr(0, 100, 0.1) == pytest.approx(0.1)
    assert cosine_lr(50, 100, 0.1) == pytest.approx(0.05)
    assert cosine_lr(0, 100, 0.1, warmup=10) == pytest.approx(0.01)
    assert cosine_lr(100, 100, 0.1, warmup=10) == pytest.approx(0.0, abs=1e-12)


def test_budget_without_upper_steps_is_all_lower_steps() -> None:
    assert Budget(passes=300, upper_every=0, ramp_share=0.4).lower_steps == 300


def test_budget_by_hand() -> None:
    """100 steps: 8 upper steps with gradient in the ramp of 40, 12 forward ones after it, 4 passes in all."""
    budget = Budget(passes=112, upper_every=5, ramp_share=0.4)
    assert budget.cost(100) == pytest.approx(100 + 8 + 12 * FORWARD_ONLY)
    assert budget.lower_steps == 100
    assert budget.ramp_steps == 40


@given(
    st.integers(1, 2000), st.integers(1, 20), st.floats(0, 1), st.booleans(), st.booleans(), st.floats(0, 10),
)  # fmt: skip
def test_budget_is_spent_but_not_overspent(
    passes: int, every: int, ramp: float, backward: bool, after: bool, extra: float
) -> None:
    budget = Budget(passes, every, ramp, backward, after, extra)
    steps = budget.lower_steps
    assert steps >= 1
    assert steps == 1 or budget.cost(steps) <= passes + 1e-9
    assert budget.cost(steps + 3) > passes - 1e-9
