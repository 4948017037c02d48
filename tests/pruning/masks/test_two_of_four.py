"""The pattern 2:4: exact, by the method's own scores, gradual on the way, and over what was pruned before."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fairprune_cli.compare import targets
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.masks import TwoOfFourMasks, unfit_weights
from fairprune_cli.run.options import resolve


def net(seed: int = 0) -> nn.Module:
    """A first layer with rows of 27, which the pattern does not fit, and two layers that it fits."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def dropped_per_block(keep: Tensor) -> Tensor:
    return 4 - keep.view(-1, 4).sum(1)


def test_only_tensors_that_the_pattern_fits_are_masked() -> None:
    model = net()
    masks = TwoOfFourMasks(model)
    assert list(masks.tensors) == ["2.weight", "6.weight"]
    assert unfit_weights(model) == ["0.weight"]
    assert masks.total == 8 * 9 * 4 + 12
    with pytest.raises(FairpruneError, match="rows that blocks of four divide"):
        TwoOfFourMasks(nn.Sequential(nn.Linear(3, 4)))


def test_the_best_two_of_four_along_the_input_dimension_are_kept() -> None:
    masks = TwoOfFourMasks(net())
    masks.apply(masks.select(masks.magnitude(), 0.5))
    for name, parameter in masks.tensors.items():
        rows = masks.theta(name).reshape(len(parameter), -1)
        for row, kept in zip(
            rows.tolist(), (parameter.detach() != 0).reshape(len(parameter), -1).tolist(), strict=True
        ):
            for start in range(0, len(row), 4):
                block = [abs(value) for value in row[start : start + 4]]
                best = max(itertools.combinations(range(4), 2), key=lambda pair: sum(block[i] for i in pair))
                assert tuple(i for i in range(4) if kept[start + i]) == best
    assert masks.broken_blocks() == 0
    assert masks.achieved == 0.5


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(0, 0.5))
def test_on_the_way_no_block_loses_more_than_two_and_the_count_is_exact(seed: int, sparsity: float) -> None:
    masks = TwoOfFourMasks(net())
    values = torch.randint(-2, 3, (300,), generator=torch.Generator().manual_seed(seed)).float()  # with many ties
    keep = masks.select(values, sparsity)
    assert int(keep.sum()) == round((1 - sparsity) * 300)
    assert int(dropped_per_block(keep).max()) <= 2
    final = masks.select(values, 0.5)
    assert bool((dropped_per_block(final) == 2).all())
    assert not bool((final & ~keep).any())  # what the end keeps is kept all along, while the scores stay


def test_more_than_half_is_refused() -> None:
    masks = TwoOfFourMasks(net())
    with pytest.raises(FairpruneError, match="removes half"):
        masks.select(masks.magnitude(), 0.6)


@pytest.mark.parametrize("method", [m for m in methods.names() if "weight" in methods.get(m).granularities])
def test_every_method_for_weights_works_and_by_its_own_scores(method: str) -> None:
    kind = methods.get(method)
    assert "2:4" in kind.granularities
    model = net()
    masks = TwoOfFourMasks(model)
    scorer = kind(masks, methods.MethodOptions())
    images, labels = torch.randn(12, 3, 6, 6), torch.arange(12) % 3
    if kind.upper_gradient:
        for part, index in enumerate(scorer.parts(np.arange(12)[:, None] % 2)):
            logits = model(images[index])
            model.zero_grad()
            nn.functional.cross_entropy(logits, labels[index]).backward()
            scorer.upper_step(part, logits.detach(), labels[index])
    scores = scorer.scores(0.5)
    masks.apply(masks.select(scores, 0.5))
    assert masks.broken_blocks() == 0
    kept = torch.where(masks.keep, scores, torch.inf).view(-1, 4).min(1).values
    gone = torch.where(masks.keep, -torch.inf, scores).view(-1, 4).max(1).values
    assert bool((kept >= gone).all())


def test_zeros_of_an_earlier_pruning_stay_zero_even_where_the_pattern_keeps_their_place() -> None:
    model = net()
    alive = {"2.weight": torch.ones(4, 8, 3, 3, dtype=torch.bool), "0.weight": torch.ones(8, 3, 3, 3, dtype=torch.bool)}
    alive["2.weight"].view(-1)[:3] = False  # one block has only one weight left
    alive["0.weight"].view(-1)[5] = False  # outside the pattern
    with torch.no_grad():
        for name, mask in alive.items():
            model.get_parameter(name).mul_(mask)
    masks = TwoOfFourMasks(model, alive)
    assert masks.start == pytest.approx(3 / masks.total)
    masks.apply(masks.select(masks.magnitude(), 0.5))
    assert masks.broken_blocks() == 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 6, 6)).square().sum().backward()
        masks.mask_gradients()
        optimizer.step()
        masks.hold(model)
    for name, mask in alive.items():
        assert not bool(model.get_parameter(name)[~mask].any())
    again = TwoOfFourMasks(model, {name: model.get_parameter(name) != 0 for name in ("2.weight", "6.weight")})
    assert again.start == 0.5


def test_the_sparsity_is_one_half_or_an_error() -> None:
    assert resolve({"granularity": "2:4"}, {}, None).settings.sparsity == 0.5
    assert resolve({"granularity": "2:4", "sparsity": "0.5"}, {}, None).settings.sparsity == 0.5
    assert resolve({"granularity": "weight"}, {}, None).settings.sparsity == 0.8
    with pytest.raises(FairpruneError, match=r"0\.8 cannot be had by 2:4"):
        resolve({"granularity": "2:4", "sparsity": 0.8}, {}, None)
    with pytest.raises(FairpruneError, match=r"FAIRPRUNE_SPARSITY: 0\.7 cannot be had"):
        resolve({"granularity": "2:4"}, {"FAIRPRUNE_SPARSITY": "0.7"}, None)


def test_a_comparison_pairs_it_with_its_own_sparsity_alone() -> None:
    assert targets(["weight", "2:4"], ["0.5", "0.9"]) == (("weight", 0.5), ("weight", 0.9), ("2:4", 0.5))
    with pytest.raises(FairpruneError, match="removes exactly half"):
        targets(["2:4"], ["0.8"])
