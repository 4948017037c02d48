"""Multipliers and the Lagrangian term: direction, dead zone, caps, a constrained optimum."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.optimize
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.core.transfer import as_accelerator
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.fairness.margins import class_margins
from fairprune_cli.fairness.options import BOUNDS


def make(notion: str = "accuracy", relaxation: str = "logistic", groups: int = 2, **changes: object) -> Constraint:
    options: dict[str, object] = {"tolerance": 0.02, "rate": 0.5, "cap": 3.0, "memory": 1e9, "least": 1.0}
    options.update(changes)
    return Constraint(fairness.get(notion, 2), [groups], relaxations.get(relaxation), **options)  # type: ignore[arg-type]


def batch(accuracy: tuple[float, ...], n: int = 100) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels, groups of n images per group with the given accuracies."""
    logits, labels, groups = [], [], []
    for g, share in enumerate(accuracy):
        for i in range(n):
            label = i % 2
            right = i < round(share * n)
            logits.append([1.0, 0.0] if (label == 0) == right else [0.0, 1.0])
            labels.append(label)
            groups.append([g])
    return torch.tensor(logits), torch.tensor(labels), torch.tensor(groups)


def test_exact_and_surrogate_gap_travel_together() -> None:
    constraint = make(relaxation="sigmoid")
    constraint.observe(*batch((0.9, 0.7)))
    (violation,) = constraint.violations()
    assert violation.exact == pytest.approx(0.2)
    soft = 1 / (1 + np.exp(-1.0))  # margins are +1 or -1
    assert violation.surrogate == pytest.approx(0.2 * (soft - (1 - soft)), abs=1e-6)


def test_only_the_group_behind_gets_a_multiplier() -> None:
    constraint = make()
    constraint.observe(*batch((0.9, 0.7)))
    constraint.update()
    low, high = constraint.multipliers[0]
    assert low[0] == pytest.approx([0.0, 0.5 * (0.2 - 0.02)])
    assert not high.any()


def test_dead_zone_lets_multipliers_fall_to_zero() -> None:
    constraint = make(memory=1.0)
    constraint.observe(*batch((0.9, 0.7)))
    constraint.update()
    assert constraint.active
    constraint.observe(*batch((0.9, 0.89)))
    for _ in range(200):
        constraint.update()
    assert not constraint.active
    logits, labels, groups = batch((0.9, 0.7))
    assert constraint.penalty(logits, labels, groups).item() == 0.0


def test_cap_holds() -> None:
    constraint = make(rate=100.0)
    constraint.observe(*batch((1.0, 0.0)))
    constraint.update()
    assert constraint.multipliers[0].max() == 3.0


def test_unseen_groups_are_left_alone() -> None:
    constraint = make(groups=3)
    constraint.observe(*batch((0.9, 0.7)))
    constraint.update()
    assert constraint.multipliers[0][0, 0, 2] == 0.0


def test_images_without_a_group_do_not_count() -> None:
    constraint = make()
    logits, labels, groups = batch((0.9, 0.7))
    constraint.observe(logits, labels, torch.full_like(groups, -1))
    assert np.isnan(constraint.violations()[0].exact)


@pytest.mark.parametrize("relaxation", relaxations.names())
@pytest.mark.parametrize("bound", BOUNDS)
def test_term_raises_the_group_behind(relaxation: str, bound: str) -> None:
    """Descending the term raises the margins of the disadvantaged group and lowers the other's.

    The paper's Eq. 8 as printed loses the sign of s: both groups' terms would have the same sign, which this
    test would not pass.
    """
    constraint = make(relaxation=relaxation, bound=bound, levelling=1.0)
    constraint.multipliers[0][0, 0] = [0.0, 1.0]  # group 1 is behind
    logits, labels, groups = batch((0.8, 0.6))
    logits = (0.3 * logits).requires_grad_()  # inside the sloped part of every surrogate
    constraint.penalty(logits, labels, groups).backward()
    assert logits.grad is not None
    gradient = logits.grad[torch.arange(len(labels)), labels]  # with respect to the true class's logit
    first, second = gradient[groups[:, 0] == 0].mean(), gradient[groups[:, 0] == 1].mean()
    assert second < 0 < first


