"""Loss of a step: distillation and weights against a loop."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fairprune_cli.data.batches.batch import Known
from fairprune_cli.data.batches.stratified import Strata
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.models.read_out import OutputTable, ReadOut, Scores
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.masks import WeightMasks
from fairprune_cli.pruning.methods import MethodOptions
from fairprune_cli.training.objective import Objective, distillation, mean


def constraint(normalise: bool = True) -> Constraint:
    return Constraint(
        fairness.get("accuracy", 3), [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=9.0, memory=50.0,
        normalise=normalise,
    )  # fmt: skip


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    parts = [math.exp(v - top) for v in row]
    return [p / sum(parts) for p in parts]


def test_distillation_is_the_scaled_divergence() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 3), torch.randn(5, 3)
    expected = []
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = softmax([v / 3.0 for v in t]), softmax([v / 3.0 for v in s])
        expected.append(9.0 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    assert distillation(student, teacher, 3.0).tolist() == pytest.approx(expected, rel=1e-4)
    assert distillation(teacher, teacher, 3.0).abs().max() < 1e-6


def test_lower_loss_mixes_label_and_what_the_dense_model_says_of_the_picture() -> None:
    torch.manual_seed(0)
    masks = WeightMasks(nn.Linear(2, 3))
    method = methods.get("magnitude")(masks, MethodOptions())
    teacher = torch.randn(10, 3)
    rows = torch.tensor([7, 2])
    weights = torch.tensor([3.0, 1.0])
    batch = SimpleNamespace(labels=torch.tensor([0, 2]), rows=rows, weights=weights, dense=teacher[rows])
    logits = torch.randn(2, 3)
    objective = Objective(method, constraint(), distill=0.25, temperature=2.0)
    plain = [-math.log(softmax(logits[i].tolist())[label]) for i, label in enumerate([0, 2])]
    soft = distillation(logits, teacher[rows], 2.0).tolist()
    mixed = [0.75 * p + 0.25 * s for p, s in zip(plain, soft, strict=True)]
    assert float(objective.lower(logits, batch)) == pytest.approx((3 * mixed[0] + mixed[1]) / 4, rel=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_lagrangian_is_divided_where_it_is_to_be(normalise: bool) -> None:
    held = constraint(normalise)
    held.multipliers[0][0] = 2.0
    objective = Objective(methods.get("magnitude")(WeightMasks(nn.Linear(2, 3)), MethodOptions()), held)
    known = Known(np.array([0, 1]), np.array([[0], [1]]))
    logits = torch.randn(2, 3)
    penalty = float(held.penalty(logits, known.labels, known.groups))
    assert penalty != 0
    terms = objective.terms(known, torch.device("cpu"))
    value = float(objective.lagrangian(torch.tensor(1.5), logits, terms))
    assert value == pytest.approx((1.5 + penalty) / (5.0 if normalise else 1.0), rel=1e-5)


def test_without_a_multiplier_the_lagrangian_is_the_loss() -> None:
    objective = Objective(methods.get("magnitude")(WeightMasks(nn.Linear(2, 3)), MethodOptions()), constraint())
    terms = objective.terms(Known(np.array([0, 1]), np.array([[0], [1]])), torch.device("cpu"))
    assert terms is None
    loss = torch.tensor(1.5)
    assert objective.lagrangian(loss, torch.randn(2, 3), terms) is loss


def test_weighted_mean() -> None:
    values, weights = torch.tensor([1.0, 5.0]), torch.tensor([3.0, 1.0])
    assert float(mean(values, weights)) == 2.0
    assert float(mean(values, None)) == 3.0


READ_OUT = ReadOut((OutputTable(None, 6),), (Scores(0, (0, 1)), Scores(0, (2,), 0.2)), ((0, (3, 4, 5)),))


def several(hold: float) -> tuple[Objective, torch.Tensor]:
    """Two tasks, of two scores and of one with a threshold, and three outputs beside them."""
    torch.manual_seed(3)
    method = methods.get("magnitude")(WeightMasks(nn.Linear(2, 3)), MethodOptions())
    teacher = torch.randn(10, 7)
    spread = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.25, 4.0, 1.0])
    return Objective(method, constraint(), teacher, read_out=READ_OUT, hold=hold, spread=spread), teacher


def by_hand(table: torch.Tensor, labels: list[list[int]], dense: torch.Tensor, hold: float) -> list[float]:
    """The loss of each image, in a loop: cross-entropies of the tasks, and the distance of the other outputs."""
    losses = []
    for row, (first, second), held in zip(table.tolist(), labels, dense.tolist(), strict=True):
        entropy = -math.log(softmax(row[:2])[first])
        probability = 1 / (1 + math.exp(-(row[3] + math.log(0.2 / 0.8))))  # without the threshold's shift
        binary = -math.log(probability if second else 1 - probability)
        parts = zip(row[4:], held[4:], (0.25, 4.0, 1.0), strict=True)
        losses.append((entropy + binary) / 2 + hold * sum(far(a, b, v) for a, b, v in parts) / 3)
    return losses


def far(a: float, b: float, variance: float) -> float:
    r = abs(a - b) / math.sqrt(variance)
    return r * r if r <= 1 else 2 * r - 1


def test_tasks_are_averaged_and_other_outputs_held() -> None:
    labels = [[0, 1], [1, 0], [1, 1]]
    rows, weights = torch.tensor([4, 0, 7]), torch.tensor([2.0, 1.0, 1.0])
    raw = torch.randn(3, 6)
    table = READ_OUT.read(raw)
    for hold in (0.0, 0.7):
        objective, teacher = several(hold)
        expected = by_hand(table, labels, teacher[rows], hold)
        batch = SimpleNamespace(labels=torch.tensor(labels), rows=rows, weights=weights)
        mean_by_hand = sum(w * one for w, one in zip(weights.tolist(), expected, strict=True)) / 4
        assert objective.holds == (hold > 0)
        assert float(objective.lower(table, batch)) == pytest.approx(mean_by_hand, rel=1e-5)
        upper = objective.upper(table, torch.tensor(labels), weights, rows if hold else None)
        assert float(upper) == pytest.approx(mean_by_hand, rel=1e-5)


@pytest.mark.parametrize(("distill", "asks"), [(0.0, False), (0.5, False), (0.0, True)])
def test_the_tasks_get_the_dense_scores_only_where_something_asks_for_them(distill: float, asks: bool) -> None:
    handed = []

    class Listening(methods.get("magnitude")):  # type: ignore[misc]
        teacher = asks

        def image_loss(self, logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None) -> torch.Tensor:
            handed.append(None if teacher is None else teacher.shape)
            return super().image_loss(logits, labels, teacher)

    objective, _ = several(0.7)
    method = Listening(WeightMasks(nn.Linear(2, 3)), MethodOptions())
    batch = SimpleNamespace(labels=torch.zeros(3, 2, dtype=torch.long), rows=torch.arange(3), weights=None)
    batch.dense = torch.randn(3, 7)
    plain, mixed = (
        replace(objective, method=method, distill=share).lower(READ_OUT.read(torch.ones(3, 6)), batch)
        for share in (0.0, distill)
    )
    assert handed == ([(3, 2)] * 4 if asks else [None] * 4)
    assert torch.equal(plain, mixed) == (not distill)


def test_a_shift_is_added_to_the_scores_in_loss_and_term_and_not_in_what_is_distilled() -> None:
    torch.manual_seed(1)
    held = constraint()
    held.multipliers[0][0] = [[0.5, 2.0]]
    strata = Strata(
        np.array([0, 0, 1, 2]), np.array([[0], [1], [1], [0]]), np.array([40, 10, 20, 30]), np.zeros(0, dtype=int)
    )
    method = methods.get("magnitude")(WeightMasks(nn.Linear(2, 3)), MethodOptions())
    objective = Objective(method, held, distill=0.25, temperature=2.0, strata=strata)
    logits, seen, labels = torch.randn(2, 3), torch.randn(2, 3), torch.tensor([0, 2])
    known = Known(labels.numpy(), np.array([[0], [1]]))
    terms = objective.terms(known, torch.device("cpu"))
    assert terms is not None
    assert terms.shift is not None
    # n = 70 and 30 of 100, mu / n: an image of the first group counts 1 + .5 * 100 / 70, one of the second 1 + 200 / 30
    parts = np.array([1 + 50 / 70, 1 + 200 / 30])
    mass = np.array([40 * parts[0] + 10 * parts[1], 20 * parts[1], 30 * parts[0]])
    shift = np.log(mass / mass.sum() / [0.5, 0.2, 0.3])
    assert terms.shift.numpy() == pytest.approx(shift, rel=1e-5)
    moved = logits + terms.shift
    batch = SimpleNamespace(labels=labels, rows=torch.tensor([0, 1]), weights=None, dense=seen)
    plain = nn.functional.cross_entropy(moved, labels, reduction="none")
    loss = objective.lower(logits, batch, terms.shift)
    assert float(loss) == pytest.approx(float((0.75 * plain + 0.25 * distillation(logits, seen, 2.0)).mean()), rel=1e-5)
    whole = objective.lagrangian(loss, logits, terms)
    penalty = held.penalty(moved, known.labels, known.groups)
    assert float(whole) == pytest.approx(float((loss + penalty) / (1 + held.weight)), rel=1e-5)
    assert float(objective.upper(logits, labels, shift=terms.shift)) == pytest.approx(float(plain.mean()), rel=1e-5)


def test_nothing_is_shifted_unless_asked() -> None:
    held = constraint()
    held.multipliers[0][0] = 1.0
    objective = Objective(methods.get("magnitude")(WeightMasks(nn.Linear(2, 3)), MethodOptions()), held)
    terms = objective.terms(Known(np.array([0]), np.array([[0]])), torch.device("cpu"))
    assert terms is not None
    assert terms.shift is None
