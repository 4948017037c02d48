"""Constraints on several tasks at once, against the constraints one by one and a loop over images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.fairness.joint import JointConstraint

COLUMNS = (slice(0, 2), slice(2, 5))
WIDTH = 7  # two more outputs that no task uses


def parts(notion: str = "accuracy") -> list[Constraint]:
    return [
        Constraint(
            fairness.get(notion, classes), [2, 3], relaxations.get("sigmoid"), tolerance=0.01, rate=0.5, cap=3.0,
            memory=1e9, least=1.0,
        ) for classes in (2, 3)
    ]  # fmt: skip


def batch(seed: int = 0, n: int = 60) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.stack([rng.integers(0, 2, n), rng.integers(-1, 3, n)], 1)
    labels = np.stack([rng.integers(0, 2, n), rng.integers(0, 3, n)], 1)
    logits = rng.normal(size=(n, WIDTH))
    for t, columns in enumerate(COLUMNS):  # right for the first group, at random for the second
        logits[np.arange(n), columns.start + labels[:, t]] += 3.0 * (groups[:, 0] == 0)
    return torch.tensor(logits, dtype=torch.float32), labels, groups


def moved(notion: str = "accuracy") -> tuple[JointConstraint, list[Constraint]]:
    joint, alone = JointConstraint(parts(notion), COLUMNS, WIDTH), parts(notion)
    for seed in range(3):
        logits, labels, groups = batch(seed)
        joint.observe(logits, labels, groups)
        joint.settle()
        joint.update()
        for t, one in enumerate(alone):
            one.observe(logits[:, COLUMNS[t]], labels[:, t], groups)
            one.settle()
            one.update()
    return joint, alone


@pytest.mark.parametrize("notion", ["accuracy", "parity", "odds"])
def test_each_task_has_the_multipliers_it_would_have_alone(notion: str) -> None:
    joint, alone = moved(notion)
    assert joint.active
    expected = [mu for one in alone for mu in one.multipliers]
    assert all(np.array_equal(a, b) for a, b in zip(joint.multipliers, expected, strict=True))
    assert joint.violations() == [v for one in alone for v in one.violations()]
    assert joint.weight == pytest.approx(sum(float(mu.sum()) for mu in expected) / 2)


@pytest.mark.parametrize(("notion", "sides"), [("accuracy", 1), ("odds", 2)])  # of odds only the second has alarms
def test_the_term_is_the_mean_of_the_tasks_and_leaves_other_outputs_alone(notion: str, sides: int) -> None:
    joint, alone = moved(notion)
    logits, labels, groups = batch(9)
    term = joint.term(labels, groups)
    assert term.shape == (sides, len(labels), WIDTH)
    given = logits.clone().requires_grad_()
    value = joint.soften(given, torch.from_numpy(term))
    value.backward()
    apart = logits.clone().requires_grad_()
    total = sum(one.penalty(apart[:, COLUMNS[t]], labels[:, t], groups) for t, one in enumerate(alone)) / 2
    total.backward()
    assert value.item() == pytest.approx(total.item(), rel=1e-5)
    assert torch.allclose(given.grad, apart.grad, atol=1e-7)
    assert not given.grad[:, 5:].any()
    assert given.grad[:, :5].abs().sum() > 0


def test_pull_is_the_mean_of_what_each_task_pulls() -> None:
    joint, alone = moved()
    labels, groups = np.array([[0, 2], [1, 0]]), np.array([[1, 0], [0, -1]])
    sizes = np.array([30, 70])
    own = [one.pull(labels[:, t], groups, sizes) for t, one in enumerate(alone)]
    assert joint.pull(labels, groups, sizes) == pytest.approx((own[0] + own[1]) / 2)
    by_first = joint.pull(labels[:, 0], groups, sizes)  # strata by the first task's labels
    assert by_first == pytest.approx((own[0] + 1.0) / 2)


@pytest.mark.parametrize("levelling", [0.0, 0.5])
def test_a_task_that_is_given_three_times_pulls_as_if_it_were_given_once(levelling: float) -> None:
    def one() -> Constraint:
        return Constraint(
            fairness.get("accuracy", 2), [2, 3], relaxations.get("sigmoid"), tolerance=0.01, rate=0.5, cap=3.0,
            memory=1e9, least=1.0, levelling=levelling,
        )  # fmt: skip

    alone, thrice = one(), JointConstraint([one() for _ in range(3)], [slice(2 * t, 2 * t + 2) for t in range(3)], 6)
    logits, labels, groups = batch()
    scores, own = logits[:, :2], labels[:, 0]
    repeated, same = scores.repeat(1, 3), np.stack([own] * 3, 1)
    for constraint, given, wanted in ((alone, scores, own), (thrice, repeated, same)):
        constraint.observe(given, wanted, groups)
        constraint.settle()
        constraint.update()
    assert thrice.active
    assert thrice.weight == pytest.approx(alone.weight)
    leaf = scores.clone().requires_grad_()
    alone.penalty(leaf, own, groups).backward()
    leaves = repeated.clone().requires_grad_()
    thrice.soften(leaves, torch.from_numpy(thrice.term(same, groups))).backward()
    # What reaches the shared part of a network is the sum over the copies.
    assert torch.allclose(leaves.grad.reshape(-1, 3, 2).sum(1), leaf.grad, atol=1e-7)
    strata = np.array([0, 1]), np.array([[1, 0], [0, -1]]), np.array([30, 70])
    assert thrice.pull(np.stack([strata[0]] * 3, 1), *strata[1:]) == pytest.approx(alone.pull(*strata))


def test_a_state_goes_on_as_it_was_left() -> None:
    joint, _ = moved()
    other = JointConstraint(parts(), COLUMNS, WIDTH)
    other.load_state_dict(joint.state_dict())
    for one in (joint, other):
        one.observe(*batch(5))
        one.settle()
        one.update()
    assert all(np.array_equal(a, b) for a, b in zip(joint.multipliers, other.multipliers, strict=True))
    assert [a.tolist() for a in joint.group_accuracy()] == [a.tolist() for a in other.group_accuracy()]
    joint.forget()
    assert all(np.isnan(a).all() for a in joint.group_accuracy())


def test_each_task_is_shifted_by_its_own_shares_in_the_joint_mixture() -> None:
    joint, _ = moved()
    labels = np.array([[0, 0], [0, 1], [1, 2], [1, 0]])
    groups, sizes = np.array([[0, 0], [1, 1], [0, 2], [1, -1]]), np.array([30.0, 5.0, 10.0, 15.0])
    pull = joint.pull(labels, groups, sizes)
    expected = np.zeros(WIDTH)
    for t, (columns, classes) in enumerate(zip(COLUMNS, (2, 3), strict=True)):
        for k in range(classes):
            own = labels[:, t] == k
            share = (sizes * pull)[own].sum() / (sizes * pull).sum()
            expected[columns.start + k] = np.log(share / (sizes[own].sum() / sizes.sum()))
    assert joint.shift(labels, groups, sizes) == pytest.approx(expected, rel=1e-5)
    assert np.abs(expected[:5]).min() > 0
    first = joint.shift(labels[:, 0], groups, sizes)  # strata of the first task alone
    assert first[:2].any()
    assert not first[2:].any()
