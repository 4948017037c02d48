"""Surrogates around the indicator and margins against a loop; their values are in tests/contract."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.fairness import relaxations


@pytest.mark.parametrize("name", ["hinge", "squared", "exponential"])
@given(st.floats(-4, 4))
def test_kappa_and_delta_enclose_the_indicator(name: str, a: float) -> None:
    relaxation, indicator = relaxations.get(name), float(a > 0)
    value = torch.tensor(a, dtype=torch.float64)
    assert relaxation.kappa(value).item() >= indicator - 1e-9
    if a != 0:  # at zero the indicator jumps
        assert relaxation.delta(value).item() <= indicator + 1e-9


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