def test_printed_equation_8_would_move_both_groups_the_same_way() -> None:
    """The oracle of the test above: with the sign of s lost, minimising moves both groups down alike."""
    kappa = relaxations.get("logistic").kappa
    logits, labels, groups = batch((0.8, 0.6))
    logits = (0.3 * logits).requires_grad_()
    margins = class_margins(logits)[torch.arange(len(labels)), labels]
    printed = sum(kappa(margins[groups[:, 0] == g]).mean() for g in (0, 1))
    assert isinstance(printed, torch.Tensor)
    printed.backward()
    assert logits.grad is not None
    gradient = logits.grad[torch.arange(len(labels)), labels]
    assert gradient[groups[:, 0] == 0].mean() > 0
    assert gradient[groups[:, 0] == 1].mean() > 0


@pytest.mark.parametrize("levelling", [0.0, 1.0])
def test_logistic_term_is_the_difference_of_cross_entropies(levelling: float) -> None:
    constraint = make(levelling=levelling)
    constraint.multipliers[0][0, 0] = [0.0, 0.7]
    logits, labels, groups = batch((0.8, 0.6))
    behind = groups[:, 0] == 1
    expected = 0.7 * (
        F.cross_entropy(logits[behind], labels[behind]) - min(levelling / 0.7, 1) * F.cross_entropy(logits, labels)
    )
    offset = 0.7 * (1 - min(levelling / 0.7, 1))  # delta is one minus the cross-entropy
    assert constraint.penalty(logits, labels, groups).item() == pytest.approx(expected.item() - offset, abs=1e-6)


def test_by_default_nobody_is_pulled_down() -> None:
    constraint = make()
    constraint.multipliers[0][0, 0] = [0.0, 3.0]
    logits, labels, groups = batch((0.8, 0.6))
    logits = logits.requires_grad_()
    constraint.penalty(logits, labels, groups).backward()
    assert logits.grad is not None
    assert logits.grad[groups[:, 0] == 0].abs().max() == 0.0


def test_loss_of_the_better_group_is_never_ascended() -> None:
    """Large multipliers must not train the others to be wrong: the pull on the whole stops at the loss's own."""
    constraint = make(levelling=1.0)
    constraint.multipliers[0][0, 0] = [0.0, 3.0]
    logits, labels, groups = batch((0.8, 0.6))
    logits = logits.requires_grad_()
    (F.cross_entropy(logits, labels) + constraint.penalty(logits, labels, groups)).backward()
    assert logits.grad is not None
    better = logits.grad[torch.arange(len(labels)), labels][groups[:, 0] == 0]
    assert (better <= 1e-7).all()


def test_upper_bound_is_above_and_lower_bound_below_the_exact_gap() -> None:
    rng = np.random.default_rng(0)
    for relaxation in ("hinge", "squared", "exponential"):
        logits = torch.tensor(rng.normal(size=(200, 2)))
        labels, groups = torch.tensor(rng.integers(2, size=200)), torch.tensor(rng.integers(2, size=(200, 1)))
        right = (logits.argmax(1) == labels).double()
        exact = right.mean() - right[groups[:, 0] == 1].mean()
        values = {}
        for bound in BOUNDS:
            constraint = make(relaxation=relaxation, bound=bound, levelling=1.0)
            constraint.multipliers[0][0, 0] = [0.0, 1.0]
            values[bound] = constraint.penalty(logits, labels, groups).item()
        assert values["lower"] <= exact.item() <= values["upper"]


