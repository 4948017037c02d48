"""The accelerator's selection, which reads no number, is that of the host, ties included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fairprune_cli.core.transfer import as_accelerator
from fairprune_cli.pruning.masks import TwoOfFourMasks, WeightMasks, selection
from fairprune_cli.pruning.masks.selection import stable_order, top_k_mask, top_k_with_floors
from tests.support.dispatch import Operations

INFINITE = [float("-inf"), float("inf")]
floats = st.floats(-1024.0, 1024.0, width=32, allow_subnormal=False)
numbers = st.one_of(st.integers(-3, 3).map(float), floats, st.sampled_from([0.0, -0.0]))
scores_of_any_kind = st.lists(numbers, min_size=1, max_size=60).map(lambda values: torch.tensor(values))


def by_sorting(scores: Tensor, keep: int) -> list[int]:
    return sorted(sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))[:keep])


@given(scores_of_any_kind, st.data())
def test_both_ways_keep_what_sorting_keeps(scores: Tensor, data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, len(scores)))
    here = top_k_mask(scores, keep)
    with as_accelerator():
        there = top_k_mask(scores, keep)
    assert torch.nonzero(here)[:, 0].tolist() == torch.nonzero(there)[:, 0].tolist() == by_sorting(scores, keep)


@given(scores_of_any_kind, st.data())
def test_what_is_infinite_is_first_or_last(scores: Tensor, data: st.DataObject) -> None:
    """As what an earlier pruning removed, and what a pattern keeps."""
    for _ in range(data.draw(st.integers(0, len(scores)))):
        scores[data.draw(st.integers(0, len(scores) - 1))] = data.draw(st.sampled_from(INFINITE))
    keep = data.draw(st.integers(0, len(scores)))
    with as_accelerator():
        there = top_k_mask(scores, keep)
    assert torch.nonzero(there)[:, 0].tolist() == by_sorting(scores, keep)


@settings(max_examples=200)
@given(scores_of_any_kind, st.data())
def test_floors_are_the_best_of_each_part_and_the_rest_goes_by_score(scores: Tensor, data: st.DataObject) -> None:
    edges = sorted({0, len(scores), *data.draw(st.lists(st.integers(0, len(scores)), max_size=5))})
    sizes = [b - a for a, b in itertools.pairwise(edges)]
    floors = [data.draw(st.integers(0, size)) for size in sizes]
    keep = data.draw(st.integers(sum(floors), len(scores)))
    here = top_k_with_floors(scores, sizes, floors, keep)
    with as_accelerator():
        there = top_k_with_floors(scores, sizes, floors, keep)
    first = {a + i for a, size, floor in zip(edges, sizes, floors, strict=False)
             for i in by_sorting(scores[a : a + size], floor)}  # fmt: skip
    rest = sorted(set(range(len(scores))) - first, key=lambda i: (-float(scores[i]), i))
    expected = sorted([*first, *rest[: keep - len(first)]])
    assert torch.nonzero(there)[:, 0].tolist() == expected
    assert torch.nonzero(here)[:, 0].tolist() == expected


@given(st.integers(0, 10**6), st.floats(0, 0.5), st.booleans())
def test_two_of_four_both_ways(seed: int, sparsity: float, tied: bool) -> None:
    masks = TwoOfFourMasks(nn.Sequential(nn.Linear(8, 6), nn.Linear(4, 3)))
    values = torch.randn(60, generator=torch.Generator().manual_seed(seed))
    values = values.round() if tied else values
    here = masks.select(values, sparsity)
    with as_accelerator():
        there = masks.select(values, sparsity)
    assert torch.equal(here, there)
    blocks = here.view(-1, 4)
    assert int(blocks.sum(1).min()) >= 2
    if sparsity == 0.5:
        order = values.view(-1, 4).argsort(dim=1, descending=True, stable=True)
        assert torch.equal(blocks, torch.zeros_like(blocks).scatter_(1, order[:, :2], True))


def test_many_scores_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 256)
    torch.manual_seed(0)
    masks = WeightMasks(nn.Sequential(nn.Linear(70, 60), nn.Linear(60, 30), nn.Linear(30, 2)), layer_floor=0.9)
    for scores in (torch.randn(masks.total), torch.randn(masks.total).round(), torch.ones(masks.total)):
        scores[-60:] -= 100.0  # the last layer would vanish
        for sparsity in (0.0, 0.3, 0.77, 0.95):
            here = masks.select(scores, sparsity)
            with as_accelerator():
                assert torch.equal(masks.select(scores, sparsity), here)


def test_an_accelerator_is_not_waited_for() -> None:
    scores = torch.randn(400)
    with as_accelerator(), Operations() as operations:
        top_k_with_floors(scores, [100, 200, 100], [3, 150, 1], 250)
    assert operations.waits == 0
    assert operations.total < 40


@given(st.lists(numbers, max_size=60))
def test_the_fast_order_is_the_stable_one(values: list[float]) -> None:
    for dtype in (np.float32, np.float64):
        array = np.asarray(values, dtype=dtype)
        assert stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()
