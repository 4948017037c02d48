"""The Lagrangian's term against its definition, value and gradient, and the pull that a sampler follows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.fairness.options import BOUNDS
from tests.support.soft_rates import lagrangian_by_definition

NOTIONS = [*fairness.names(), "degradation against the whole"]


def notion_of(name: str, classes: int) -> Notion:
    first, *whole = name.split(" against ")
    found = fairness.get(first, classes)
    return dataclasses.replace(found, against="whole") if whole else found


def made(
    notion: Notion, groups: list[int], relaxation: str = "logistic", bound: str = "matched", levelling: float = 0.0
) -> Constraint:
    return Constraint(
        notion, groups, relaxations.get(relaxation), tolerance=0.0, rate=0.1, cap=9.0, memory=50.0, bound=bound,
        levelling=levelling,
    )  # fmt: skip


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("name", NOTIONS)
@settings(max_examples=25, deadline=None)
@given(
    relaxation=st.sampled_from(relaxations.names()), levelling=st.sampled_from([0.0, 0.5, math.inf]),
    weighted=st.booleans(), classes=st.sampled_from([2, 3, 5]), seed=st.integers(0, 10_000),
)  # fmt: skip
def test_value_and_gradient_are_those_of_the_definition(
    name: str, bound: str, relaxation: str, levelling: float, weighted: bool, classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    images = int(rng.integers(1, 14))
    # Few images and groups without any; -1 in both columns.
    labels = rng.integers(classes, size=images)
    groups = np.stack([rng.integers(-1, 3, size=images), rng.integers(-1, 1, size=images)], axis=1)
    weights = rng.uniform(0.2, 3.0, size=images).astype(np.float32) if weighted else None
    constraint = made(notion_of(name, classes), [4, 2], relaxation, bound, levelling)
    for mu in constraint.multipliers:
        mu[...] = rng.uniform(size=mu.shape) * (rng.random(mu.shape) < 0.7)
    values = torch.tensor(rng.normal(size=(images, classes)))
    found, expected = values.clone().requires_grad_(), values.clone().requires_grad_()
    value = constraint.penalty(found, labels, groups, weights)
    reference = lagrangian_by_definition(
        constraint.notion, constraint.relaxation, bound, levelling, constraint.multipliers, expected, labels, groups,
        weights,
    )  # fmt: skip
    assert value.item() == pytest.approx(reference.item(), rel=2e-5, abs=2e-5)
    if value.requires_grad:  # some multiplier is above zero
        value.backward()
    (reference + 0 * expected.sum()).backward()
    gradient = torch.zeros_like(values) if found.grad is None else found.grad
    assert expected.grad is not None
    assert torch.allclose(gradient, expected.grad, rtol=1e-5, atol=1e-5)


def test_coefficients_by_hand() -> None:
    """Accuracy, mu_low of group 1 is 0.6: each of its images, of weight 3 and 1, adds -0.6 w / 4 where it is right."""
    constraint = made(fairness.get("accuracy", 3), [2], levelling=0.3)
    constraint.multipliers[0][0, 0] = [0.0, 0.6]
    labels, groups = np.array([2, 0, 1, 1]), np.array([[1], [1], [0], [-1]])
    weights = np.array([3.0, 1.0, 4.0, 9.0], dtype=np.float32)
    # s = 0.3 / 0.6, and all grouped images weigh 8.
    (falling,) = constraint.term(labels, groups, weights)
    whole = 0.6 * 0.5 / 8
    expected = np.zeros((4, 3))
    expected[0, 2], expected[1, 0] = 3 * (whole - 0.6 / 4), whole - 0.6 / 4
    expected[2, 1] = 4 * whole
    assert falling == pytest.approx(expected, abs=1e-7)
    apart = made(fairness.get("accuracy", 3), [2], bound="upper", levelling=0.3)
    apart.multipliers[0][0, 0] = [0.0, 0.6]
    falling, rising = apart.term(labels, groups, weights)
    assert falling[:, 0] == pytest.approx([0.0, -0.6 / 4, 0.0, 0.0])
    assert rising.sum(axis=1) == pytest.approx([3 * whole, whole, 4 * whole, 0.0])


def test_a_false_alarm_is_pressed_on_where_it_is_one() -> None:
    """Told to raise fewer alarms, an image that is none is left alone however far; one that is one is pushed down."""
    constraint = made(fairness.get("odds", 3), [2])
    (alarm,) = np.flatnonzero(constraint.notion.event[:, 0, 2])  # label 0, predicted 2
    constraint.multipliers[0][1, alarm] = [0.0, 1.0]
    labels, groups = np.zeros(3, dtype=np.int64), np.array([[1], [1], [0]])
    logits = torch.tensor([[9.0, 0.0, -9.0], [0.0, -1.0, 2.0], [0.0, -1.0, 2.0]], requires_grad=True)
    constraint.penalty(logits, labels, groups).backward()
    assert logits.grad is not None
    # The mean over the two images of the group of log(1 + e^a), a the margin of class 2.
    slope = 0.5 / (1.0 + np.exp([18.0, -2.0]))
    assert logits.grad.numpy() == pytest.approx(
        np.array([[-slope[0], 0.0, slope[0]], [-slope[1], 0.0, slope[1]], [0.0, 0.0, 0.0]]), abs=1e-6
    )
    assert slope[0] < 1e-7


def test_classes_shares_are_those_that_right_answers_have() -> None:
    """A multiplier of a false alarm pushes one score down and gives the label's own no larger share of the loss."""
    constraint = made(fairness.get("odds", 3), [2])
    labels, groups, sizes = np.array([0, 1, 2] * 2), np.repeat([0, 1], 3)[:, None], np.full(6, 10.0)
    right = constraint.notion.right_answers
    constraint.multipliers[0][1, ~right] = 2.0
    assert not constraint.shift(labels, groups, sizes).any()
    assert constraint.part(labels, groups, sizes).min() > 1.0  # but their images are wanted
    constraint.multipliers[0][0, np.flatnonzero(right)[1], 1] = 0.5
    # Of 60 images, the 20 of label 1 have 20 + .5 * 60 in the loss.
    expected = np.log(np.array([20.0, 50.0, 20.0]) / 90.0 * 3.0)
    assert constraint.shift(labels, groups, sizes) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_term_has_its_shape_whatever_acts(bound: str) -> None:
    constraint = made(fairness.get("odds", 3), [2, 4], bound=bound)
    recalls = made(fairness.get("accuracy", 3), [2, 4], bound=bound)
    assert len(recalls.term(np.array([0]), np.array([[0, -1]]))) == (1 if bound == "matched" else 2)
    labels, groups = np.array([0, 2]), np.array([[0, -1], [1, 3]])
    term = constraint.term(labels, groups)
    assert term.shape == (2, 2, 3)
    assert term.dtype == np.float32
    assert not term.any()
    constraint.multipliers[1][1] = 1.0
    later = constraint.term(torch.tensor(labels), torch.tensor(groups), torch.ones(2))
    assert later.shape == term.shape
    assert not later[:, 0].any()  # in no group of the attribute that acts
    assert later[:, 1].any()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NOTIONS), st.sampled_from([2, 3]), st.integers(0, 10_000))
