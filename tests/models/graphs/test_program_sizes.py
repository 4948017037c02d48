"""What a program may hold at once, how long it may take, and what an operator may multiply."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.graphs import program_sizes
from fairprune_cli.models.graphs.program_sizes import ProgramBudget, refuse_large_results


def test_values_that_are_held_together_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "graph_bytes=100000")
    budget, values = ProgramBudget(), [torch.ones(10_000) for _ in range(3)]
    budget.begin(1)
    budget.hold(values[:2], "a.pt2")
    with pytest.raises(FairpruneError, match=r"holds at once has 120,000 graph bytes; at most 100,000"):
        budget.hold(values, "a.pt2")


def test_more_images_may_hold_as_much_as_the_first_ones_did_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "graph_bytes=100000")
    budget = ProgramBudget()
    budget.begin(1)
    budget.hold([torch.ones(2_500)], "a.pt2")
    budget.end()
    budget.begin(64)
    budget.hold([torch.ones(64 * 2_500)], "a.pt2")
    with pytest.raises(FairpruneError, match="holds at once"):
        budget.hold([torch.ones(64 * 10_001)], "a.pt2")


def test_a_program_that_takes_too_long_is_stopped_between_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(monotonic=lambda: seconds[0])
    seconds = [0.0]
    monkeypatch.setattr(program_sizes, "time", now)
    budget = ProgramBudget()
    budget.begin(32)
    seconds[0] = 59.0
    budget.hold([], "a.pt2")
    seconds[0] = 61.0
    with pytest.raises(FairpruneError, match="more than 30 seconds for 16 images"):
        budget.hold([], "a.pt2")


def test_products_of_minutes_are_refused_before_they_are_begun() -> None:
    large = torch.empty(16_000, 16_000, device="meta")
    with pytest.raises(FairpruneError, match=r"mm.* multiplies tensors of 256,000,000 and 256,000,000 numbers"):
        refuse_large_results(torch.ops.aten.mm.default, (large, large), {}, 1)
    weight = torch.empty(1024, 1024, 3, 3, device="meta")
    refuse_large_results(torch.ops.aten.conv2d.default, (torch.empty(1, 1024, 64, 64, device="meta"), weight), {}, 1)
