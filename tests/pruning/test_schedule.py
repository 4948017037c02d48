"""Sparsity ramp, learning rate, and the division of passes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.pruning.schedule import FORWARD_ONLY, Budget, Plan, cosine_lr, cubic_sparsity


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


def test_rounds_remove_the_same_share_of_what_is_left() -> None:
    plan = Plan(ramp=(0.0, 0.5), rounds=3)
    assert plan.round_steps(100) == [0, 25, 50]
    left = [1 - plan.sparsity(step, 100, 0.875) for step in (0, 25, 50)]
    assert left == pytest.approx([0.5, 0.25, 0.125])
    assert plan.sparsity(24, 100, 0.875) == pytest.approx(0.5)
    assert Plan(ramp=(0.0, 0.0), rounds=1).round_steps(100) == [0]


def test_stages_have_a_learning_rate_of_their_own() -> None:
    plan = Plan(restarts=(0.5,))
    assert [plan.lr(step, 100, 0.1) for step in (0, 25, 50, 75)] == pytest.approx([0.1, 0.05, 0.1, 0.05])
    rewound = Plan(ramp=(0.0, 0.5), rounds=2, rewind=True)
    assert [rewound.lr(step, 100, 0.1) for step in (0, 25, 50)] == pytest.approx([0.1, 0.05, 0.1])


def test_budget_without_upper_steps_is_all_lower_steps() -> None:
    assert Budget(300, Plan()).lower_steps == 300


def test_budget_by_hand() -> None:
    """100 steps: 8 upper steps with gradient in the ramp of 40, 12 forward ones after it."""
    budget = Budget(112, Plan(ramp=(0.0, 0.4)), 5, gradient=True, feeds=True)
    assert budget.cost(100) == pytest.approx(100 + 8 + 12 * FORWARD_ONLY)
    assert budget.lower_steps == 100
    # Two stages: the constraint of the first half is fed by forward passes, and the ramp of the second needs none.
    staged = Budget(104, Plan(ramp=(0.5, 0.7), fair=(0.0, 0.5)), 5, feeds=True)
    assert staged.cost(100) == pytest.approx(100 + 10 * FORWARD_ONLY)


shares = st.floats(0, 1)


@given(
    st.integers(1, 2000), st.integers(1, 20), st.tuples(shares, shares), st.tuples(shares, shares), st.integers(0, 4),
    st.booleans(), st.booleans(), st.floats(0, 10),
)  # fmt: skip
def test_budget_is_spent_but_not_overspent(
    passes: int, every: int, ramp: tuple[float, float], fair: tuple[float, float], rounds: int, gradient: bool,
    feeds: bool, extra: float,
) -> None:  # fmt: skip
    plan = Plan(ramp=(min(ramp), max(ramp)), rounds=rounds, fair=(min(fair), max(fair)))
    budget = Budget(passes, plan, every, gradient, feeds, extra)
    steps = budget.lower_steps
    assert steps >= 1
    assert steps == 1 or budget.cost(steps) <= passes + 1e-9
    assert budget.cost(steps + 5) > passes - 1e-9
    # What the loop does step by step is what the closed form counts.
    kinds = [budget.upper_kind(step, steps) for step in range(1, steps + 1)]
    walked = extra + steps + kinds.count("gradient") + kinds.count("forward") * FORWARD_ONLY
    assert budget.cost(steps) == pytest.approx(walked)


@given(
    st.floats(1, 400), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(1, 12),
    st.booleans(), st.booleans(), st.floats(0, 20), st.integers(0, 2),
)  # fmt: skip
def test_lower_steps_are_those_that_counting_down_finds(
    passes: float, a: float, b: float, c: float, d: float, every: int, gradient: bool, feeds: bool, extra: float,
    rounds: int,
) -> None:  # fmt: skip
    plan = Plan(ramp=(min(a, b), max(a, b)), fair=(min(c, d), max(c, d)), rounds=rounds)
    budget = Budget(passes, plan, every, gradient, feeds, extra)
    steps = max(int(passes - extra), 1)
    while steps > 1 and budget.cost(steps) > passes + 1e-9:
        steps -= 1
    assert budget.lower_steps == steps


def test_a_long_budget_is_divided_without_trying_every_step() -> None:
    budget = Budget(10**12, Plan(), 5, gradient=True, feeds=True)
    steps = budget.lower_steps
    assert budget.cost(steps) <= 10**12 < budget.cost(steps + 2)


def test_what_the_dense_model_looks_at_in_every_lower_step_is_paid_for() -> None:
    budget = Budget(120, Plan(), lower=1.0 + FORWARD_ONLY)
    assert budget.lower_steps == 90
    assert budget.cost(90) == pytest.approx(120)