def test_multipliers_reach_the_constrained_optimum() -> None:
    """Dual ascent on a convex problem with its own rates as exact and relaxed ones, against scipy.

    min over w of sum of (w_g - a_g)^2 with r_g = w_g and max r - r_g <= tau: the rates of a fake model, so that
    the multiplier update is tried alone.
    """
    target, tau = np.array([0.9, 0.5]), 0.1
    constraint = make(tolerance=tau, rate=0.02, cap=10.0)
    w = target.copy()
    constraint.tallies[0].seen[...] = 1000.0
    for _ in range(4000):
        low = constraint.multipliers[0][0, 0]
        # d/dw of |w - a|^2 + sum of mu_g (best - w_g), the best group being the first one
        gradient = 2 * (w - target) - low
        gradient[int(np.argmax(w))] += low.sum()
        w -= 0.05 * gradient
        constraint.tallies[0].counts = np.stack([np.array([[r, 1 - r], [0, 0]]) * 1000 for r in w])
        constraint.update()
    expected = scipy.optimize.minimize(
        lambda v: ((v - target) ** 2).sum(), target,
        constraints=[{"type": "ineq", "fun": lambda v: tau - (v[0] - v[1])}],
    )  # fmt: skip
    assert w == pytest.approx(expected.x, abs=1e-3)


def test_state_round_trip() -> None:
    constraint, other = make(), make()
    constraint.observe(*batch((0.9, 0.7)))
    constraint.update()
    other.load_state_dict(constraint.state_dict())
    assert np.array_equal(other.multipliers[0], constraint.multipliers[0])
    assert other.violations() == constraint.violations()


@pytest.mark.parametrize("decay", [0.0, 0.25, 1.0])
def test_multipliers_decay_inside_the_tolerance_only(decay: float) -> None:
    constraint = make(memory=1.0, rate=0.5, decay=decay)
    constraint.observe(*batch((0.9, 0.7)))
    constraint.update()
    outside = constraint.multipliers[0][0, 0, 1]
    assert outside == pytest.approx(0.5 * 0.18)
    constraint.observe(*batch((0.9, 0.89)))
    constraint.update()
    expected = max(0.0, (1 - decay) * outside + 0.5 * (0.01 - 0.02))
    assert constraint.multipliers[0][0, 0, 1] == pytest.approx(expected)


def test_excess_accuracy_gap_by_hand() -> None:
    """CEAG: psi_g = (dense_g - A_g) - (dense - A); here (.9 - .8) - (.875 - .8) = .025 and (.8 - .8) - .075 = -.075."""
    notion = dataclasses.replace(fairness.get("degradation", 2), against="whole")
    dense = np.zeros((2, 2, 2))
    dense[0, 0] = [270, 30]  # 300 images, .9 right
    dense[1, 0] = [80, 20]  # 100 images, .8 right
    made = Constraint(
        notion, [2], relaxations.get("logistic"), tolerance=0.01, rate=1.0, cap=9.0, memory=1e12, least=1.0,
        levelling=float("inf"), decay=1.0, normalise=False, dense=[dense],
    )  # fmt: skip
    logits, labels, groups = batch((0.8,), 300)
    more, other, _ = batch((0.8,), 100)
    logits, labels = torch.cat([logits, more]), torch.cat([labels, other])
    groups = torch.cat([groups, torch.ones(100, 1, dtype=torch.int64)])
    made.observe(logits, labels, groups)
    made.update()
    assert made.multipliers[0][0, 0] == pytest.approx([0.025 - 0.01, 0.0])
    assert made.weight == 0.0
    logits = logits.double()
    logits[:300] *= 2.0  # the same decisions, other losses
    # mu (S_all - S_0) with no limit on the pull against the whole: CE_0 - CE for logistic, up to its constant.
    losses = F.cross_entropy(logits, labels, reduction="none")
    expected = 0.015 * float(losses[:300].mean() - losses.mean())
    assert float(made.penalty(logits, labels, groups)) == pytest.approx(expected, rel=1e-4)


def test_a_buffer_per_group_forgets_by_the_group_s_own_images() -> None:
    shared, own = make(memory=100.0), make(memory=100.0, per_group=True)
    first, second = batch((0.9, 0.9), 50), batch((0.5,), 200)
    for constraint in (shared, own):
        constraint.observe(*first)
        constraint.observe(*second)  # group 0 alone
    assert shared.tallies[0].counts[1].sum() == pytest.approx(50 * np.exp(-2.0))
    assert own.tallies[0].counts[1].sum() == pytest.approx(50.0)
    assert own.tallies[0].counts[0].sum() == pytest.approx(50 * np.exp(-2.0) + 200)


