"""Margins against a loop, and the way back for their gradient against what autograd makes of the definition."""

from __future__ import annotations

import pytest
import torch

from fairprune_cli.fairness.margins import class_margins, rivals
from tests.support.soft_rates import margins_by_definition


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_margins_equal_a_loop(classes: int) -> None:
    logits = torch.randn(20, classes, generator=torch.Generator().manual_seed(0))
    margins = class_margins(logits)
    for b in range(20):
        for k in range(classes):
            rival = max(float(logits[b, j]) for j in range(classes) if j != k)
            assert margins[b, k].item() == pytest.approx(float(logits[b, k]) - rival, abs=1e-6)
    labels = torch.arange(20) % classes
    assert torch.equal(margins[torch.arange(20), labels] > 0, logits.argmax(1) == labels)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_way_back_is_the_gradient_of_the_definition(classes: int) -> None:
    logits = torch.randn(12, classes, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(12, classes, dtype=torch.float64)
    (expected,) = torch.autograd.grad(margins_by_definition(logits), logits, weights)
    _, back = rivals(logits.detach())
    assert torch.allclose(back(weights), expected)
    (own,) = torch.autograd.grad(class_margins(logits), logits, weights)
    assert torch.allclose(own, expected)


def test_where_classes_tie_the_gradient_still_leaves_the_mean_alone() -> None:
    """Margins do not change when all logits rise by the same, so a row of the gradient sums to zero."""
    logits = torch.tensor([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])
    rival, back = rivals(logits)
    assert rival.tolist() == [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    assert back(torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])).sum(1).tolist() == [0.0, 0.0]
