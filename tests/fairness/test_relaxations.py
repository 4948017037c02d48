"""Surrogates against the table of the literature, margins against a loop, and the sign of the fairness term."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.fairness import relaxations

KAPPA = {
    "linear": lambda a: a,
    "hinge": lambda a: max(1 + a, 0.0),
    "logistic": lambda a: math.log(1 + math.exp(a)),
    "squared": lambda a: (1 + a) ** 2,
    "exponential": math.exp,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
}
DELTA = {
    "linear": lambda a: a,
    "hinge": lambda a: min(a, 1.0),
    "logistic": lambda a: 1 - math.log(1 + math.exp(-a)),
    "squared": lambda a: 1 - (1 - a) ** 2,
    "exponential": lambda a: 1 - math.exp(-a),
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
}


def test_every_relaxation_has_its_row_here() -> None:
    assert set(relaxations.names()) == set(KAPPA)


@pytest.mark.parametrize("name", sorted(KAPPA))
@pytest.mark.parametrize("a", [-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.5])
def test_values_equal_the_table(name: str, a: float) -> None:
    relaxation = relaxations.get(name)
    assert relaxation.kappa(torch.tensor(a)).item() == pytest.approx(KAPPA[name](a), rel=1e-5, abs=1e-6)
    assert relaxation.delta(torch.tensor(a)).item() == pytest.approx(DELTA[name](a), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ["hinge", "squared", "exponential"])
@given(st.floats(-4, 4))
def test_kappa_and_delta_enclose_the_indicator(name: str, a: float) -> None:
    relaxation, indicator = relaxations.get(name), float(a > 0)
    value = torch.tensor(a, dtype=torch.float64)
    assert relaxation.kappa(value).item() >= indicator - 1e-9
    if a != 0:  # at zero the indicator jumps
        assert relaxation.delta(value).item() <= indicator + 1e-9


@pytest.mark.parametrize("name", sorted(KAPPA))
def test_rising_at_zero(name: str) -> None:
    a = torch.zeros(1, requires_grad=True)
    relaxations.get(name).kappa(a).sum().backward()
    assert a.grad is not None
    assert a.grad.item() > 0


def test_large_margins_stay_finite() -> None:
    for name in relaxations.names():
        values = relaxations.get(name).kappa(torch.tensor([-1e4, 1e4]))
        assert torch.isfinite(values).all()


def test_margins_equal_a_loop() -> None:
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    margins = relaxations.class_margins(logits)
    for b in range(20):
        for k in range(5):
            rival = max(float(logits[b, j]) for j in range(5) if j != k)
            assert margins[b, k].item() == pytest.approx(float(logits[b, k]) - rival, abs=1e-6)
    labels = torch.arange(20) % 5
    right = logits.argmax(1) == labels
    assert torch.equal(relaxations.label_margins(logits, labels) > 0, right)


def test_unknown_relaxation_names_the_nearest() -> None:
    with pytest.raises(FairpruneError) as error:
        relaxations.get("logistik")
    assert "logistic" in error.value.hint