def test_the_pull_of_a_stratum_by_a_loop(name: str, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    constraint = made(notion_of(name, classes), [2, 3])
    for mu in constraint.multipliers:
        mu[...] = rng.uniform(size=mu.shape)
    labels = rng.integers(classes, size=9)
    groups = np.stack([rng.integers(-1, 2, size=9), rng.integers(-1, 3, size=9)], axis=1)
    sizes = rng.integers(1, 30, size=9)
    population = constraint.notion.population
    expected = []
    for label, columns in zip(labels, groups, strict=True):
        pull = 1.0 / sizes.sum()
        for a, group in enumerate(columns):
            for m in np.flatnonzero(population[:, label]):
                if group >= 0:
                    n = sizes[(groups[:, a] == group) & population[m, labels]].sum()
                    pull += constraint.multipliers[a][:, m, group].sum() / n
        expected.append(sizes.sum() * pull)
    assert constraint.pull(labels, groups, sizes) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("levelling", [0.5, 1.0, math.inf])
def test_levelling_takes_off_what_the_term_takes_off(levelling: float) -> None:
    """Of accuracy the term is signed cross-entropies, and a stratum's part is the sum of its images' coefficients."""
    constraint = made(notion_of("accuracy", 2), [3])
    constraint.levelling = levelling
    constraint.multipliers[0][0, 0] = [2.0, 0.0, 0.7]
    sizes = np.array([10, 60, 20, 10])
    labels, groups = np.zeros(4, np.int64), np.array([[0], [1], [2], [-1]])
    images = np.repeat(np.arange(4), sizes)
    term = constraint.term(labels[images], groups[images])[0]  # of "the first class is predicted": negative raises it
    parts = [1.0 - 100 * term[images == stratum, 0].mean() for stratum in range(4)]
    assert constraint.part(labels, groups, sizes) == pytest.approx(parts, rel=1e-5)
    assert parts[1] < 1.0 == parts[3]  # the group in the lead counts less than in the loss, the others not at all so
    assert constraint.pull(labels, groups, sizes) == pytest.approx(np.maximum(np.abs(parts), 0.1), rel=1e-5)
