"""What every kind of mask answers when it is final: what leaves the model, what is stored sparse, whether it is met."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fairprune_cli.models import architectures, measure
from fairprune_cli.pruning.channels.removal import channel_spaces
from fairprune_cli.pruning.masks import (
    ChannelMasks,
    Masks,
    TwoOfFourMasks,
    WeightMasks,
    prunable_weights,
    unfit_weights,
)
from tests.support.training import masks_over, thinned

KINDS = {"channel": 0.6, "weight": 0.6, "2:4": 0.5}
EVERY = pytest.mark.parametrize("kind", KINDS)


def model_at(seed: int = 0) -> nn.Module:
    return architectures.build("resnet10-w16", 2, seed=seed).eval()


def pruned(kind: str, density: float = 1.0) -> tuple[nn.Module, nn.Module, Masks]:
    """A dense model, and its copy under a mask at the target."""
    dense = model_at()
    alive = thinned(dense, density) if density < 1.0 else None
    model = copy.deepcopy(dense)
    masks = masks_over(model, kind, alive)
    scores = torch.rand(len(masks.keep), generator=torch.Generator().manual_seed(1))
    masks.apply(masks.select(scores, KINDS[kind]))
    return dense, model, masks


@EVERY
def test_what_leaves_a_model_is_told_by_tensor(kind: str) -> None:
    dense, model, masks = pruned(kind)
    masked = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before = model(images)
    indices = masks.harden(model)
    if kind != "channel":
        assert indices == {}
        assert all(torch.equal(value, masked[name]) for name, value in model.state_dict().items())
        return
    assert measure.count_parameters(model) == masks.kept < measure.count_parameters(dense)
    for name, value in model.state_dict().items():
        expected = masked[name]
        for dim, index in indices.get(name, {}).items():
            expected = expected.index_select(dim, index)
        assert torch.equal(value, expected), name
    assert torch.allclose(model(images), before, atol=1e-5)


@EVERY
def test_another_copy_becomes_as_small_and_the_mask_stays(kind: str) -> None:
    dense, model, masks = pruned(kind)
    other = copy.deepcopy(dense)
    masks.remove(other, masks.keep)
    achieved = masks.achieved
    masks.harden(model)
    masks.remove(again := copy.deepcopy(dense), masks.keep)  # a hardened mask still knows how
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    for smaller in (other, again):
        assert {name: value.shape for name, value in smaller.state_dict().items()} == shapes
    assert masks.achieved == achieved


@EVERY
def test_after_hardening_gradients_of_what_is_left_are_whole(kind: str) -> None:
    _, model, masks = pruned(kind)
    masks.harden(model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    masks.mask_gradients()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        zero = ~masks.entries(masks.keep)[name] if name in masks.tensors else torch.zeros_like(parameter).bool()
        assert torch.equal(parameter.grad == 0, zero), name


@EVERY
def test_a_saved_mask_hardens_another_model_alike(kind: str) -> None:
    _, model, masks = pruned(kind)
    masks.harden(model)
    fresh = model_at()
    other = masks_over(fresh, kind)
    other.load_state_dict(masks.state_dict())
    other.harden(fresh)
    assert [p.shape for p in fresh.parameters()] == [p.shape for p in model.parameters()]
    assert torch.equal(other.keep, masks.keep)


@EVERY
@pytest.mark.parametrize("density", [1.0, 0.8])
def test_what_is_stored_sparse_is_zero_elsewhere(kind: str, density: float) -> None:
    _, model, masks = pruned(kind, density)
    names = {
        "weight": set(prunable_weights(model)),
        "2:4": set(prunable_weights(model)) - (set(unfit_weights(model)) if density == 1.0 else set()),
        "channel": set(prunable_weights(model)) if density < 1.0 else set(),
    }[kind]
    masks.harden(model)
    stored = masks.sparse_entries(masks.keep)
    assert set(stored) == names
    for name, mask in stored.items():
        parameter = model.get_parameter(name)
        assert mask.shape == parameter.shape
        assert not bool(parameter[~mask].any())


@EVERY
def test_a_target_is_met_or_missed(kind: str) -> None:
    dense, model, masks = pruned(kind)
    masks.harden(model)
    assert masks.meets(KINDS[kind], dense, model)
    assert not masks.meets(KINDS[kind] + 0.1, dense, model)
    assert masks.reached(dense, model) == pytest.approx(masks.achieved)
    assert sum(p.numel() for p in masks.counted(dense).values()) >= masks.total
    assert set(masks.counted(dense)) == set(
        dict(dense.named_parameters()) if kind == "channel" else prunable_weights(dense)
    )


def test_two_of_four_is_not_met_by_the_right_number_in_the_wrong_places() -> None:
    dense, model, masks = pruned("2:4")
    assert isinstance(masks, TwoOfFourMasks)
    keep = masks.keep.clone().view(-1, 4)
    keep[0], keep[1] = torch.tensor([True, True, True, False]), torch.tensor([True, False, False, False])
    masks.apply(keep.view(-1))
    assert masks.kept == masks.total // 2
    assert not masks.meets(0.5, dense, model)
    weights = WeightMasks(copy.deepcopy(dense))
    weights.apply(weights.select(weights.magnitude(), 0.5))
    assert weights.meets(0.5, dense, model)


def test_channels_are_counted_in_the_model_that_was_stored() -> None:
    """A mask that says more than the file shows is not believed."""
    dense = model_at()
    model = copy.deepcopy(dense)
    masks = ChannelMasks(model, channel_spaces(model, 16), recount=measure.count_parameters)
    masks.apply(masks.select(torch.rand(len(masks.keep), generator=torch.Generator().manual_seed(1)), 0.6))
    assert masks.reached(dense, model) == 0.0
    assert not masks.meets(0.6, dense, model)
    masks.harden(model)
    assert masks.reached(dense, model) == pytest.approx(masks.achieved, abs=1e-12)
    assert masks.meets(0.6, dense, model)
