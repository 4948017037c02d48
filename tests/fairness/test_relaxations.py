"""Surrogates around the indicator; their values are in tests/contract."""

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


def test_unknown_relaxation_names_the_nearest() -> None:
    with pytest.raises(FairpruneError) as error:
        relaxations.get("logistik")
    assert "logistic" in error.value.hint