def drawn(seed: int, weighted: bool = False) -> tuple[torch.Tensor, np.ndarray, np.ndarray, np.ndarray | None]:
    """Logits [50, 2] and what the host knows of their batch."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 2.0, size=50).astype(np.float32) if weighted else None
    logits = torch.tensor(rng.normal(size=(50, 2)), dtype=torch.float32)
    return logits, rng.integers(2, size=50), rng.integers(-1, 2, size=(50, 1)), weights


def same_state(one: Constraint, other: Constraint) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        len(first[name]) == len(second[name]) and all(map(torch.equal, first[name], second[name])) for name in first
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_an_accelerator_s_batch_is_counted_one_late(weighted: bool) -> None:
    late, at_once = make(memory=100.0), make(memory=100.0)
    with as_accelerator():
        late.observe(*drawn(0, weighted))
        assert np.isnan(late.violations()[0].exact)
    for seed in (1, 2):
        at_once.observe(*drawn(seed - 1, weighted))
        with as_accelerator():
            late.observe(*drawn(seed, weighted))
        assert np.array_equal(late.tallies[0].counts, at_once.tallies[0].counts)
        late.update()
        at_once.update()
        assert np.array_equal(late.multipliers[0], at_once.multipliers[0])
    late.settle()
    at_once.observe(*drawn(2, weighted))
    assert same_state(late, at_once)
    late.settle()
    assert same_state(late, at_once)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_that_waits_is_saved_and_not_counted_by_it(weighted: bool) -> None:
    through, stopped, resumed = make(memory=100.0), make(memory=100.0), make(memory=100.0)
    resumed.observe(*drawn(7))  # what was there before a state is loaded is gone
    with as_accelerator():
        for constraint in (through, stopped):
            constraint.observe(*drawn(0, weighted))
            constraint.observe(*drawn(1, weighted))
        counted = stopped.tallies[0].counts.copy()
        resumed.load_state_dict(stopped.state_dict())
        assert np.array_equal(stopped.tallies[0].counts, counted)
        assert np.array_equal(resumed.tallies[0].counts, counted)
        for constraint in (through, stopped, resumed):
            constraint.update()
            constraint.observe(*drawn(2))
            constraint.update()
            constraint.settle()
    assert through.tallies[0].counts.sum() > counted.sum()
    assert same_state(through, stopped)
    assert same_state(through, resumed)
    resumed.load_state_dict(make().state_dict())
    resumed.settle()
    assert not resumed.tallies[0].counts.any()


def test_what_is_forgotten_is_not_counted_later() -> None:
    constraint = make()
    with as_accelerator():
        constraint.observe(*drawn(0))
    constraint.forget()
    constraint.settle()
    assert not constraint.tallies[0].counts.any()


def test_an_observation_computes_nothing_on_the_device() -> None:
    class Seen(TorchDispatchMode):
        names: ClassVar[list[str]] = []

        def __torch_dispatch__(self, func: object, types: object, args: Any = (), kwargs: Any = None) -> object:
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))  # type: ignore[operator]

    constraint = make()
    logits, *known = drawn(0)
    with as_accelerator(), Seen():
        constraint.observe(logits, *known)
    assert [name for name in Seen.names if "detach" not in name] == []


def test_several_attributes_are_constrained_as_each_by_itself() -> None:
    rng = np.random.default_rng(3)
    logits = torch.tensor(rng.normal(size=(200, 3)), dtype=torch.float32)
    labels = rng.integers(3, size=200)
    groups = np.stack([rng.integers(-1, count, size=200) for count in (2, 5, 3)], axis=1)
    for name in ("odds", "parity", "worst-group"):

        def held(counts: list[int], name: str = name) -> Constraint:
            return Constraint(
                fairness.get(name, 3), counts, relaxations.get("sigmoid"), tolerance=0.01, rate=0.3, cap=2.0,
                memory=100.0, least=1.0, levelling=0.4,
            )  # fmt: skip

        together, each = held([2, 5, 3]), [held([2]), held([5]), held([3])]
        for _ in range(3):
            together.observe(logits, labels, groups)
            together.update()
            for a, one in enumerate(each):
                one.observe(logits, labels, groups[:, [a]])
                one.update()
        assert together.active
        for a, one in enumerate(each):
            assert np.array_equal(together.tallies[a].counts, one.tallies[0].counts)
            assert np.array_equal(together.multipliers[a], one.multipliers[0])
            assert together.violations()[a] == one.violations()[0]
        terms = [one.term(labels, groups[:, [a]]) for a, one in enumerate(each)]
        assert together.term(labels, groups) == pytest.approx(np.sum(terms, axis=0), abs=1e-6)
        assert together.weight == pytest.approx(sum(one.weight for one in each))
        assert together.share == pytest.approx(1 / (1 + sum(mu.sum() for mu in together.multipliers)))


def test_logits_that_are_not_float32_are_counted_alike() -> None:
    logits, *known = drawn(0)
    logits = logits.bfloat16()
    one, other = make(), make()
    one.observe(logits, *known)
    other.observe(logits.float(), *known)
    assert same_state(one, other)


def test_populations_are_counted_in_images_whatever_these_stand_for() -> None:
    """A rare group that stratified batches show often: 40 images of it were seen, which stand for less than one."""
    held = Constraint(
        fairness.get("accuracy", 2), [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0, memory=1e6
    )
    logits = torch.tensor([[1.0, 0.0]] * 40 + [[0.0, 1.0]] * 40)
    groups, weights = np.repeat([0, 1], 40)[:, None], np.repeat([1.99, 0.01], 40)
    held.observe(logits, np.zeros(80, np.int64), groups, weights)
    held.update()
    assert held.multipliers[0][0, 0].tolist() == [0.0, pytest.approx(0.1)]


@pytest.mark.parametrize(("images", "moves"), [(9, False), (10, True)])
def test_a_rate_that_the_data_have_too_few_images_of_moves_nothing_however_often_they_are_seen(
    images: int, moves: bool
) -> None:
    held = Constraint(
        fairness.get("odds", 2), [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0, memory=1e6,
        data=[np.array([[50, 50], [50, images]])],
    )  # fmt: skip
    labels, groups = np.tile([0, 1], 80), np.repeat([0, 1], 80)[:, None]
    logits = torch.nn.functional.one_hot(torch.tensor(np.where(groups[:, 0] == 1, 0, labels)), 2).float()
    for _ in range(3):
        held.observe(logits, labels, groups)
        held.update()
    assert held.active == moves


def test_relative_rates_are_held_against_the_dense_model_in_the_same_mode() -> None:
    train, evaluated = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    train[:, 0, 0] = evaluated[:, 0, 0] = 100.0  # right, but for half of the second group in eval mode
    evaluated[1, 0] = 50.0

    def made() -> Constraint:
        return Constraint(
            fairness.get("degradation", 2), [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0,
            memory=1e6, dense=[train], dense_eval=[evaluated],
        )  # fmt: skip

    labels, groups = np.zeros(80, np.int64), np.repeat([0, 1], 40)[:, None]
    logits = torch.zeros(80, 2)
    logits[:, 0] = 1.0
    logits[40::2, 1] = 2.0  # half of the second group is wrong
    held = made()
    held.observe(logits, labels, groups, evaluated=True)
    assert held.violations()[0].exact == pytest.approx(0.0)
    held.observe(logits, labels, groups)
    assert held.violations()[0].exact == pytest.approx(0.5)
    assert held.tallies[0].counts.sum() == 80  # what was counted in the other mode is dropped
    held.observe(logits, labels, groups, evaluated=True)
    again = made()
    again.load_state_dict(held.state_dict())
    assert again.violations()[0].exact == pytest.approx(0.0)
    assert again.tallies[0].counts.sum() == 80
