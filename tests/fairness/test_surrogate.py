"""The product of soft events and coefficients: its gradient, and how few operators it takes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.margins import class_margins
from fairprune_cli.fairness.options import BOUNDS
from fairprune_cli.fairness.surrogate import indicators, soften


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("relaxation", relaxations.names())
def test_the_gradient_is_that_of_differences(relaxation: str, bound: str, classes: int) -> None:
    surrogates = indicators(relaxations.get(relaxation), bound, fairness.get("odds", classes))
    rng = np.random.default_rng(classes)
    logits = torch.tensor(rng.normal(size=(7, classes)), requires_grad=True)
    term = torch.tensor(rng.normal(size=(len(surrogates), 7, classes)))
    assert torch.autograd.gradcheck(lambda z: 3.0 * soften(z, term, surrogates), logits)
    with torch.no_grad():
        margins = class_margins(logits)
        expected = sum((t * u(margins)).sum() for t, u in zip(term, surrogates, strict=True))
        assert float(soften(logits, term, surrogates)) == pytest.approx(float(expected))
    assert not soften(logits.detach(), term, surrogates).requires_grad


def test_which_surrogate_bounds_from_where() -> None:
    hinge = relaxations.get("hinge")
    for notion in (fairness.get("accuracy", 3), fairness.get("odds", 2), fairness.get("parity", 3)):
        assert indicators(hinge, "matched", notion) == (hinge.delta,)
        assert indicators(hinge, "upper", notion) == (hinge.delta, hinge.kappa)
        assert indicators(hinge, "lower", notion) == (hinge.kappa, hinge.delta)
    assert indicators(hinge, "matched", fairness.get("odds", 3)) == (hinge.delta, hinge.kappa)


class Dispatched(TorchDispatchMode):
    """Counts operators, views and detach left out."""

    VIEWS = ("detach", "view", "unbind", "select", "slice", "unsqueeze", "_unsafe_view", "alias")

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        if name not in self.VIEWS:
            self.names[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("bound", "classes", "most"), [("matched", 2, 9), ("upper", 2, 15), ("matched", 5, 15), ("upper", 5, 21)]
)
def test_forward_and_backward_take_few_operators(bound: str, classes: int, most: int) -> None:
    surrogates = indicators(relaxations.get("logistic"), bound, fairness.get("accuracy", classes))
    logits = torch.randn(6, classes, requires_grad=True)
    term, factor = torch.randn(len(surrogates), 6, classes), torch.tensor(0.5)
    with Dispatched() as dispatched:
        soften(logits, term, surrogates).backward(factor)
    assert dispatched.names.total() <= most, dispatched.names
    # What waits on an accelerator, or is carried out there by many kernels where results must repeat.
    slow = {"_local_scalar_dense", "nonzero", "index", "index_put_", "scatter", "scatter_", "scatter_add", "index_add_"}
    assert not slow & set(dispatched.names)
